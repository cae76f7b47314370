"""Where a step goes, reduced to medians: what is kept of a record's profile once its lists have been read."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import get_args

from common.analysis.reading.thread_costs import ReplicatedSteps, differences, kinds_of_step, reduce_replicated
from common.analysis.statistics.medians import Median, median_of, resampled_median
from common.records import METHODS, Gradients, PhaseName, PhaseOrStep, RankProfile, Record, ThreadsOfForward

PHASES: tuple[PhaseName, ...] = get_args(PhaseName)
BETWEEN_DEVICES: tuple[PhaseName, ...] = ("scatter", "replicate", "gather", "reduce", "exchange")
"""Phases that exist only because there is more than one device."""
COPIES_OF_DP: tuple[PhaseName, ...] = ("scatter", "gather", "reduce")
"""Phases of DataParallel in which batch, logits and gradients move. `replicate` is a part of what replicas cost."""


@dataclass(frozen=True, slots=True)
class RankSteps:
    """The steps of one process, in seconds."""

    rank: int
    step: Median
    own: Median
    """The step less `exchange`, in which a DDP rank waits for the others and for the link."""
    phases: dict[PhaseName, Median]
    """In the order of a step."""
    host: dict[PhaseOrStep, Median] = field(default_factory=dict)
    """GPUs: the host's time to launch each phase, and the whole step."""

    @property
    def work(self) -> Median:
        """What keeps the rank from the next step by itself: its own part of a step, or its host, where that takes
        longer. A rank whose host is a little ahead has kernels in store, and its device seems to work for less."""
        return max(self.own, self.host.get("step", self.own), key=lambda one: one.value)


@dataclass(frozen=True, slots=True)
class StepProfile:
    """The profile of one run. Times are medians over its extra steps, in seconds."""

    ranks: tuple[RankSteps, ...]
    replicas: tuple[Median, ...] = ()
    """DP: each replica's own forward and backward."""
    exposed: Median | None = None
    """What moving data between devices adds to a step, after overlap. DDP: a step less one without an all-reduce; where
    there is no `wrapper_cost`, less one under `no_sync()`, and contains that cost."""
    wrapper_cost: Median | None = None
    """DDP: a step without an all-reduce less one under `no_sync()`: its work on the host, and copies into buckets."""
    last_wait: Median | None = None
    """DDP: how long the last rank to end its own backward pass then waits for the exchange: for the link alone."""
    begins_idle: bool = True
    """GPUs: whether the steps of these differences began with idle devices, and not as steps of the training do."""
    overlap_gain: Median | None = None
    """DDP: what one bucket for all gradients costs over the usual buckets; what overlap is worth."""
    whole_exchange: Median | None = None
    """DDP: what one bucket costs over no exchange; the exchange without any overlap."""
    step_without_exchange: Median | None = None
    """DDP: whole steps under `no_sync()`, on the slowest rank of each: one device's own work on its share."""
    communication: Median | None = None
    """DDP, torch's clock: first all-reduce of a step to the end of the last, on the slowest rank."""
    overlap: Median | None = None
    """DDP, torch's clock: the part of it beside the backward pass."""
    replicated: ReplicatedSteps = field(default_factory=ReplicatedSteps)
    """DP: what its threads and its replicas cost."""
    threads_of_forward: ThreadsOfForward | None = None
    """One device: the experiment as the record has it."""
    new_thread_cost: Median | None = None
    """One device: what its step, or its forward pass, takes longer in a new thread than in the main one."""
    busy_step: Median | None = None
    """GPUs: the time of a step in which the device that holds the model is busy, DDP's exchange left out; of the rank
    that waits least in it, for the waiting kernels of the others take multiprocessors from their backward passes."""
    data_path_cost: Median | None = None
    """GPUs: a step fed by the loader less one whose batch lies on the device already."""
    gradients: Gradients | None = None
    replicate: Median | None = None
    different_convolutions: int | None = None
    gathered_bytes: int | None = None
    """These four: one device, as in the record."""
    bytes_moved: dict[PhaseName, int] = field(default_factory=dict)
    bucket_bytes: tuple[int, ...] = ()

    @property
    def slowest(self) -> RankSteps:
        """The rank with the most work of its own: the others wait for it, it waits for the link alone."""
        return max(self.ranks, key=lambda rank: rank.own.value)

    @property
    def host_step(self) -> Median | None:
        """GPUs: the host's time to launch a step that begins with an idle device."""
        return self.slowest.host.get("step")

    @property
    def idle_share(self) -> float | None:
        """Share of a step in which the device that holds the model has nothing to do; None where it is not known. Below
        0 where profiled steps, a few others, kept it busy for longer than a step takes."""
        step = self.slowest.step.value
        return 1 - self.busy_step.value / step if self.busy_step and step else None

    @property
    def exposed_share(self) -> float:
        """Exposed communication / step; 0 where it was not measured."""
        step = self.slowest.step.value
        return self.exposed.value / step if self.exposed and step else 0.0


def reduce_profile(record: Record) -> StepProfile | None:
    """Reduce a record's profile; None where there is none, or no step in it that takes time."""
    profile = record.anatomy
    ranks = [rank for rank in profile.ranks if any(rank.step_seconds)] if profile else []
    ranks = [rank for rank in ranks if median_of(rank.step_seconds).value]
    if not ranks:
        return None
    steps, kinds = tuple(map(_rank_steps, ranks)), kinds_of_step(profile)
    slowest = max(zip(steps, ranks, strict=True), key=lambda pair: pair[0].own.value)[1]
    beyond = partial(differences, kinds)
    exposed = resampled_median(beyond("exchange_on", "no_all_reduce")) or median_of(
        beyond("exchange_on", "exchange_off")
    )
    if METHODS[record.method].has_replicas:
        exposed = _beyond_replicas(ranks[0])
    waits = [rank.phases.get("exchange", ()) for rank in ranks]
    return StepProfile(
        ranks=steps,
        replicas=tuple(filter(None, map(median_of, ranks[0].replica_seconds))),
        exposed=exposed,
        wrapper_cost=resampled_median(beyond("no_all_reduce", "exchange_off")),
        last_wait=median_of([min(of_step) for of_step in zip(*waits, strict=False)]),
        begins_idle=not any(rank.lead_seconds for rank in ranks),
        overlap_gain=median_of(beyond("one_bucket", "exchange_on")),
        whole_exchange=median_of(beyond("one_bucket", "exchange_off")),
        step_without_exchange=median_of(kinds["exchange_off"]),
        communication=median_of(slowest.communication_seconds),
        overlap=median_of(slowest.overlap_seconds),
        replicated=reduce_replicated(kinds, profile.replicated_steps),
        threads_of_forward=profile.threads_of_forward,
        new_thread_cost=resampled_median(beyond("new_thread", "main_thread")),
        busy_step=median_of(_undisturbed(ranks, slowest).busy_seconds.get("step", ())),
        data_path_cost=median_of(beyond("loaded", "resident")),
        gradients=profile.gradients,
        replicate=median_of(profile.replicate_seconds),
        different_convolutions=profile.different_convolutions,
        gathered_bytes=profile.gathered_bytes,
        bytes_moved=profile.bytes_moved,
        bucket_bytes=tuple(profile.bucket_bytes),
    )


def _rank_steps(rank: RankProfile) -> RankSteps:
    exchange = rank.phases.get("exchange") or [0.0] * len(rank.step_seconds)
    return RankSteps(
        rank=rank.rank,
        step=median_of(rank.step_seconds),
        own=median_of([step - wait for step, wait in zip(rank.step_seconds, exchange, strict=False)]),
        phases={name: median_of(rank.phases[name]) for name in PHASES if rank.phases.get(name)},
        host={name: median_of(seconds) for name, seconds in rank.host_seconds.items() if seconds},
    )


def _beyond_replicas(rank: RankProfile) -> Median | None:
    """DP: of a step, what is neither the slowest replica's own work nor work that one device would have as well."""
    shared = [rank.phases[name] for name in ("data wait", "copy", "loss", "optimizer") if rank.phases.get(name)]
    slowest_replica = map(max, zip(*rank.replica_seconds, strict=False))
    parts = zip(rank.step_seconds, slowest_replica, *shared, strict=False)
    return median_of([step - sum(others) for step, *others in parts])


def _undisturbed(ranks: Sequence[RankProfile], slowest: RankProfile) -> RankProfile:
    """Of several profiled ranks the one whose exchange was shortest, since it waited for none."""
    waits = {rank.rank: median_of(rank.busy_seconds.get("exchange", ())) for rank in ranks}
    if not all(waits.values()):
        return slowest
    return min(ranks, key=lambda rank: waits[rank.rank].value)
