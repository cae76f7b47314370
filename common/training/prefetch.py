"""`--prefetch`: batches that are on their way to the GPU while the step before them still runs there."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.utils.data import DataLoader

from common.training.batch import Batch


class PrefetchingLoader(DataLoader):
    """A loader whose batches come out on `device`, a GPU, copied on a stream of its own.

    A copy that is launched among the kernels of a step waits for those before it. On another stream it runs beside
    them, as far as the host, which launches it, is ahead of the GPU. The kernels of the next step wait for it alone.
    """

    def __init__(self, *arguments, device: torch.device, **more) -> None:
        super().__init__(*arguments, **more)
        self.device = device

    def __iter__(self) -> Iterator[Batch]:
        copies = torch.cuda.Stream(self.device)
        for batch in super().__iter__():
            with torch.cuda.stream(copies):
                images = batch.images.to(self.device, non_blocking=True)
                labels = batch.labels.to(self.device, non_blocking=True)
            steps = torch.cuda.current_stream(self.device)
            steps.wait_stream(copies)
            for tensor in (images, labels):
                tensor.record_stream(steps)  # else their memory is given away while the step still reads it
            yield batch._replace(images=images, labels=labels)
