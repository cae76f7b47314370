"""Steps by the clock, after the measured epochs: phase by phase, or whole ones of several kinds in rounds."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import starmap
from random import Random
from time import perf_counter
from typing import NamedTuple, TypeVar

from torch import Tensor
from torch.profiler import record_function

from common.machine.devices import LocalDevices, barrier, gathered
from common.measuring.clocks import Mark, gpu_sleep, mark, seconds_between
from common.records import PhaseName, PhaseOrStep, RankProfile, StepsInRounds
from common.training.batch import Batch
from common.training.training import Training

AnyKind = TypeVar("AnyKind", bound=str)

# Phases that happen inside another one, whose own time is what they leave of it.
INSIDE: dict[PhaseOrStep, PhaseName] = {
    "scatter": "forward",
    "replicate": "forward",
    "gather": "forward",
    "reduce": "backward",
    "exchange": "backward",
}
MIN_WARM_UP, MAX_WARM_UP = 3, 8
MAX_SECONDS, MIN_ROUNDS = 60.0, 3
"""Rounds of one experiment take no longer, where a model's steps do; if not even so many fit, none are taken."""


class Moment(NamedTuple):
    """A point in time, on the device and on the host. On CPU devices the two are one clock."""

    mark: Mark
    host: float


class PhaseClock:
    """Times each phase of a step, on the device that holds the model and on the host.

    Marks are read when all steps are over, so that on a GPU no phase waits for one before it to finish. Every phase is
    a named range in a trace, too.
    """

    def __init__(self, devices: LocalDevices) -> None:
        self._local_devices = devices
        self._steps: list[dict[PhaseOrStep, list[tuple[Moment, Moment]]]] = []
        self._replicas: list[dict[int, list[tuple[Mark, Mark]]]] = []
        self._phase = ExitStack()  # holds the one that is under way

    @contextmanager
    def step(self) -> Iterator[None]:
        """One whole step, from the wait for its data to the end of its last phase."""
        self._steps.append(defaultdict(list))
        self._replicas.append(defaultdict(list))
        self._last_gradient: Mark | None = None
        with record_function("step"):
            self._phase_ended = began = self._now()
            with self._phase:
                yield
            self._steps[-1]["step"].append((began, self._phase_ended))

    def take_step(self, training: Training, upcoming: Iterator[tuple[Batch, ...]]) -> tuple[Batch, ...]:
        """One step of a script that waits for its data first; returns its batches."""
        with self.step():
            self.phase("data wait")
            batches = next(upcoming)
            training.step(batches, self.phase)
        return batches

    def phase(self, name: PhaseName) -> None:
        """The phase `name` of the step that is under way begins where the one before it ended, or the step began: they
        add up to it."""
        self._phase.close()
        self._phase.enter_context(self.span(name, self._phase_ended))

    @contextmanager
    def span(self, name: PhaseName, began: Moment | None = None) -> Iterator[None]:
        """While open, a phase; of a function that is decorated with it, every call is one."""
        with record_function(name):
            began = began or self._now()
            yield
            self._phase_ended = ended = self._now()
        self._steps[-1][name].append((began, ended))
        if name == "backward" and self._last_gradient is not None:
            self._steps[-1]["exchange"].append((Moment(self._last_gradient, ended.host), ended))

    def gradient_ready(self, _: Tensor) -> None:
        """The last gradient of this process is complete: its own backward pass is done."""
        self._last_gradient = mark(self._local_devices.device)

    def replica_worked(self, number: int, before: Mark, after: Mark) -> None:
        """Replica `number` has gone forward or backward from one mark (of its own device) to the other."""
        self._replicas[-1][number].append((before, after))

    def read(self) -> RankProfile:
        """All steps but the first, which settles what the instruments have unsettled."""
        self._local_devices.synchronize()
        seconds = self._by_phase(lambda began, ended: seconds_between(began.mark, ended.mark))
        return RankProfile(
            rank=self._local_devices.rank,
            step_seconds=seconds["step"],
            phases={name: times for name, times in seconds.items() if name != "step"},
            replica_seconds=[
                [round(sum(starmap(seconds_between, step[number])), 7) for step in self._replicas[1:]]
                for number in sorted(set().union(*self._replicas))
            ],
        )

    def host_seconds(self) -> dict[PhaseOrStep, list[float]]:
        """By phase, and for the whole `step`: the time that the host was in it, of all steps but the first."""
        return self._by_phase(lambda began, ended: ended.host - began.host)

    def _now(self) -> Moment:
        return Moment(mark(self._local_devices.device), perf_counter())

    def _by_phase(self, seconds: Callable[[Moment, Moment], float]) -> dict[PhaseOrStep, list[float]]:
        """Of all steps but the first: seconds of each phase, without those of the phases inside it."""
        phases: dict[PhaseOrStep, list[float]] = defaultdict(list)
        for step in self._steps[1:]:
            own = {name: sum(starmap(seconds, spans)) for name, spans in step.items()}
            for name in own.keys() & INSIDE.keys():
                own[INSIDE[name]] -= own[name]
            for name, value in own.items():
                phases[name].append(round(max(value, 0.0), 7))
        return phases


class NotMeasuredError(RuntimeError):
    """An experiment cannot be made, and no other rank waits for this one: all of them raise it at the same step, or
    it is the trouble of one alone."""


@dataclass(frozen=True)
class Experiment:
    """What an experiment works with, and how whole steps of several kinds are compared in it."""

    training: Training
    devices: LocalDevices
    batches: Sequence[Batch]
    """Of one step."""
    rounds: int
    """How many are wanted."""
    progress: Callable[[], object] = lambda: None
    """Called after each step."""
    note: Callable[[str], object] = lambda text: None
    """Told why there are fewer."""

    def in_rounds(
        self, kinds: Mapping[str, Callable[[], float]], warmed: Callable[[str], object] = lambda name: None
    ) -> StepsInRounds:
        """Warm every kind of step up until its times settle, then take one of each in every round, in random order:
        what drifts hits all kinds alike.

        A kind takes a step and returns its seconds. 3 to 8 steps warm it up, until `has_settled`; then `warmed` is
        called with its name. Of ranks that step together the slowest one decides, so that all go on alike. Raises
        `NotMeasuredError`.
        """
        warm_up: dict[str, list[float]] = {name: [] for name in kinds}
        for name, times in warm_up.items():
            while len(times) < MAX_WARM_UP and not has_settled(times):
                times.append(max(gathered(kinds[name]())))
                self.progress()
                round_seconds = len(kinds) * min(times)
                # The first step may compile.
                if len(times) == 2 and min(self.rounds, MIN_ROUNDS) * round_seconds > MAX_SECONDS:
                    raise NotMeasuredError(
                        f"a round takes {round_seconds:.0f} s, and {MIN_ROUNDS} do not fit into {MAX_SECONDS:.0f} s"
                    )
            warmed(name)
        round_seconds = sum(times[-1] for times in warm_up.values())
        count = min(self.rounds, max(MIN_ROUNDS, int(MAX_SECONDS / round_seconds)))
        if count < self.rounds:
            self.note(f"{count} rounds of {self.rounds}, as many as fit into {MAX_SECONDS:.0f} s")
        seconds: dict[str, list[float]] = {name: [] for name in kinds}
        seed = self.training.config.seed
        orders = orders_of_rounds(kinds, count, seed)
        for order in orders:
            for name in order:
                seconds[name].append(kinds[name]())
                self.progress()
        settled = {name: has_settled(times) for name, times in warm_up.items()}
        return StepsInRounds(seed=seed, orders=orders, seconds=seconds, warm_up_seconds=warm_up, settled=settled)


def orders_of_rounds(kinds: Iterable[AnyKind], rounds: int, seed: int) -> list[list[AnyKind]]:
    """The kinds of each round, in random order."""
    random, names = Random(seed), list(kinds)
    return [random.sample(names, len(names)) for _ in range(rounds)]


def has_settled(seconds: Sequence[float]) -> bool:
    """Whether steps no longer get quicker: neither of the last two was 5 % below the shortest one before them.

    At least three steps. One that something held up does not count against it: only gains are looked for.
    """
    return len(seconds) >= MIN_WARM_UP and min(seconds[-2:]) >= 0.95 * min(seconds[:-2])


def timed(devices: LocalDevices, work: Callable[[], object], lead_seconds: float = 0.0) -> float:
    """Seconds of work that all ranks begin at once, and that ends when the devices are idle again.

    It begins with idle devices; or, on a GPU, `lead_seconds` after the host has begun to launch it: so far ahead.
    """
    devices.synchronize()
    barrier()
    if lead_seconds and devices.kind == "cuda":
        gpu_sleep(devices.device, lead_seconds)
    before = mark(devices.device)
    work()
    after = mark(devices.device)
    devices.synchronize()
    return round(seconds_between(before, after), 7)
