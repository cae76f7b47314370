"""GPUs as the driver sees them, through NVML: memory of every process, clocks, temperature, links.

torch knows what *it* allocated; only the driver knows what the whole process holds and what else runs on the GPU. A
host without a driver, or without pynvml, loses these readings and nothing else: every reading is None where the driver,
the GPU or pynvml does not offer it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import takewhile
from types import ModuleType
from typing import Any

THROTTLE_REASONS = {
    0x002: "application clocks",
    0x004: "power cap",
    0x008: "hardware slowdown",
    0x010: "sync boost",
    0x020: "thermal (software)",
    0x040: "thermal (hardware)",
    0x080: "power brake",
    0x100: "display clocks",
}
"""Bits of NVML's clock event reasons. 0x001 is left out: an idle GPU is not a slowed one."""


class _Asking:
    def __init__(self, nvml: ModuleType | None, *handle: Any):
        self.nvml, self._handle = nvml, handle

    def ask(self, function: str, *arguments: Any) -> Any:
        """What a function of NVML returns; None if it does not work here."""
        # An older pynvml lacks a name (AttributeError), an older driver or another GPU refuses the call (NVMLError, or
        # NVMLLibraryMismatchError, which is no NVMLError).
        with suppress(Exception):
            return getattr(self.nvml, function)(*self._handle, *arguments)
        return None


def _reading(*functions: str, constant: str = "", convert: Callable = lambda answer: answer) -> Callable[..., Any]:
    """A method of a GPU: what the first of the functions that works here returns, of what NVML's `constant` names."""

    def read(gpu: "NvmlGpu") -> Any:
        arguments = [getattr(gpu.nvml, constant)] if constant else []
        answers = (gpu.ask(function, *arguments) for function in functions)
        return next((convert(answer) for answer in answers if answer is not None), None)

    return read


class NvmlGpu(_Asking):
    """One GPU. No method raises; each returns None where there is no answer."""

    name = _reading("nvmlDeviceGetName")
    uuid = _reading("nvmlDeviceGetUUID")
    """The same under every driver."""
    compute_capability = _reading(
        "nvmlDeviceGetCudaComputeCapability", convert=lambda numbers: ".".join(map(str, numbers))
    )
    """Which code it runs: "7.5"."""
    free_bytes = _reading("nvmlDeviceGetMemoryInfo", convert=lambda memory: memory.free)
    pcie_generation = _reading("nvmlDeviceGetMaxPcieLinkGeneration")
    """Best that GPU and slot can do together: the current one drops while the GPU idles."""
    pcie_width = _reading("nvmlDeviceGetCurrPcieLinkWidth")
    """Lanes in use; fewer than the card has tell of a narrow slot or riser."""
    sm_clock_mhz = _reading("nvmlDeviceGetClockInfo", constant="NVML_CLOCK_SM")
    """Of the multiprocessors, now."""
    temperature_celsius = _reading(  # the first name goes with CUDA 14, the second came with CUDA 12.8
        "nvmlDeviceGetTemperature", "nvmlDeviceGetTemperatureV", constant="NVML_TEMPERATURE_GPU"
    )
    energy_joules = _reading("nvmlDeviceGetTotalEnergyConsumption", convert=lambda millijoules: millijoules / 1000)
    """Since the driver was loaded."""
    power_watts = _reading("nvmlDeviceGetPowerUsage", convert=lambda milliwatts: milliwatts / 1000)
    """Of the whole GPU, on recent ones the mean over a second."""
    throttle_reasons = _reading(  # the second is the name before driver 535
        "nvmlDeviceGetCurrentClocksEventReasons",
        "nvmlDeviceGetCurrentClocksThrottleReasons",
        convert=lambda bits: [name for bit, name in THROTTLE_REASONS.items() if bits & bit],
    )
    """What holds the clock down at this moment, by name."""
    process_bytes = _reading(  # the first is version 3 of the call, which a driver before 510 lacks
        "nvmlDeviceGetComputeRunningProcesses",
        "nvmlDeviceGetComputeRunningProcesses_v2",
        convert=lambda processes: {process.pid: process.usedGpuMemory for process in processes},
    )
    """GPU memory of each computing process by process id; None in place of a number where the driver has none."""

    def nvlink_links(self) -> int | None:
        """Active NVLink links; None on a GPU that has no NVLink."""
        links = range(self.nvml.NVML_NVLINK_MAX_LINKS)
        states = (self.ask("nvmlDeviceGetNvLinkState", link) for link in links)
        known = list(takewhile(lambda state: state is not None, states))  # none beyond the last link of this GPU
        return known.count(1) if known else None


class Nvml(_Asking):
    """The opened library, or nobody to ask, who knows no GPU. `open_nvml` makes and closes it."""

    def driver(self) -> str | None:
        """Its version."""
        return self.ask("nvmlSystemGetDriverVersion")

    def gpus(self) -> list[NvmlGpu]:
        """Every GPU that the driver knows, hidden from torch or not."""
        numbers = range(self.ask("nvmlDeviceGetCount") or 0)
        handles = (self.ask("nvmlDeviceGetHandleByIndex", number) for number in numbers)
        return [NvmlGpu(self.nvml, handle) for handle in handles if handle is not None]

    def gpu_of_torch(self, properties: Any) -> NvmlGpu | None:
        """The GPU of `torch.cuda.get_device_properties(i)`.

        torch's index i is not NVML's: CUDA_VISIBLE_DEVICES hides and reorders, and CUDA puts the fastest first. The
        UUID (of a whole GPU, or of a MIG slice) and the PCI address are the same for both.
        """
        keys = [("nvmlDeviceGetHandleByUUID", f"{kind}-{getattr(properties, 'uuid', '')}") for kind in ("GPU", "MIG")]
        if hasattr(properties, "pci_bus_id"):
            address = f"{properties.pci_domain_id:08X}:{properties.pci_bus_id:02X}:{properties.pci_device_id:02X}.0"
            keys.append(("nvmlDeviceGetHandleByPciBusId", address))
        handles = (self.ask(function, key) for function, key in keys)
        return next((NvmlGpu(self.nvml, handle) for handle in handles if handle is not None), None)


@contextmanager
def open_nvml() -> Iterator[Nvml]:
    """`with open_nvml() as nvml:` gives the library; without a driver or pynvml, one that knows no GPU."""
    library = None
    # Whatever goes wrong here (no pynvml, no driver, a broken one), it means that there is nobody to ask.
    with suppress(Exception):
        import pynvml

        pynvml.nvmlInit()
        library = pynvml
    nvml = Nvml(library)
    try:
        yield nvml
    finally:
        nvml.ask("nvmlShutdown")
