"""pynvml over GPUs that exist in memory alone: the real module's names, signatures, constants and errors."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import pynvml


def error(code: str) -> Exception:
    """The exception that pynvml raises for a code such as "NOT_SUPPORTED"."""
    return pynvml.NVMLError(getattr(pynvml, f"NVML_ERROR_{code}"))


def processes(memory: dict[int, int | None]) -> list[SimpleNamespace]:
    """What `nvmlDeviceGetComputeRunningProcesses` returns, from process id -> bytes."""
    return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in memory.items()]


@dataclass
class FakeGpu:
    """Its handle is the object itself. A function without an answer is not supported."""

    uuid: str = "GPU-00000000-0000-0000-0000-000000000000"
    pci: str = "00000000:01:00.0"
    answers: dict[str, Any] = field(default_factory=dict)
    """Function name -> value, exception to raise, or function of the further arguments."""


class FakePynvml(ModuleType):
    def __init__(self, gpus: list[FakeGpu], init_error: Exception | None = None) -> None:
        super().__init__("pynvml")
        self.gpus, self.init_error, self.open = gpus, init_error, 0

    def __getattr__(self, name: str) -> Any:
        real = getattr(pynvml, name)  # AttributeError for a name that pynvml does not have
        if not inspect.isfunction(real):
            return real
        signature = inspect.signature(real)

        def call(*arguments: Any) -> Any:
            signature.bind(*arguments)
            own = getattr(type(self), f"_{name}", None)
            return own(self, *arguments) if own else self._answer(name, *arguments)

        return call

    def _answer(self, name: str, gpu: FakeGpu, *arguments: Any) -> Any:
        assert self.open, "asked before nvmlInit or after nvmlShutdown"
        answer = gpu.answers.get(name, error("NOT_SUPPORTED"))
        if isinstance(answer, Exception):
            raise answer
        return answer(*arguments) if callable(answer) else answer

    def _nvmlInit(self) -> None:  # noqa: N802
        if self.init_error:
            raise self.init_error
        self.open += 1

    def _nvmlShutdown(self) -> None:  # noqa: N802
        self.open -= 1

    def _nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802
        return "570.86.10"

    def _nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self.gpus)

    def _nvmlDeviceGetHandleByIndex(self, index: int) -> FakeGpu:  # noqa: N802
        return self.gpus[index]

    def _nvmlDeviceGetHandleByUUID(self, uuid: str) -> FakeGpu:  # noqa: N802
        return self._find("uuid", uuid)

    def _nvmlDeviceGetHandleByPciBusId(self, pci: str) -> FakeGpu:  # noqa: N802
        return self._find("pci", pci)

    def _find(self, key: str, value: str) -> FakeGpu:
        for gpu in self.gpus:
            if getattr(gpu, key) == value:
                return gpu
        raise error("NOT_FOUND")
