"""One start of a campaign: its seed, what it launches, how long that takes, and what it says of it."""

import math
import secrets
import shlex
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from time import monotonic

from rich.console import Console

from common.campaigns.launcher import Launcher, LaunchError, step_number
from common.campaigns.launches import RESULTS, FailureKind, History, Overrides, Place, newest_check
from common.messages import Message, message
from common.records import Environment, Launch
from common.requirements import as_recorded
from common.sentences import Sentences, language_of

REPORT_SECONDS = 15.0
"""What step 05 takes, until it has been seen."""
MARGIN = 1.3
"""The next launch of a step may take so many times as long as the longest one so far: a larger batch, a new switch."""


class Pace:
    """How long a campaign's commands take: the last of each step stands for the next one of it."""

    def __init__(self) -> None:
        self._started = monotonic()
        self._seconds: dict[str, list[float]] = {}
        self._least_left = math.inf

    @property
    def elapsed(self) -> float:
        """Seconds since the campaign began."""
        return monotonic() - self._started

    def add(self, command: str, seconds: float) -> None:
        """Enter what a command took."""
        self._seconds.setdefault(step_number(command), []).append(seconds)

    def of(self, commands: Iterable[str]) -> float | None:
        """Seconds that these commands will take; None where one of their steps has not been seen."""
        last = {"05": REPORT_SECONDS} | {step: seconds[-1] for step, seconds in self._seconds.items()}
        steps = [step_number(command) for command in commands]
        return sum(last[step] for step in steps) if set(steps) <= set(last) else None

    def at_most(self, command: str) -> float:
        """Seconds that a launch with other settings than before may take, and the page after it."""
        longest = {step: max(seconds) for step, seconds in self._seconds.items()}
        return MARGIN * longest.get(step_number(command), max(longest.values(), default=0)) + REPORT_SECONDS

    def progress(self, commands: Iterable[str] | None = None) -> Message:
        """The time that is gone and, where it is known, the time until all of these have run. That never grows."""
        left, gone = None if commands is None else self.of(commands), in_minutes(self.elapsed)
        if left is None:
            return message("{time} gone", time=gone)
        self._least_left = min(left, self._least_left)
        return message("{time} gone, about {left} left", time=gone, left=in_minutes(self._least_left))

    def allow(self, seconds: float) -> None:
        """Let the time left grow once by so much: a round has been added, and that was said."""
        self._least_left += seconds


def in_minutes(seconds: float) -> str:
    """45 s, 5 min, 7 min 5 s."""
    minutes, rest = divmod(round(seconds), 60)
    return " ".join(([f"{minutes} min"] if minutes else []) + ([f"{rest} s"] if rest or not minutes else []))


class Session:
    """What is launched in the current folder by one start of a campaign."""

    here: Environment
    """The machine, and what has run there: known from `check_machine` on."""
    history: History

    def __init__(self, name: str, purpose: Message, overrides: Overrides, seed: int) -> None:
        self.name, self.overrides, self.seed = name, overrides, seed
        self.id = secrets.token_hex(8)
        self.launcher, self.pace = Launcher(), Pace()
        self.finished, self.total = 0, 0
        """Rounds: how many have run, how many there are to be; 0 where nobody knows that beforehand."""
        self.words = Sentences(language_of())
        self._console = Console(highlight=False, soft_wrap=True)
        self._console.print(f"[bold]{name}:[/] {self.words.text(purpose)}")
        self.say(
            message("The order of each round is drawn at random: SEED={seed} draws the same ones again.", seed=seed)
        )

    def say(self, line: str | Message, gap: str = "") -> None:
        """One line as it is: a model's name may look like markup. `gap`: "\\n" for an empty line before it."""
        self._console.out(gap + self.words.text(line))

    def check_machine(self, check: str) -> None:
        """Run step 01, say what it warns of; its record says what the machine is. Raises `UsageError` where it has left
        none."""
        before = frozenset(RESULTS.glob("*"))
        self.say(message("The machine, step 01: what its parts can do (about a minute)"), gap="\n")
        self.say(f"$ {check}")
        self.launcher.run(check)
        record = newest_check(before)
        for one, _ in as_recorded(record, self.words):
            if one.outcome == "warning":
                warning = message("warning: {name}: {found}; {advice}")
                self.say(warning.with_values(name=one.name, found=one.found, advice=one.advice))
        self.here, self.history = record.environment, History(RESULTS, record.environment)

    def launch(
        self,
        command: str,
        place: Place | None = None,
        heading: Message | None = None,
        progress: Message | None = None,
        survives: Sequence[FailureKind] = (),
    ) -> None:
        """Run a command under a heading, with the time that is gone or, in its stead, `progress`. Raises `LaunchError`
        where it fails in a way that the campaign does not survive; otherwise `history` notes the failure."""
        number, position = place or (0, 0)
        heading = heading or (message("Round {number}", number=number) if place else message("In between"))
        head = self.words.translate("{heading}, step {step}:", heading=heading, step=step_number(command))
        gap = "" if position > 1 else "\n"
        text = self.words.text(progress or self.pace.progress())
        self._console.print(f"{gap}[bold]{head}[/]{self.words.gap}{text}")
        self.say(f"$ {command}")
        launch = Launch(campaign=self.name, id=self.id, seed=self.seed, round=number, place=position) if place else None
        started = monotonic()
        try:
            self.launcher.run(command, launch)
        except LaunchError as error:
            is_full = self.history.newest_failure(command) == "out_of_memory"
            if self.launcher.stopped_by or not place or ("out_of_memory" if is_full else "failed") not in survives:
                raise
            self.history.failed.add(command)
            full = message("Out of memory: recorded, and the campaign goes on.")
            self.say(full if is_full else str(error), gap="\n")
        finally:
            self.pace.add(command, monotonic() - started)

    def again(self) -> str:
        """The command for what is missing, so many rounds where that is known."""
        missing = self.total - self.finished if self.finished else None
        given = asdict(replace(self.overrides, repeats=missing or self.overrides.repeats))
        typed = {name: f"{value:g}" if isinstance(value, float) else value for name, value in given.items()}
        words = [f"{name.upper()}={value}" for name, value in typed.items() if value is not None]
        return shlex.join(["make", self.name, *words])

    def ended(self, end: LaunchError) -> int:
        """Say why the campaign ends before its time, and how to go on. Returns its exit code."""
        kept = message("the records of all that ran are in {folder}/. To go on: {again}")
        finished = message("{finished} of {total} rounds are finished; ", finished=self.finished, total=self.total)
        rounds = self.words.text(finished) if self.total else ""
        kept_text = self.words.text(kept.with_values(folder=RESULTS, again=self.again()))
        print(f"\n{end}\n{rounds}{kept_text}", file=sys.stderr)
        return end.code
