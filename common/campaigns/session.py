"""One start of a campaign: its seed, its clock, what it launches, and what it says of that."""

from __future__ import annotations

import secrets
import shlex
import sys
from dataclasses import asdict, replace
from time import monotonic

from rich.console import Console

from common.campaigns.arrivals import CHECKS, RESULTS, Arrivals
from common.campaigns.launcher import Launcher, LaunchError, step_number
from common.campaigns.launches import Chosen
from common.campaigns.orders import drawn_seed
from common.campaigns.pace import Pace, in_minutes
from common.records import Environment, Launch


class Session:
    """What a campaign of rounds and one whose launches depend on each other have in common."""

    def __init__(self, name: str, purpose: str, chosen: Chosen) -> None:
        self.name, self.chosen = name, chosen
        self.seed = drawn_seed() if chosen.seed is None else chosen.seed
        self.id = secrets.token_hex(8)
        self.launcher, self.pace = Launcher(), Pace()
        self._console = Console(highlight=False, soft_wrap=True)
        self._console.print(f"[bold]{name}:[/] {purpose}")
        self.say(f"The order of each round is drawn at random: SEED={self.seed} draws the same ones again.")

    def say(self, text: str) -> None:
        """One line as it is: a model's name may look like markup."""
        self._console.out(text)

    def look_around(self, check: str) -> Environment:
        """Run step 01, and return what its record says. Raises `UsageError` where it has left none."""
        arrivals = Arrivals(RESULTS, CHECKS, only_new=True)
        self.say(f"\n$ {check}")
        self.launcher.run(check)
        return arrivals.newest_environment()

    def launch(self, heading: str, told: str, command: str, place: tuple[int, int] | None = None) -> None:
        """Run a command under a heading. `place`: its round, and where it stands there. Raises `LaunchError`."""
        self._console.print(f"\n[bold]{heading}, step {step_number(command)}:[/] {told}")
        self.say(f"$ {command}")
        launch = place and Launch(campaign=self.name, id=self.id, seed=self.seed, round=place[0], place=place[1])
        started = monotonic()
        try:
            self.launcher.run(command, launch)
        finally:
            self.pace.add(command, monotonic() - started)

    def again(self, repeats: int | None = None) -> str:
        """The command for what is missing, so many rounds where that is known."""
        given = asdict(replace(self.chosen, repeats=repeats or self.chosen.repeats))
        words = [f"{name.upper()}={_short(value)}" for name, value in given.items() if value is not None]
        return shlex.join(["make", self.name, *words])

    def ended(self, end: LaunchError, missing: str) -> int:
        """Say why the campaign ends before its time, and how to go on. Returns its exit code."""
        print(f"\n{end}\n{missing}", file=sys.stderr)
        return end.code

    def done(self) -> int:
        """Say that it is over. Returns the exit code."""
        self.say(f"\nDone in {in_minutes(self.pace.elapsed)}: comparison_report.html")
        return 0


def _short(value: float | str) -> float | str:
    """3 and not 3.0, as it was typed."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
