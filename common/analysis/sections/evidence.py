"""What a checkpoint is made of, and what the records of a folder offer to all five."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from common.analysis.comparing.rows import Row
from common.analysis.judging.proposals import training_command
from common.analysis.sections.report import Report
from common.content import Commands, Inline, Lines, Message, Paragraph, Point, Section, Table, details, message
from common.records import METHODS, LaunchTimes, Method, Probes, Record

PROBE = "python 01_environment_check.py"


@dataclass(frozen=True)
class Proof:
    """One thing that records prove, or do not prove yet."""

    id: str
    is_there: bool
    commands: Sequence[str]
    """What makes the record that is missing."""
    hint: Message | None = None
    """What to do while the commands run."""


@dataclass(frozen=True)
class Checkpoint:
    """One of the five."""

    id: str
    proofs: Sequence[Proof]
    figures: Sequence[Message]
    """The reader's own."""
    quizzes: Sequence[tuple[Message, Sequence[Message]]]
    """Questions, each with its answer in the reader's own numbers as far as there are any."""
    table: Table | None = None

    @property
    def there(self) -> int:
        """How many things are proven."""
        return sum(proof.is_there for proof in self.proofs)

    @property
    def state(self) -> Literal["done", "partly", "not_yet"]:
        """As the records prove it."""
        return "done" if self.there == len(self.proofs) else "partly" if self.there else "not_yet"

    def section(self, number: int) -> Section:
        """Its part of the page."""
        name = message("page.numbered", number=number, text=message(f"checkpoint.{self.id}"))
        progress = message(f"checkpoint_state.{self.state}", there=self.there, of=len(self.proofs))
        colour = {"done": "passed", "partly": "warning", "not_yet": "missing"}[self.state]
        points, to_run, seen = [], [], set[str]()
        for proof in self.proofs:
            what = message(f"proof.{proof.id}")
            if proof.is_there:
                points.append(Point(what, "there", message("page.proven")))
                continue
            still = (message("page.still_to_show"), what)
            points.append(Point(still, "missing", message("page.not_proven"), proof.hint))
            if commands := [command for command in proof.commands if command not in seen]:
                to_run.append(Commands(commands, what, is_listed=True))
                seen.update(commands)
        contents: list = [Lines(points, "proofs")]
        # Questions come first, and figures are folded: a reader says what to expect before seeing them.
        contents += [details(question, *(Paragraph([line]) for line in answer)) for question, answer in self.quizzes]
        if self.figures or self.table:
            contents.append(details(message("page.own_figures"), Lines(self.figures, "own"), self.table))
        if to_run:
            contents += [Paragraph([Inline(message("page.to_run"))], "command"), *to_run]
        return Section(title=(name, Inline(progress, outcome=colour)), contents=contents, style="checkpoint")


class Evidence:
    """What checkpoints look up in a report of at least one run."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.groups = [results.group for results in report.groups]
        self.records = [run.record for run in report.folder.runs]
        self.by_hand = [record for record in self.records if record.launch is None]
        """Those that a person started, and no campaign."""

    @property
    def model(self) -> Record:
        """The run whose settings the proposed commands have: of the best measured group, on one device if there is
        one. Where one device alone has run, the first configuration, for later ones tried switches on it."""
        if self.groups and any(row.devices > 1 for row in self.groups[0].rows):
            return self.groups[0].rows[0].record
        return next((run.record for run in self.report.folder.runs if run.is_comparable), self.records[-1])

    @property
    def devices(self) -> int:
        """Of the proposed commands: as many as the best measured rows had, else two or all, at most four cores."""
        here, best = self.model, self.groups[0].representatives if self.groups else []
        there = len(here.environment.gpus) if here.world.device_kind == "cuda" else min(here.environment.alike_cores, 4)
        return max([row.devices for row in best if row.devices > 1], default=max(there, 2))

    def command(self, method: Method, batch: int | None = None, epochs: int | None = None) -> str:
        """02, 03 or 04 as the runs that are there, on all devices; `batch` is that of one device."""
        devices = self.devices if METHODS[method].is_parallel else 1
        return training_command(self.model, method, self.report.folder.probed, devices, batch, epochs)

    def row(self, method: Method, has: Callable[[Row], object] = lambda row: True) -> Row | None:
        """A valid row of a method on several devices (of `single`: on one) that has something, the representative rows
        of the best measured group first; None where there is none."""
        rows = (row for group in self.groups for row in (*group.representatives, *group.main_rows))
        of_method = (row for row in rows if row.method == method and (row.devices > 1) is row.is_parallel)
        return next((row for row in of_method if row.is_valid and has(row)), None)

    def probes(self, name: str) -> Probes | None:
        """Step 01's newest that have this part."""
        return next((one.probes for one in reversed(self.report.folder.probed) if getattr(one.probes, name)), None)


def launches_and_why(times: LaunchTimes) -> tuple[list[Message], Message]:
    """The reader's own figures, and whether DP's loss comes from threads."""
    seconds = {"alone": times.alone_seconds, "threads": times.threads_seconds, "processes": times.processes_seconds}
    more = {name: of_kind / times.alone_seconds for name, of_kind in seconds.items()}
    own = "own.launches" if times.is_plausible else "own.launches_implausible"
    outcome = "threads" if times.threads_are_dearer else "threads_not_dearer"
    why = f"solution.{outcome if times.is_plausible else 'threads_implausible'}"
    return [message(own, workers=times.workers, **seconds)], message(why, workers=times.workers, **more)


def bytes_of_step(row: Row) -> Message:
    """The bytes of a step, in parts under DP and in messages under DDP; on GPUs what the host needs to launch it."""
    profile = row.profile
    host = message("own.host", seconds=profile.host_step.value) if profile.host_step else message("nothing")
    values = {"row": row.name, "bytes": sum(profile.bytes_moved.values()), "host": host}
    if METHODS[row.method].synchronises_gradients:
        return message("own.exchanged", count=len(profile.bucket_bytes), **values)
    parts = [message("own.part", phase=name, bytes=size) for name, size in profile.bytes_moved.items() if size]
    return message("own.moved" if row.on_gpu else "own.moved_in_memory", parts=parts, **values)
