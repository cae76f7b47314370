"""Runs a campaign: command after command, round after round."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from statistics import mean
from time import monotonic

from rich.console import Console

from common.campaigns.launcher import Launcher, LaunchError, step_number
from common.campaigns.launches import CAMPAIGNS, Chosen
from common.errors import UsageError
from common.records import Environment, EnvironmentRecord

RESULTS = Path("results")


def conduct(name: str, chosen: Chosen) -> int:
    """Run a campaign in the current folder, and say how it goes. Returns 0, or the code of the command that ended it.

    Raises `UsageError` where step 01 has left no record that says what the devices are.
    """
    campaign, console, launcher, pace = CAMPAIGNS[name], Console(highlight=False, soft_wrap=True), Launcher(), Pace()
    finished, total = 0, chosen.repeats or campaign.repeats
    limited = not chosen.repeats and total > 1
    limit = f"none starts later than {in_minutes(campaign.last_start)} after the first command"
    console.print(f"[bold]{name}:[/] {campaign.purpose}")
    if limited:
        console.print(f"{total} rounds, but {limit}. REPEATS={total} runs them all.")
    try:
        console.out(f"\n$ {campaign.check}")
        launcher.run(campaign.check)
        rounds = campaign.rounds(newest_environment(), chosen)
        to_do = list(chain.from_iterable(rounds))
        for number, commands in enumerate(rounds, 1):
            if finished and limited and pace.elapsed > campaign.last_start:
                console.print(
                    f"\n{finished} of {total} rounds: {limit}. For the rest: {_again(name, chosen, finished)}"
                )
                break
            for command in commands:
                console.print(f"\n[bold]Round {number} of {total}, step {step_number(command)}:[/] {pace.told(to_do)}")
                console.out(f"$ {command}")
                started = monotonic()
                launcher.run(command)
                pace.add(to_do.pop(0), monotonic() - started)
            finished = number
    except LaunchError as end:
        kept = f"{finished} of {total} rounds are finished; the records of all that ran are in {RESULTS}/"
        print(f"\n{end}\n{kept}. To run the rest: {_again(name, chosen, finished)}", file=sys.stderr)
        return end.code
    console.print(f"\nDone in {in_minutes(pace.elapsed)}: comparison_report.html")
    return 0


def newest_environment() -> Environment:
    """What the newest record of step 01 says of this machine. Raises `UsageError` where there is none."""
    try:
        newest = max(RESULTS.glob("01_*.json"), key=lambda path: path.stat().st_mtime)
        return EnvironmentRecord.model_validate_json(newest.read_bytes()).environment
    except (ValueError, OSError):
        raise UsageError(f"no record of step 01 in {RESULTS}/: run `python 01_environment_check.py` first") from None


class Pace:
    """How long commands take, from those that have run: the last of each step stands for the next one of it."""

    def __init__(self) -> None:
        self._started = monotonic()
        self._seconds: dict[str, float] = {}

    @property
    def elapsed(self) -> float:
        """Seconds since the campaign began."""
        return monotonic() - self._started

    def add(self, command: str, seconds: float) -> None:
        """Enter what a command took."""
        self._seconds[step_number(command)] = seconds

    def left(self, commands: Iterable[str]) -> float | None:
        """Seconds that these commands will take. A step not yet seen counts as the mean of those seen; None of none."""
        if not self._seconds:
            return None
        unseen = mean(self._seconds.values())
        return sum(self._seconds.get(step_number(command), unseen) for command in commands)

    def told(self, commands: Iterable[str]) -> str:
        """The time that is gone and the time that is left, in words."""
        left = self.left(commands)
        return f"{in_minutes(self.elapsed)} gone" + (f", about {in_minutes(left)} left" if left is not None else "")


def in_minutes(seconds: float) -> str:
    """45 s, 5 min, 7 min 5 s."""
    minutes, rest = divmod(round(seconds), 60)
    return " ".join(([f"{minutes} min"] if minutes else []) + ([f"{rest} s"] if rest or not minutes else []))


def _again(name: str, chosen: Chosen, finished: int) -> str:
    """The command for the rounds that are missing."""
    if finished:
        chosen = replace(chosen, repeats=(chosen.repeats or CAMPAIGNS[name].repeats) - finished)
    given = [f"{field.upper()}={value}" for field, value in asdict(chosen).items() if value is not None]
    return " ".join(["make", name, *given])
