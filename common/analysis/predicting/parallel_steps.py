"""The step of N devices from that of one: how long an all-reduce takes, DDP's step, DP's, and the slowest link that DDP
can do with. Formulas, their sources and what they leave out: docs/prediction.md.
"""

from bisect import bisect_right
from dataclasses import dataclass

import numpy as np

from common.analysis.comparing.utilisation import all_reduce_seconds
from common.analysis.predicting.inputs import MAX_DEVICES, SMALL_KERNEL_SECONDS, Basis, Link
from common.content import Message, message
from common.records import AllReduce

TABLE_UNCERTAINTY, LINK_UNCERTAINTY = 0.25, 0.35
"""Share of the exchange's time that may be wrong: measured by itself, beside a backward pass it is another; a link that
is given need not be reached."""
UNKNOWN_SLOWDOWN = {"cpu": 0.15, "cuda": 0.02}
"""What devices may cost each other where step 01 has not measured it: a share of the step, upwards only."""
PLANS_UNCERTAINTY = 0.15
"""Share of what the host's forward pass takes longer under DataParallel."""
LAUNCHES_A_TENSOR, LAUNCHES_UNCERTAINTY = 4, 0.5
"""DDP's work on the host for each gradient, in launches (its copy into the bucket, and what belongs to that), and the
share of it that may be wrong."""
HIDDEN = 0.02
"""An exchange that is hidden may still slow the backward pass beside it: the uncertainty is never less than that of
such a share of the step, or of the exchange where that is shorter."""
KNOWN_SLOWDOWN_UNCERTAINTY = 0.5
"""Share of the slowdown that step 01's small layers may get wrong for another model, upwards. Downwards it is all of
it: a program that ran beside step 01 alone slows its devices in the same way."""
LINK_RATES = np.geomspace(1e4, 1e13, 2**15 + 1)
"""Bytes a second among which a link is sought, each less than a thousandth above the one before."""


@dataclass(frozen=True)
class Network:
    """What joins the devices: step 01's table or a link; and, from node to node, what a node's own link carries.

    Within a node: reduce-scatter and all-gather of all bytes, together an all-reduce. Between: each device's part,
    S / p, with those of the same place in other nodes; the p rings share the node's link, so that S crosses it as one
    ring would.
    """

    within: AllReduce | Link
    between: Link | None = None
    per_node: int = MAX_DEVICES

    def nodes(self, devices: int) -> int:
        """How many nodes hold so many devices."""
        return -(-devices // self.per_node)

    def seconds(self, size: float, devices: int) -> float:
        """An all-reduce of `size` bytes on each of `devices`; 0 for one of them."""
        local = min(devices, self.per_node)
        if isinstance(self.within, AllReduce):
            within = table_seconds(self.within, size, local)
        else:
            within = ring_seconds(self.within, size, local)
        return within + (ring_seconds(self.between, size, self.nodes(devices)) if self.between else 0.0)

    def is_measured(self, devices: int) -> bool:
        """Whether step 01 measured so many devices, so that their time is no extrapolation."""
        known = (1, self.within.ranks) if isinstance(self.within, AllReduce) else (1,)
        return devices in known and devices <= self.per_node

    @property
    def rests_on(self) -> Message:
        """What the seconds are made from."""
        if isinstance(self.within, AllReduce):
            within = message("forecast.on_table", ranks=self.within.ranks, backend=self.within.backend)
        else:
            within = message("forecast.on_link", link=self.within.name)
        if not self.between:
            return within
        return message("forecast.on_nodes", within=within, link=self.between.name, count=self.per_node)


def table_seconds(table: AllReduce, size: float, devices: int) -> float:
    """By step 01's table: interpolated between its sizes, and from its m ranks to n by the ring's formula.

    The time of the quickest message counts as latency, which grows with n − 1; the rest is sending, 2 (n − 1) / n
    (nccl-tests, doc/PERFORMANCE.md). Beyond the largest message its bandwidth goes on.
    """
    known = [time for time in table.times if time.seconds]
    smallest, largest = known[0].bytes, known[-1].bytes
    seconds = all_reduce_seconds(known, round(min(max(size, smallest), largest))) * max(1.0, size / largest)
    latency = min(time.seconds for time in known)
    sending = max(0.0, seconds - latency)
    return latency * (devices - 1) / (table.ranks - 1) + sending * _ring_share(devices) / _ring_share(table.ranks)


def ring_seconds(link: Link, size: float, devices: int) -> float:
    """A ring over one kind of link: 2 (n − 1) messages, each of S / n bytes: 2 (n − 1) α + 2 (n − 1) / n · S / B."""
    return 2 * (devices - 1) * link.latency_seconds + _ring_share(devices) * size / link.bytes_per_second


def _ring_share(devices: int) -> float:
    """2 (n − 1) / n: what each of n devices sends of a message, in messages."""
    return 2 * (devices - 1) / devices


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


def ddp_step(basis: Basis, network: Network, devices: int, *, work: float = 1.0, size: float = 1.0) -> PredictedStep:
    """DDP's step. `work` and `size` are factors on a device's work and on the bytes: what if there were more or fewer.

    Buckets start in the order in which they are ready, and one after another: end_k = max(ready_k, end_{k−1}) + t(S_k)
    (Li et al. 2020, arXiv 2006.15704). On CPU cores the core that trains also carries the exchange: within one host its
    work is added to the backward pass, whatever overlaps.
    """
    slower = work * basis.slowdown(devices)
    messages = [network.seconds(size * length, devices) for length, _ in basis.buckets]
    # DDP copies every gradient into its bucket: bytes that are read and written, on a GPU a kernel for each tensor.
    rate = basis.memory_rate()
    copies = 2 * basis.gradient_bytes / rate if rate else 0.0
    kernels = basis.parameters * SMALL_KERNEL_SECONDS if basis.row.on_gpu else 0.0
    computed = basis.backward * slower + (copies + kernels)
    if not basis.row.on_gpu and basis.all_reduce:
        computed += sum(min(table_seconds(basis.all_reduce, size * length, devices), seconds)
                        for (length, _), seconds in zip(basis.buckets, messages, strict=True))  # fmt: skip
    end = 0.0
    for (_, ready), seconds in zip(basis.buckets, messages, strict=True):
        end = max(computed * ready, end) + seconds
    device = (basis.step - basis.backward) * slower + max(computed, end)
    host, launches, crowded = _host_step(basis)
    seconds = max(device, host)
    exposed = max(0.0, max(computed, end) - basis.backward * slower)
    share = TABLE_UNCERTAINTY if network.is_measured(devices) else LINK_UNCERTAINTY
    uncertainty = share * max(exposed, min(sum(messages), HIDDEN * seconds))
    uncertainty += LAUNCHES_UNCERTAINTY * launches if host > device else 0.0
    low, high = _range(basis, devices, seconds, uncertainty)
    return PredictedStep(seconds, low, high + max(0.0, crowded - seconds), sum(messages), exposed, host > device)


def _host_step(basis: Basis) -> tuple[float, float, float]:
    """GPUs: what the host needs to launch a step under DDP; the part of it that DDP adds; what it may need where
    processes that launch at once slow each other as in step 01. Zeros where it is not known. Where step 01's launches
    are implausible, one alone was slowed: then all that is known is what it may need at most."""
    launching, launches = basis.row.profile.host_step, basis.probes.launches
    if not basis.row.on_gpu or launching is None or launches is None:
        return 0.0, 0.0, 0.0
    more = basis.parameters * LAUNCHES_A_TENSOR * launches.alone_seconds
    host = min(launching.value, basis.step) + more
    crowded = host * max(1.0, launches.processes_seconds / launches.alone_seconds)
    return (host, more, crowded) if launches.is_plausible else (0.0, 0.0, crowded)


def dp_step(basis: Basis, devices: int, link: Link | None = None) -> PredictedStep | None:
    """DataParallel's step, on GPUs over `link` if it is given; None where the record of one device or step 01 lacks
    what it needs.

    CPU cores (emulated): replicas are copied and gradients added by one core. GPUs: the host launches one step after
    another while the devices work: what takes longer sets the pace. The host's step: a forward pass, for which it
    launches all replicas in turn, since the interpreter runs one thread at a time, or one replica in a thread that has
    to plan each different convolution anew, whichever takes longer; a backward pass and a replica for each device; all
    else as on one device.
    """
    profile, launches, others = basis.row.profile, basis.probes.launches, devices - 1
    if basis.row.on_gpu:  # model out, outputs and gradients back over the slowest path
        rates = [copy.bytes_per_second for copy in basis.probes.copies if copy.source is not None]
        rate = link.bytes_per_second if link else min(rates) if rates and all(rates) else None
        static = basis.row.record.static_memory
        size = static.parameter_bytes + static.buffer_bytes + static.gradient_bytes + (profile.gathered_bytes or 0)
    else:  # within one memory gradients are added up: two read, one written
        rate, size = basis.memory_rate(), 3 * basis.gradient_bytes
    if profile.replicate is None or not rate:
        return None
    moved, seconds = others * size / rate, basis.step * basis.slowdown(devices)
    if not basis.row.on_gpu:
        replicas = profile.replicate.value * others
        seconds, uncertainty = seconds + replicas + moved, 0.5 * (replicas + moved)
    else:
        host = [profile.slowest.host.get(name) for name in ("step", "forward", "backward")]
        if launches is None or not launches.is_plausible or None in host or profile.different_convolutions is None:
            return None
        whole, forward, backward = (part.value for part in host)
        plans = profile.different_convolutions * (launches.first_convolution_seconds - launches.convolution_seconds)
        longer = max(forward * devices, forward + max(0.0, plans)) - forward
        replicas = profile.replicate.value * devices
        seconds = max(seconds, whole + longer + others * backward + replicas) + moved
        uncertainty = PLANS_UNCERTAINTY * longer + 0.3 * replicas + 0.5 * moved
    return PredictedStep(seconds, *_range(basis, devices, seconds, uncertainty), moved, seconds - basis.step)


def _range(basis: Basis, devices: int, seconds: float, uncertainty: float) -> tuple[float, float]:
    """`uncertainty` goes both ways, what devices cost each other mostly upwards."""
    slack = (basis.slowdown(devices) - 1) * basis.step
    own = basis.step_error * basis.step
    is_known = basis.probes.together is not None or devices == 1
    unknown = 0.0 if is_known else UNKNOWN_SLOWDOWN[basis.row.record.world.device_kind] * basis.step
    low = max(basis.step * (1 - basis.step_error) * 0.5, seconds - own - uncertainty - slack)
    return low, seconds + own + uncertainty + KNOWN_SLOWDOWN_UNCERTAINTY * slack + unknown


def ddp_efficiency(basis: Basis, network: Network, devices: int, *, work: float = 1.0, size: float = 1.0) -> float:
    """Of `ddp_step`: 1 is ideal."""
    return work * basis.step / ddp_step(basis, network, devices, work=work, size=size).seconds


def slowest_useful_link(basis: Basis, devices: int) -> float | None:
    """Bytes a second, without latency: over a slower link DDP loses more than half of what it gains over one device.
    None where it is predicted to gain nothing over any."""

    def gain(rate: float) -> float:
        return devices * ddp_efficiency(basis, Network(Link(rate)), devices) - 1

    most = gain(LINK_RATES[-1])
    return float(LINK_RATES[bisect_right(LINK_RATES, most / 2, key=gain)]) if most > 0 else None
