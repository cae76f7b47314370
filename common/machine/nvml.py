"""GPUs as the driver sees them, through NVML: memory of every process, clocks, temperature, links.

torch knows what *it* allocated; only the driver knows what the whole process holds and what else runs on the GPU. A
host without a driver, or without pynvml, loses these readings and nothing else: every reading is None where the driver,
the GPU or pynvml does not offer it.
"""

from collections.abc import Iterator
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
    def __init__(self, nvml: ModuleType, *handle: Any):
        self._nvml, self._handle = nvml, handle

    def _ask(self, *functions: str, arguments: tuple = ()) -> Any:
        """What the first of the functions that works here returns; None if none does."""
        for function in functions:
            # An older pynvml lacks a name (AttributeError), an older driver or another GPU refuses the call (NVMLError,
            # or NVMLLibraryMismatchError, which is no NVMLError).
            with suppress(Exception):
                return getattr(self._nvml, function)(*self._handle, *arguments)
        return None


class NvmlGpu(_Asking):
    """One GPU. No method raises; each returns None where there is no answer."""

    def name(self) -> str | None:
        """Of the model."""
        return self._ask("nvmlDeviceGetName")

    def uuid(self) -> str | None:
        """The GPU's own, the same under every driver."""
        return self._ask("nvmlDeviceGetUUID")

    def compute_capability(self) -> str | None:
        """Which code it runs: "7.5"."""
        numbers = self._ask("nvmlDeviceGetCudaComputeCapability")
        return None if numbers is None else ".".join(map(str, numbers))

    def free_bytes(self) -> int | None:
        """Memory that nobody uses."""
        memory = self._ask("nvmlDeviceGetMemoryInfo")
        return None if memory is None else memory.free

    def pcie_generation(self) -> int | None:
        """Best that GPU and slot can do together: the current one drops while the GPU idles."""
        return self._ask("nvmlDeviceGetMaxPcieLinkGeneration")

    def pcie_width(self) -> int | None:
        """Lanes in use; fewer than the card has tell of a narrow slot or riser."""
        return self._ask("nvmlDeviceGetCurrPcieLinkWidth")

    def nvlink_links(self) -> int | None:
        """Active NVLink links; None on a GPU that has no NVLink."""
        links = range(self._nvml.NVML_NVLINK_MAX_LINKS)
        states = (self._ask("nvmlDeviceGetNvLinkState", arguments=(link,)) for link in links)
        known = list(takewhile(lambda state: state is not None, states))  # none beyond the last link of this GPU
        return known.count(1) if known else None

    def sm_clock_mhz(self) -> int | None:
        """Of the multiprocessors, now."""
        return self._ask("nvmlDeviceGetClockInfo", arguments=(self._nvml.NVML_CLOCK_SM,))

    def temperature_celsius(self) -> int | None:
        """Of the chip."""
        # The first name goes with CUDA 14, the second came with CUDA 12.8.
        functions = ("nvmlDeviceGetTemperature", "nvmlDeviceGetTemperatureV")
        return self._ask(*functions, arguments=(self._nvml.NVML_TEMPERATURE_GPU,))

    def energy_joules(self) -> float | None:
        """Energy used since the driver was loaded."""
        millijoules = self._ask("nvmlDeviceGetTotalEnergyConsumption")
        return None if millijoules is None else millijoules / 1000

    def power_watts(self) -> float | None:
        """Power drawn by the whole GPU (on recent ones the mean over a second)."""
        milliwatts = self._ask("nvmlDeviceGetPowerUsage")
        return None if milliwatts is None else milliwatts / 1000

    def throttle_reasons(self) -> list[str] | None:
        """What holds the clock down at this moment, by name."""
        # The second is the name before driver 535.
        bits = self._ask("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons")
        return None if bits is None else [name for bit, name in THROTTLE_REASONS.items() if bits & bit]

    def process_bytes(self) -> dict[int, int | None] | None:
        """GPU memory of each computing process by process id, in bytes."""
        # The first is version 3 of the call, which a driver before 510 lacks.
        processes = self._ask("nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetComputeRunningProcesses_v2")
        return None if processes is None else {process.pid: process.usedGpuMemory for process in processes}


class Nvml(_Asking):
    """The opened library. `open_nvml` makes and closes it."""

    def driver(self) -> str | None:
        """Its version."""
        return self._ask("nvmlSystemGetDriverVersion")

    def gpus(self) -> list[NvmlGpu]:
        """Every GPU that the driver knows, hidden from torch or not."""
        numbers = range(self._ask("nvmlDeviceGetCount") or 0)
        handles = (self._ask("nvmlDeviceGetHandleByIndex", arguments=(number,)) for number in numbers)
        return [NvmlGpu(self._nvml, handle) for handle in handles if handle is not None]

    def gpu_of_torch(self, properties: Any) -> NvmlGpu | None:
        """The GPU of `torch.cuda.get_device_properties(i)`.

        torch's index i is not NVML's: CUDA_VISIBLE_DEVICES hides and reorders, and CUDA puts the fastest first. The
        UUID (of a whole GPU, or of a MIG slice) and the PCI address are the same for both.
        """
        keys = [("nvmlDeviceGetHandleByUUID", f"{kind}-{getattr(properties, 'uuid', '')}") for kind in ("GPU", "MIG")]
        if hasattr(properties, "pci_bus_id"):
            address = f"{properties.pci_domain_id:08X}:{properties.pci_bus_id:02X}:{properties.pci_device_id:02X}.0"
            keys.append(("nvmlDeviceGetHandleByPciBusId", address))
        handles = (self._ask(function, arguments=(key,)) for function, key in keys)
        return next((NvmlGpu(self._nvml, handle) for handle in handles if handle is not None), None)


@contextmanager
def open_nvml() -> Iterator[Nvml | None]:
    """`with open_nvml() as nvml:` gives the library, or None on a host without a driver or without pynvml."""
    nvml = None
    # Whatever goes wrong here (no pynvml, no driver, a broken one), it means that there is nobody to ask.
    with suppress(Exception):
        import pynvml

        pynvml.nvmlInit()
        nvml = pynvml
    try:
        yield Nvml(nvml) if nvml else None
    finally:
        if nvml:
            with suppress(nvml.NVMLError):
                nvml.nvmlShutdown()
