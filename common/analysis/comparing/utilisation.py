"""How close a run comes to what step 01 measured of the machine's parts, and what binds its steps.

Nothing is assumed: a rate comes from this very device model in this very precision, or there is none.
"""

import math
from collections.abc import Iterable, Sequence

import numpy as np

from common.analysis.comparing.rows import Row
from common.analysis.statistics.estimates import Estimate
from common.analysis.statistics.medians import is_cost
from common.content import Message, message
from common.records import METHODS, AllReduceTime, EnvironmentRecord, LaunchTimes, PhaseName, Precision

TRANSFORMERS = ("vit_", "swin", "maxvit")
"""Models whose work is mostly matrix products, by how torchvision's names begin."""
MAX_WAIT, MAX_IDLE = 0.05, 0.10
"""Shares of a step: a longer wait for data, or a device with nothing to do for longer, is what binds the step."""
EXPOSED_LIMIT, COMPARABLE = 0.10, 0.5
"""Shares: of a step, that the exchange must add before it may be what binds it; and of what it adds, that its messages
must need by themselves, for less explains too little. docs/choosing.md gives the reasons."""
LEAST_SHOWN = 0.005
"""Shares below this are written as 0 %."""
MIN_SLOWER = 5
"""A new thread's first convolution takes so many times as long as a later one where it has to be planned first."""


def all_reduce_seconds(times: Iterable[AllReduceTime], size: int) -> float | None:
    """Seconds for `size` bytes, between the measured sizes by log-log interpolation; None outside of them.

    A straight line through latency and bandwidth misses measured tables by up to a fifth; between neighbours it is
    close. Times without a speed (a wrong sum) do not count.
    """
    known = sorted((time.bytes, time.seconds) for time in times if time.seconds)
    if not known or not known[0][0] <= size <= known[-1][0]:
        return None
    sizes, seconds = np.log(np.asarray(known)).T
    return math.exp(np.interp(math.log(size), sizes, seconds))


def matmul_rate(probed: Iterable[EnvironmentRecord], device_model: str, precision: Precision) -> float | None:
    """The newest measured rate of this device model in this precision, in FLOP/s; None where there is none.

    `probed` are records of step 01, the newest last.
    """
    rates = [product.flops_per_second for record in probed for product in record.probes.matmul
             if (product.device_model, product.precision) == (device_model, precision)]  # fmt: skip
    return rates[-1] if rates else None


def mfu_of(row: Row) -> Estimate | Message:
    """MFU of a row, with its throughput's interval; or what is missing. 1 is the limit.

    Arithmetic that the model needs / arithmetic that the devices could do in that time: Chowdhery et al., PaLM, section
    4.1 (arXiv 2204.02311), with the measured matmul rate for the maker's peak.
    """
    if row.throughput is None:
        return message("missing.withheld")
    if not row.true_devices:
        return message("missing.devices_shared")
    if row.record.world.has_unlike_devices:
        return message("missing.unlike_devices", device_model=row.record.world.device_model)
    rate = attainable_rate(row)
    if isinstance(rate, Message):
        return rate
    return row.throughput.scaled(row.record.flops_per_sample / (row.devices * rate))


def attainable_rate(row: Row) -> float | Message:
    """FLOP/s that a device could do of this model's work at most; or what is missing.

    Under TF32 torch multiplies matrices in IEEE fp32 all the same, unless that is changed: only convolutions run
    in TF32. So each kind of work counts at the rate of the precision that it really ran in.
    """
    record, config, device_model = row.record, row.record.config, row.record.world.device_model
    if not record.flops_per_sample:
        return message("missing.flops")
    by_kind = {kind: flops for kind, flops in (record.flops_by_kind or {}).items() if flops}
    if not by_kind:
        if config.precision == "tf32" and config.model.startswith(TRANSFORMERS):
            return message("missing.flops_by_kind", model=config.model)
        by_kind = {"convolution": record.flops_per_sample}
    seconds = 0.0
    for kind, flops in by_kind.items():
        precision: Precision = "ieee-fp32" if (kind, config.precision) == ("matmul", "tf32") else config.precision
        rate = matmul_rate(row.probed, device_model, precision)
        if rate is None:
            return message("missing.matmul_rate", precision=precision, device_model=device_model)
        seconds += flops / rate
    return sum(by_kind.values()) / seconds


def exchange_seconds(row: Row, messages: Sequence[int]) -> float | Message:
    """Seconds that the row's ranks need for these messages, one after the other, by step 01's curve."""
    world = row.record.world
    if world.processes < 2:
        return message("missing.one_process")
    if world.nodes > 1:
        return message("missing.within_one_host")
    curves = [curve.times for record in row.probed if (curve := record.probes.all_reduce)
              and (curve.ranks, curve.backend) == (world.processes, world.backend)
              and record.probes.device_models == set(world.models)]  # fmt: skip
    if not curves:
        return message("missing.all_reduce", processes=world.processes, backend=world.backend)
    parts = [all_reduce_seconds(curves[-1], size) for size in messages]
    if not parts or None in parts:
        sizes = [time.bytes for time in curves[-1] if time.seconds] or [0]
        return message("missing.message_size", smallest_bytes=min(sizes), largest_bytes=max(sizes))
    return sum(parts)


def copy_seconds(row: Row) -> float | None:
    """Seconds that the bytes of a step of DataParallel need over the slowest link between its GPUs, by step 01.

    Bytes moved / the rate that step 01 measured for that very path; None where it measured none.
    """
    used, models = {device.index for device in row.record.devices}, set(row.record.world.models)
    links = [[copy.bytes_per_second for copy in record.probes.copies if {copy.source, copy.destination} <= used]
             for record in row.probed if models <= record.probes.device_models]  # fmt: skip
    slowest = [min(rates) for rates in links if rates and all(rates)]
    return sum(row.profile.bytes_moved.values()) / slowest[-1] if slowest and not row.record.world.shared else None


def convolutions_planned_anew(row: Row) -> LaunchTimes | None:
    """Step 01's convolution in a thread that has just started, where that took far longer than in one that knows it."""
    model = row.record.world.device_model
    slower = [times for record in row.probed if model in record.probes.device_models
              and (times := record.probes.launches) and times.is_plausible
              and times.first_convolution_seconds > MIN_SLOWER * times.convolution_seconds]  # fmt: skip
    return slower[-1] if slower else None


def phase_rate(row: Row, name: PhaseName) -> float | None:
    """Bytes that a phase moves / its seconds.

    None for DDP's exchange, most of which ran beside the backward pass, and where replicas share a device, for then
    nothing moves between devices.
    """
    size, phase = row.profile.bytes_moved.get(name), row.profile.slowest.phases.get(name)
    if not size or phase is None or not phase.value or name == "exchange" or row.record.world.shared:
        return None
    return size / phase.value


def bound(row: Row) -> Message:
    """What a step waits for: its data, the exchange, the host that launches its work, or the device's own work.

    A device that has nothing to do is bound by launches only where the host needs about as long as a step takes.
    """
    profile = row.profile
    waiting, step = profile.slowest.phases.get("data wait"), profile.slowest.step.value
    # gloo makes the host wait for the exchange within the backward pass: its time is no time of launching.
    ranks = profile.ranks if row.record.world.backend != "gloo" else ()
    host = max((rank.host["step"].value for rank in ranks if "step" in rank.host), default=0.0)
    values = {"row": row.name, "idle": profile.idle_share, "busy": 1 - profile.idle_share, "host": host,
              "link": not_the_link(row)}  # fmt: skip
    if waiting and waiting.value > MAX_WAIT * step:
        return message("bound.data", **values)
    if is_bound_by_exchange(row):
        return message("bound.exchange", exposed=profile.exposed, **values)
    if profile.idle_share > MAX_IDLE:
        return message("bound.launches" if host > (1 - MAX_IDLE) * step else "bound.unknown", **values)
    if profile.idle_share < 0:
        return message("bound.device_longer", **values)
    return message("bound.device" if profile.idle_share >= LEAST_SHOWN else "bound.device_always", **values)


def is_bound_by_exchange(row: Row) -> bool:
    """Whether the exchange of gradients, and not what DDP does beside it, takes much of a step.

    Two measurements must agree: steps with an all-reduce against steps without one, and what the very messages need
    when nothing else is done. Ranks that wait for a late one lose time in the former alone.
    """
    profile = row.profile
    if not (profile and profile.wrapper_cost and is_cost(profile.exposed)):
        return False
    needed = exchange_seconds(row, profile.bucket_bytes)
    if isinstance(needed, Message):  # then by what the last rank of a step waits for them
        needed = profile.last_wait.value if profile.last_wait else 0.0
    return profile.exposed_share > EXPOSED_LIMIT and needed > COMPARABLE * profile.exposed.value


def not_the_link(row: Row) -> Message:
    """Under DDP: what the exchange needs by itself, where step 01 has measured that."""
    if not METHODS[row.method].synchronises_gradients or row.devices < 2:
        return message("nothing")
    seconds = exchange_seconds(row, row.profile.bucket_bytes)
    return message("nothing") if isinstance(seconds, Message) else message("bound.not_the_link", seconds=seconds)
