"""Campaigns whose next launch depends on how the ones before ended: a batch that did not fit, a switch that paid."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass
from time import monotonic
from typing import Literal

from rich.console import Console

from common.campaigns.launcher import Launcher, LaunchError, step_number
from common.campaigns.launches import CHECK, REPORT, Chosen
from common.campaigns.past import Past
from common.campaigns.runner import RESULTS, Pace, in_minutes, newest_environment
from common.records import DeviceKind, Environment

Outcome = Literal["completed", "out_of_memory", "failed"]
Launches = Generator[str, Outcome | None, None]
REPORT_SECONDS, MARGIN = 15, 1.3
"""The next launch of a step may take so many times as long as the longest one so far: a larger batch, a new switch."""
LOOK_AROUND = f"{CHECK} --no-benchmark"


@dataclass(frozen=True)
class Steered:
    """A campaign that is told how each of its launches ended, and then says the next one."""

    purpose: str
    launches: Callable[[Environment, Chosen, Past], Launches]
    budget: dict[DeviceKind, float]
    """Seconds from start to end, as far as past launches tell; not where the command line says how many rounds."""
    outlives_failures: bool = False
    """Whether the campaign goes on after a launch that failed for another reason than memory."""


def steer(name: str, campaign: Steered, chosen: Chosen) -> int:
    """Run it in the current folder, and say how it goes. Returns 0, or the code of the command that ended it."""
    console, launcher, pace = Console(highlight=False, soft_wrap=True), Launcher(), Pace()
    again = " ".join(["make", name, *(f"{field.upper()}={value}" for field, value in asdict(chosen).items() if value)])
    console.print(f"[bold]{name}:[/] {campaign.purpose}")
    try:
        console.out(f"\n$ {LOOK_AROUND}")
        launcher.run(LOOK_AROUND)
        here = newest_environment()
        budget = None if chosen.repeats else campaign.budget["cuda" if here.gpus else "cpu"]
        if budget is not None:
            console.print(f"\nNothing starts that would end later than {in_minutes(budget)} from the start.")
        past = Past(RESULTS, here)
        run, longest = campaign.launches(here, chosen, past), dict[str, float]()
        outcome: Outcome | None = None
        reported = False
        while command := _next(run, outcome):
            needs = MARGIN * longest.get(step_number(command), max(longest.values(), default=0)) + REPORT_SECONDS
            if budget is not None and command != REPORT and pace.elapsed + needs > budget:
                console.print(f"\n{in_minutes(budget)} are as good as over. To go on: {again}")
                break
            console.print(f"\n[bold]Step {step_number(command)}:[/] {in_minutes(pace.elapsed)} gone")
            console.out(f"$ {command}")
            started = monotonic()
            outcome = _launch(launcher, command, past, campaign.outlives_failures, console)
            longest[step_number(command)] = max(monotonic() - started, longest.get(step_number(command), 0))
            reported = command == REPORT
        if not reported:
            launcher.run(REPORT)
    except LaunchError as end:
        print(f"\n{end}\nThe records of all that ran are in {RESULTS}/. To go on: {again}", file=sys.stderr)
        return end.code
    console.print(f"\nDone in {in_minutes(pace.elapsed)}: comparison_report.html")
    return 0


def _next(run: Launches, outcome: Outcome | None) -> str | None:
    """The next command; None at the end."""
    try:
        return run.send(outcome)
    except StopIteration:
        return None


def _launch(launcher: Launcher, command: str, past: Past, outlives_failures: bool, console: Console) -> Outcome:
    """Run a command, and say how it ended. Raises `LaunchError` where that ends the campaign."""
    try:
        launcher.run(command)
    except LaunchError as error:
        out_of_memory = past.newest_failure(command) == "out_of_memory"
        if launcher.is_stopped or not (out_of_memory or outlives_failures) or command == REPORT:
            raise
        console.print("\nOut of memory: recorded, and the campaign goes on." if out_of_memory else f"\n{error}")
        return "out_of_memory" if out_of_memory else "failed"
    return "completed"


def rehearsed(run: Launches) -> list[str]:
    """Every command, as if each of them completed."""
    commands = []
    command = _next(run, None)
    while command:
        commands.append(command)
        command = _next(run, "completed")
    return commands
