"""What a checkpoint is made of, and what the records of a folder offer to all five."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from common.analysis.comparing.rows import Row
from common.analysis.judging.proposals import training_command
from common.analysis.sections.report import Report
from common.content import Commands, Inline, Lines, Message, Paragraph, Point, Section, Table, fold, message
from common.records import METHODS, Method, Probes, Record

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

    @property
    def to_run(self) -> list[tuple[Message, list[str]]]:
        """What is missing, and the commands for it; each command once."""
        missing: list[tuple[Message, list[str]]] = []
        seen: set[str] = set()
        for proof in self.proofs:
            commands = [command for command in proof.commands if command not in seen]
            if commands and not proof.is_there:
                missing.append((message(f"proof.{proof.id}"), commands))
                seen.update(commands)
        return missing

    def section(self, number: int) -> Section:
        """Its part of the page."""
        name = message("page.numbered", number=number, text=message(f"checkpoint.{self.id}"))
        progress = message(f"checkpoint_state.{self.state}", there=self.there, of=len(self.proofs))
        colour = {"done": "passed", "partly": "warning", "not_yet": "missing"}[self.state]
        points = []
        for proof in self.proofs:
            what = message(f"proof.{proof.id}")
            points.append(
                Point(what, "there", message("page.proven")) if proof.is_there
                else Point((message("page.still_to_show"), what), "missing", message("page.not_proven"), proof.hint)
            )  # fmt: skip
        contents: list = [Lines(points, "proofs")]
        # Questions come first, and figures are folded: a reader says what to expect before seeing them.
        contents += [fold(question, *(Paragraph([line]) for line in answer)) for question, answer in self.quizzes]
        if self.figures or self.table:
            contents.append(fold(message("page.own_figures"), Lines(self.figures, "own"), self.table))
        if self.to_run:
            contents.append(Paragraph([Inline(message("page.to_run"))], "command"))
        contents += [Commands(commands, proven, is_listed=True) for proven, commands in self.to_run]
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
        """On how many devices the proposed commands run: as the best measured rows did, else on all, at most four cores
        and at least two."""
        here = self.model
        used = max((row.devices for row in self.groups[0].representatives), default=1) if self.groups else 1
        on_gpu = here.world.device_kind == "cuda"
        there = len(here.environment.gpus) if on_gpu else min(here.environment.alike_cores, 4)
        return used if used > 1 else max(there, 2)

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
