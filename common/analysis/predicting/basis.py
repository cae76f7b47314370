"""What a prediction starts from: one device's row, and what step 01 measured of the machine."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from common.analysis.comparing.groups import Group
from common.analysis.comparing.rows import Row
from common.records import Probes

FIRST_BUCKET_BYTES, BUCKET_BYTES = 2**20, 25 * 2**20
"""torch's defaults. A bucket is closed when it has reached its size."""
SMALL_KERNEL_SECONDS = 2.5e-6
"""What a GPU needs for the smallest kernel: DDP copies each gradient into its bucket by one."""


@dataclass(frozen=True)
class Bucket:
    """Gradients that are exchanged in one message."""

    bytes: float
    ready: float
    """Share of the backward pass after which all of them are complete."""


@dataclass(frozen=True)
class Basis:
    """One device, in seconds and bytes."""

    row: Row
    step: float
    """The mean over the measured epochs, of which the page's throughput is made."""
    step_error: float
    """Half of its interval, as a share."""
    backward: float
    gradient_bytes: int
    parameters: int
    """Tensors."""
    buckets: tuple[Bucket, ...]
    has_readiness: bool
    """False where the record does not say when gradients are complete: then evenly, by bytes, over the backward."""
    probes: Probes
    """Empty where step 01 measured nothing of this device model."""

    @property
    def is_cpu(self) -> bool:
        """Whether CPU cores stand in for devices."""
        return not self.row.on_gpu

    def slowdown(self, devices: int) -> float:
        """What `devices` at once take longer than one, by step 01; 1 where that was not measured."""
        together = self.probes.together
        if together is None or devices < 2:
            return 1.0
        more = max(0.0, together.slowdown - 1)
        return 1 + more * min(1.0, (devices - 1) / (together.workers - 1))

    def memory_rate(self) -> float | None:
        """Bytes read and written a second, by step 01."""
        rates = [rate for rate in self.probes.memory if rate.device_model == self.row.record.world.device_model]
        return rates[-1].bytes_per_second if rates else None

    @property
    def lacks_launches(self) -> bool:
        """Whether step 01's launches on GPUs are implausible, so that nothing may rest on them."""
        launches = self.probes.launches
        return not self.is_cpu and launches is not None and not launches.is_plausible


MIN_ERROR = 0.01
"""No machine repeats a step more closely from one launch to the next."""


def basis_of(group: Group) -> Basis | None:
    """The group's row of one device, if its steps were taken apart; strong scaling has none for the smaller batches."""
    rows = [row for row in group.main_rows if not row.is_parallel and row.is_valid and row.profile]
    if not rows or group.scaling != "weak" or "backward" not in rows[-1].profile.slowest.phases:
        return None
    row = rows[-1]
    static, ready = row.record.static_memory, row.profile.gradients
    if static is None:
        return None
    low, high = row.step.bounds
    share = row.step.value / row.profile.slowest.step.value
    total = static.gradient_bytes
    layout = fill_buckets(ready.bytes, ready.ready_seconds, ready.backward_seconds) if ready else _evenly(total)
    return Basis(
        row=row,
        step=row.step.value,
        step_error=max(MIN_ERROR, (high - low) / 2 / row.step.value),
        backward=share * row.profile.slowest.phases["backward"].value,
        gradient_bytes=total,
        parameters=len(ready.bytes) if ready else 0,
        buckets=tuple(layout),
        has_readiness=ready is not None,
        # The newest that were measured on this device model, and on no other beside it.
        probes=next((record.probes for record in reversed(row.probed)
                     if record.probes.device_models == {row.record.world.device_model}), Probes(seconds=0)),
    )  # fmt: skip


def fill_buckets(sizes: Sequence[int], ready: Sequence[float], backward: float) -> list[Bucket]:
    """torch's buckets, of gradients in the order in which they are complete (DDP lays them so after its first step)."""
    buckets: list[Bucket] = []
    held, last = 0, 0.0
    for size, moment in zip(sizes, ready, strict=True):
        held, last = held + size, max(last, moment / backward)
        if held >= (BUCKET_BYTES if buckets else FIRST_BUCKET_BYTES):
            buckets.append(Bucket(held, min(1.0, last)))
            held = 0
    return [*buckets, Bucket(held, min(1.0, last))] if held else buckets


def _evenly(total: int) -> list[Bucket]:
    pieces = [FIRST_BUCKET_BYTES, *[BUCKET_BYTES] * (max(0, total - FIRST_BUCKET_BYTES) // BUCKET_BYTES)]
    pieces = [size for size in [*pieces, total - sum(pieces)] if size > 0]
    return [Bucket(size, done / total) for size, done in zip(pieces, accumulate(pieces), strict=True)]
