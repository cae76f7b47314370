"""What a checkpoint is made of, and what the records of a folder offer to all five."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from common.analysis.comparing.crossover_batch import BatchSeries
from common.analysis.comparing.groups import Group
from common.analysis.comparing.one_change import Ladder
from common.analysis.comparing.rows import Row
from common.analysis.judging.proposals import NextStep, training_command
from common.analysis.judging.verdicts import Decision
from common.analysis.reading.folder import Folder
from common.analysis.sections.changes import Change
from common.analysis.sections.group import GroupResults
from common.content import Commands, Inline, Lines, Message, Paragraph, Point, Section, Table, fold, message
from common.records import METHODS, Method, Probes, Record

PROBE = "python 01_environment_check.py"
State = Literal["done", "partly", "not_yet"]


@dataclass(frozen=True)
class Proof:
    """One thing that records prove, or do not prove yet."""

    id: str
    is_there: bool
    commands: Sequence[str] = ()
    """What makes the record that is missing."""
    hint: Message | None = None
    """What to do while the commands run."""

    @property
    def sentence(self) -> Message:
        """What is proven."""
        return message(f"proof.{self.id}")

    @property
    def point(self) -> Point:
        """It with its tick, or what is still to do."""
        if self.is_there:
            return Point(self.sentence, "there", message("page.proven"))
        text = (message("page.still_to_show"), self.sentence)
        return Point(text, "missing", message("page.not_proven"), self.hint)


@dataclass(frozen=True)
class Quiz:
    """A question, and its answer in the reader's own numbers as far as there are any."""

    question: Message
    answer: Sequence[Message]


@dataclass(frozen=True)
class Checkpoint:
    """One of the five."""

    id: str
    proofs: Sequence[Proof]
    figures: Sequence[Message]
    """The reader's own."""
    quizzes: Sequence[Quiz]
    table: Table | None = None

    @property
    def state(self) -> State:
        """As the records prove it."""
        there = [proof.is_there for proof in self.proofs]
        return "done" if all(there) else "partly" if any(there) else "not_yet"

    @property
    def to_run(self) -> list[tuple[Message, list[str]]]:
        """What is missing, and the commands for it; each command once."""
        missing: list[tuple[Message, list[str]]] = []
        seen: set[str] = set()
        for proof in self.proofs:
            commands = [command for command in proof.commands if command not in seen]
            if commands and not proof.is_there:
                missing.append((proof.sentence, commands))
                seen.update(commands)
        return missing

    @property
    def progress(self) -> Message:
        """The state in words: `partly: 2 of 3`."""
        there = sum(proof.is_there for proof in self.proofs)
        return message(f"checkpoint_state.{self.state}", there=there, of=len(self.proofs))

    def section(self, number: int) -> Section:
        """Its part of the page."""
        colour = {"done": "passed", "partly": "warning", "not_yet": "missing"}[self.state]
        name = message("page.numbered", number=number, text=message(f"checkpoint.{self.id}"))
        contents: list = [Lines([proof.point for proof in self.proofs], "proofs")]
        # Questions come first, and figures are folded: a reader says what to expect before seeing them.
        for quiz in self.quizzes:
            contents.append(fold(quiz.question, *(Paragraph([line]) for line in quiz.answer)))
        if self.figures or self.table:
            own = [Lines(self.figures, "own"), *([self.table] if self.table else [])]
            contents.append(fold(message("page.own_figures"), *own))
        if self.to_run:
            contents.append(Paragraph([Inline(message("page.to_run"))], "command"))
        contents += [Commands(commands, proven, is_listed=True) for proven, commands in self.to_run]
        return Section(title=(name, Inline(self.progress, outcome=colour)), contents=contents, style="checkpoint")


@dataclass(frozen=True)
class Evidence:
    """All that was read and judged before; nothing is computed anew."""

    folder: Folder
    """With at least one run."""
    results: Sequence[GroupResults]
    """The best measured group's first."""
    crossovers: Sequence[BatchSeries]
    ladder: Ladder | None
    changes: Sequence[Change]
    decision: Decision
    next_step: NextStep

    @property
    def groups(self) -> list[Group]:
        """The groups themselves."""
        return [results.group for results in self.results]

    @property
    def records(self) -> list[Record]:
        """Every run's, the newest last."""
        return [run.record for run in self.folder.runs]

    @property
    def by_hand(self) -> list[Record]:
        """Those that a person started, and no campaign."""
        return [record for record in self.records if record.launch is None]

    @property
    def methods_by_hand(self) -> set[Method]:
        """The methods whose runs a person started and saw through, parallel ones on several devices."""
        return {record.method for record in self.by_hand if record.status == "completed"
                and (record.world.devices > 1 or not METHODS[record.method].is_parallel)}  # fmt: skip

    @property
    def model(self) -> Record:
        """The run whose settings the proposed commands have: of the best measured group, on one device if there is
        one. Where one device alone has run, the first configuration, for later ones tried switches on it."""
        if self.groups and any(row.devices > 1 for row in self.groups[0].rows):
            return self.groups[0].rows[0].record
        return next((run.record for run in self.folder.runs if run.is_comparable), self.records[-1])

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
        return training_command(self.model, method, self.folder.probed, devices, batch, epochs)

    def row(self, method: Method, has: Callable[[Row], object] = lambda row: True) -> Row | None:
        """A valid row of a method on several devices (of `single`: on one) that has something, the representative rows
        of the best measured group first; None where there is none."""
        return next((row for row in self._rows(method) if has(row)), None)

    def _rows(self, method: Method) -> Iterator[Row]:
        for group in self.groups:
            for row in (*group.representatives, *group.main_rows):
                if row.method == method and row.is_valid and (row.devices > 1) is row.is_parallel:
                    yield row

    def probes(self, name: str) -> Probes | None:
        """Step 01's newest that have this part."""
        return next((one.probes for one in reversed(self.folder.probed) if getattr(one.probes, name)), None)
