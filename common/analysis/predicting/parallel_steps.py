"""The step of N devices from that of one, and what follows from it: the link that DDP needs, what a larger batch or
fewer bytes buy. Formulas, their sources and what they leave out: docs/prediction.md.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import sqrt

from common.analysis.predicting.basis import SMALL_KERNEL_SECONDS, Basis
from common.analysis.predicting.links import AllReduceModel, Link, MeasuredTable, Ring

TABLE_DOUBT, LINK_DOUBT = 0.25, 0.35
"""Share of the exchange's time that may be wrong: measured by itself, beside a backward pass it is another; a link that
is given need not be reached."""
UNKNOWN_SLOWDOWN = {"cpu": 0.15, "cuda": 0.02}
"""What devices may cost each other where step 01 has not measured it: a share of the step, upwards only."""
PLANS_DOUBT = 0.15
"""Share of what the host's forward pass takes longer under DataParallel."""
LAUNCHES_A_TENSOR, LAUNCHES_DOUBT = 4, 0.5
"""DDP's work on the host for each gradient, in launches (its copy into the bucket, and what belongs to that), and the
share of it that may be wrong."""
HIDDEN = 0.02
"""An exchange that is hidden may still slow the backward pass beside it: doubt is never less than that of such a share
of the step, or of the exchange where that is shorter."""
KNOWN_SLOWDOWN_DOUBT = 0.5
"""Share of the slowdown that step 01's small layers may get wrong for another model, upwards. Downwards it is all of
it: a program that ran beside step 01 alone slows its devices in the same way."""
SLOWEST, FASTEST = 1e4, 1e13
"""Bytes a second between which a link is sought."""


@dataclass(frozen=True)
class PredictedStep:
    """Seconds, with the range in which the truth is expected."""

    seconds: float
    low: float
    high: float
    exchange: float
    """DDP: all of its messages one after another. DP: the bytes that it moves."""
    exposed: float
    """What is left of it after overlap, or what DP adds to one device's step."""
    is_late_host: bool = False
    """DDP: whether the host needs longer for a step than the device. Of such steps little is known."""


def ddp_step(
    basis: Basis, model: AllReduceModel, devices: int, *, work: float = 1.0, size: float = 1.0
) -> PredictedStep:
    """DDP's step. `work` and `size` are factors on a device's work and on the bytes: what if there were more or fewer.

    Buckets start in the order in which they are ready, and one after another: end_k = max(ready_k, end_{k−1}) + t(S_k)
    (Li et al. 2020, arXiv 2006.15704). On CPU cores the core that trains also carries the exchange: within one host its
    work is added to the backward pass, whatever overlaps.
    """
    slower = work * basis.slowdown(devices)
    backward = basis.backward * slower + _copies(basis)
    messages = [model.seconds(bucket.bytes * size, devices) for bucket in basis.buckets]
    carried = _carried(basis, model, devices, size)
    computed = backward + carried
    end = 0.0
    for bucket, seconds in zip(basis.buckets, messages, strict=True):
        end = max(computed * bucket.ready, end) + seconds
    device = (basis.step - basis.backward) * slower + max(computed, end)
    host, own_launches, crowded = _host_step(basis)
    seconds = max(device, host)
    exposed = max(0.0, max(computed, end) - basis.backward * slower)
    share = TABLE_DOUBT if model.is_measured(devices) else LINK_DOUBT
    doubt = share * max(exposed, min(sum(messages), HIDDEN * seconds))
    if host > device:
        doubt += LAUNCHES_DOUBT * own_launches
    step = _with_range(basis, devices, seconds, doubt, sum(messages), exposed, above=max(0.0, crowded - seconds))
    return replace(step, is_late_host=host > device)


def _host_step(basis: Basis) -> tuple[float, float, float]:
    """GPUs: what the host needs to launch a step under DDP; the part of it that DDP adds; what it may need where
    processes that launch at once slow each other as in step 01. Zeros where it is not known. Where step 01's launches
    are implausible, one alone was slowed: then all that is known is what it may need at most."""
    launching, launches = basis.row.profile.host_step, basis.probes.launches
    if basis.is_cpu or launching is None or launches is None:
        return 0.0, 0.0, 0.0
    more = basis.parameters * LAUNCHES_A_TENSOR * launches.alone_seconds
    host = min(launching.value, basis.step) + more
    crowded = host * max(1.0, launches.processes_seconds / launches.alone_seconds)
    return (host, more, crowded) if launches.is_plausible else (0.0, 0.0, crowded)


def _carried(basis: Basis, model: AllReduceModel, devices: int, size: float) -> float:
    """Work of the exchange on the very cores that train: what step 01's exchange within one host took them."""
    if not basis.is_cpu or devices < 2 or basis.probes.all_reduce is None:
        return 0.0
    within = MeasuredTable(basis.probes.all_reduce)
    return sum(min(within.seconds(bucket.bytes * size, devices), model.seconds(bucket.bytes * size, devices))
               for bucket in basis.buckets)  # fmt: skip


def _copies(basis: Basis) -> float:
    """DDP copies every gradient into its bucket: bytes that are read and written, on a GPU a kernel for each tensor."""
    rate = basis.memory_rate()
    moved = 2 * basis.gradient_bytes / rate if rate else 0.0
    return moved + (0.0 if basis.is_cpu else basis.parameters * SMALL_KERNEL_SECONDS)


def dp_step(basis: Basis, devices: int) -> PredictedStep | None:
    """DataParallel's step; None where the record of one device or step 01 lacks what it needs.

    CPU cores (emulated): replicas are copied and gradients added by one core.
    """
    profile = basis.row.profile
    moved = _moved(basis, devices)
    if profile.replicate is None or moved is None:
        return None
    if not basis.is_cpu:
        return _dp_on_gpus(basis, devices, moved)
    replicas = profile.replicate.value * (devices - 1)
    seconds = basis.step * basis.slowdown(devices) + replicas + moved
    return _with_range(basis, devices, seconds, 0.5 * (replicas + moved), moved, seconds - basis.step)


def _dp_on_gpus(basis: Basis, devices: int, moved: float) -> PredictedStep | None:
    """The host launches one step after another while the devices work: what takes longer sets the pace.

    The host's step: a forward pass, for which it launches all replicas in turn, since the interpreter runs one thread
    at a time, or one replica in a thread that has to plan each different convolution anew, whichever takes longer; a
    backward pass and a replica for each device; all else as on one device.
    """
    profile, launches = basis.row.profile, basis.probes.launches
    host = [profile.slowest.host.get(name) for name in ("step", "forward", "backward")]
    if launches is None or not launches.is_plausible or None in host or profile.different_convolutions is None:
        return None
    whole, forward, backward = (part.value for part in host)
    plans = profile.different_convolutions * (launches.first_convolution_seconds - launches.convolution_seconds)
    longer = max(forward * devices, forward + max(0.0, plans)) - forward
    replicas = profile.replicate.value * devices
    host_step = whole + longer + (devices - 1) * backward + replicas
    seconds = max(basis.step * basis.slowdown(devices), host_step) + moved
    doubt = PLANS_DOUBT * longer + 0.3 * replicas + 0.5 * moved
    return _with_range(basis, devices, seconds, doubt, moved, seconds - basis.step)


def _moved(basis: Basis, devices: int) -> float | None:
    """Model out and gradients back over the slowest path; within one memory, gradients added up: two read, one written.

    Seconds; None where step 01 did not measure the path.
    """
    others = devices - 1
    if basis.is_cpu:
        rate = basis.memory_rate()
        return 3 * others * basis.gradient_bytes / rate if rate else None
    rates = [copy.bytes_per_second for copy in basis.probes.copies if copy.source is not None]
    if not rates or not all(rates):
        return None
    static = basis.row.record.static_memory
    return others * (static.parameter_bytes + static.buffer_bytes + static.gradient_bytes) / min(rates)


def _with_range(
    basis: Basis, devices: int, seconds: float, doubt: float, exchange: float, exposed: float, *, above: float = 0.0
) -> PredictedStep:
    """`doubt` goes both ways, `above` only upwards."""
    more = basis.slowdown(devices) - 1
    slack = more * basis.step
    own = basis.step_error * basis.step
    is_known = basis.probes.together is not None or devices == 1
    unknown = 0.0 if is_known else UNKNOWN_SLOWDOWN["cpu" if basis.is_cpu else "cuda"] * basis.step
    low = max(basis.step * (1 - basis.step_error) * 0.5, seconds - own - doubt - slack)
    high = seconds + own + doubt + KNOWN_SLOWDOWN_DOUBT * slack + unknown + above
    return PredictedStep(seconds, low, high, exchange, exposed)


@dataclass(frozen=True)
class Consequences:
    """What other links, batches or messages would do to DDP on so many devices."""

    half_gain_bytes_per_second: float | None
    """Over a slower link, without latency, DDP loses more than half of what it gains over one device; None where it is
    predicted to gain nothing over any."""
    efficiency: float
    with_double_batch: float
    with_half_bytes: float


def consequences(basis: Basis, exchange: AllReduceModel, devices: int) -> Consequences:
    """By `ddp_step`."""

    def efficiency(model: AllReduceModel, work: float = 1.0, size: float = 1.0) -> float:
        return work * basis.step / ddp_step(basis, model, devices, work=work, size=size).seconds

    return Consequences(
        half_gain_bytes_per_second=_slowest_link(lambda link: devices * efficiency(Ring(link)) - 1),
        efficiency=efficiency(exchange),
        with_double_batch=efficiency(exchange, work=2.0),
        with_half_bytes=efficiency(exchange, size=0.5),
    )


def _slowest_link(gain: Callable[[Link], float]) -> float | None:
    """Bytes a second over which half is left of the gain that an instant exchange would give; by bisection."""
    low, high = SLOWEST, FASTEST
    whole = gain(Link(high))
    if whole <= 0:
        return None
    while high / low > 1.001:
        middle = sqrt(low * high)
        low, high = (low, middle) if gain(Link(middle)) > whole / 2 else (middle, high)
    return high
