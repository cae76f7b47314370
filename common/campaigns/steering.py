"""Campaigns whose next launch depends on how the ones before ended: a batch that did not fit, a switch that paid."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from time import monotonic
from typing import Literal, NamedTuple

from common.campaigns.arrivals import RESULTS
from common.campaigns.launcher import LaunchError, step_number
from common.campaigns.launches import CHECK, REPORT, Chosen
from common.campaigns.pace import REPORT_SECONDS, in_minutes
from common.campaigns.past import Past
from common.campaigns.session import Session
from common.records import DeviceKind, Environment

Outcome = Literal["completed", "out_of_memory", "failed"]
MARGIN = 1.3
"""The next launch of a step may take so many times as long as the longest one so far: a larger batch, a new switch."""
LOOK_AROUND = f"{CHECK} --no-benchmark"


class Planned(NamedTuple):
    """A command, and where it stands: its round, and its place there; the page stands in none."""

    command: str
    place: tuple[int, int] | None = None


Launches = Generator[Planned, Outcome | None, None]


@dataclass(frozen=True)
class Steered:
    """A campaign that is told how each of its launches ended, and then says the next one."""

    purpose: str
    launches: Callable[[Environment, Chosen, int, Past], Launches]
    """On a machine, with what was chosen and the seed of the orders, after what was run before."""
    budget: dict[DeviceKind, float]
    """Seconds from start to end, as far as past launches tell; not where the command line says how many rounds."""
    outlives_failures: bool = False
    """Whether the campaign goes on after a launch that failed for another reason than memory."""


def steer(name: str, campaign: Steered, chosen: Chosen) -> int:
    """Run it in the current folder, and say how it goes. Returns 0, or the code of the command that ended it."""
    session = Session(name, campaign.purpose, chosen)
    try:
        here = session.look_around(LOOK_AROUND)
        budget = 60 * chosen.minutes if chosen.minutes else campaign.budget["cuda" if here.gpus else "cpu"]
        limit = None if chosen.repeats else budget
        if limit is not None:
            session.say(f"\nNothing starts that would end later than {in_minutes(limit)} from the start (MINUTES).")
        past = Past(RESULTS, here)
        _launch_all(session, campaign.launches(here, chosen, session.seed, past), past, limit, campaign)
        session.launch("At the end", "the page, and what it says", REPORT)
    except LaunchError as end:
        return session.ended(end, f"The records of all that ran are in {RESULTS}/. To go on: {session.again()}")
    return session.done()


def _launch_all(session: Session, run: Launches, past: Past, limit: float | None, campaign: Steered) -> None:
    longest: dict[str, float] = {}
    outcome: Outcome | None = None
    while planned := _next(run, outcome):
        step, pace = step_number(planned.command), session.pace
        needs = MARGIN * longest.get(step, max(longest.values(), default=0)) + REPORT_SECONDS
        if limit is not None and planned.place and pace.elapsed + needs > limit:
            session.say(f"\n{in_minutes(limit)} are as good as over. To go on: {session.again()}")
            break
        started = monotonic()
        outcome = _launch(session, planned, past, campaign.outlives_failures)
        longest[step] = max(monotonic() - started, longest.get(step, 0))


def _next(run: Launches, outcome: Outcome | None) -> Planned | None:
    """The next command; None at the end."""
    try:
        return run.send(outcome)
    except StopIteration:
        return None


def _launch(session: Session, planned: Planned, past: Past, outlives_failures: bool) -> Outcome:
    """Run a command, and say how it ended. Raises `LaunchError` where that ends the campaign."""
    heading = f"Round {planned.place[0]}" if planned.place else "In between"
    try:
        session.launch(heading, f"{in_minutes(session.pace.elapsed)} gone", planned.command, planned.place)
    except LaunchError as error:
        out_of_memory = past.newest_failure(planned.command) == "out_of_memory"
        if session.launcher.is_stopped or not (out_of_memory or outlives_failures) or not planned.place:
            raise
        session.say("\nOut of memory: recorded, and the campaign goes on." if out_of_memory else f"\n{error}")
        return "out_of_memory" if out_of_memory else "failed"
    return "completed"


def rehearsed(run: Launches) -> list[str]:
    """Every command, as if each of them completed."""
    commands = []
    planned = _next(run, None)
    while planned:
        commands.append(planned.command)
        planned = _next(run, "completed")
    return [*commands, REPORT]
