"""DataParallel whose threads are kept from step to step, one for each device.

torch's own starts a new thread for each replica in every forward pass. On GPUs cuDNN plans a convolution anew the first
time that a thread meets it, so that each step pays for all plans again: docs/why.md has what that costs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import nn


class DeviceThreads:
    """A thread for each device, which ends with this object."""

    def __init__(self, devices: int) -> None:
        self._threads = [
            ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,)) for _ in range(devices)
        ]

    def map(self, function: Callable, *arguments: Iterable[Any]) -> list[Any]:
        """`function` of the first of each argument in the first device's thread, and so on, all at once."""
        calls = zip(self._threads, *arguments, strict=False)  # a batch can be too small for all devices
        running = [thread.submit(function, *own) for thread, *own in calls]
        return [future.result() for future in running]


class KeptThreadsDataParallel(nn.DataParallel):
    """`nn.DataParallel`, but for its threads. Outputs and gradients are the same to the last bit."""

    def __init__(self, module: nn.Module, device_ids: Sequence[int]) -> None:
        super().__init__(module, device_ids=device_ids)
        self._threads = DeviceThreads(len(self.device_ids))

    def parallel_apply(self, replicas: Sequence[nn.Module], inputs: Sequence[tuple], kwargs: Sequence[dict]) -> list:
        """Run every replica on its part, each in its device's thread."""
        # All of these are known to the calling thread alone. torch's own forgets autocast's dtype.
        with_gradient, autocast = torch.is_grad_enabled(), torch.is_autocast_enabled("cuda")
        dtype, streams = torch.get_autocast_dtype("cuda"), [torch.cuda.current_stream(i) for i in self.device_ids]

        def forward(replica: nn.Module, args: tuple, kwarg: dict, stream: torch.cuda.Stream) -> Any:
            grad, cast = torch.set_grad_enabled(with_gradient), torch.autocast("cuda", dtype, enabled=autocast)
            with grad, cast, torch.cuda.stream(stream):  # whose device becomes the current one
                return replica(*args, **kwarg)

        return self._threads.map(forward, replicas, inputs, kwargs, streams)
