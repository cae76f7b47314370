"""Runs a campaign in rounds: each round's commands in an order of its own, as many rounds as the answer needs."""

from __future__ import annotations

from common.campaigns.arrivals import RESULTS, RUNS, Arrivals
from common.campaigns.known import MIN_ROUNDS, Known
from common.campaigns.launcher import LaunchError
from common.campaigns.launches import CAMPAIGNS, QUIET, Campaign, Chosen
from common.campaigns.pace import in_minutes
from common.campaigns.pilot import with_epochs_that_fit
from common.campaigns.session import Session
from common.records import Environment


def conduct(name: str, chosen: Chosen) -> int:
    """Run a campaign in the current folder, and say how it goes. Returns 0, or the code of the command that ended it.

    Raises `UsageError` where step 01 has left no record that says what the devices are.
    """
    campaign = CAMPAIGNS[name]
    rounds = Rounds(campaign, Session(name, campaign.purpose, chosen))
    session = rounds.session
    try:
        here = session.look_around(campaign.check)
        session.chosen = with_epochs_that_fit(session, campaign, here)
        rounds.run(here)
    except LaunchError as end:
        kept = f"{rounds.finished} of {rounds.total} rounds are finished; the records of all that ran are in {RESULTS}/"
        return session.ended(end, f"{kept}. To run the rest: {rounds.rest()}")
    return session.done()


class Rounds:
    """The rounds of one start of a campaign: how many have run, how many there are to be, and why."""

    def __init__(self, campaign: Campaign, session: Session) -> None:
        self.campaign, self.session = campaign, session
        chosen = session.chosen
        self.finished, self.total = 0, chosen.repeats or campaign.repeats
        self.known = Known() if campaign.tolerance else None
        tolerance = None if chosen.repeats else campaign.tolerance and (chosen.tolerance or campaign.tolerance)
        self.tolerance = tolerance and tolerance / 100
        minutes = chosen.minutes or campaign.minutes
        self.limit = 60 * minutes if not chosen.repeats and self.total > 1 else None
        self.none_later = f"none starts later than {in_minutes(60 * minutes)} after the first command (MINUTES)"
        if self.tolerance:
            goal = f"until each ratio is known to {_percent(self.tolerance)} (TOLERANCE)"
            session.say(f"{self.total} rounds or more, {goal}; {self.none_later}.")
        elif self.limit:
            session.say(f"{self.total} rounds; {self.none_later}. REPEATS={self.total} runs them all.")

    def run(self, here: Environment) -> None:
        """All of them, with the page after the first, and at the end the page and its summary. Raises `LaunchError`."""
        session, campaign = self.session, self.campaign
        one_device = "one GPU" if here.gpus else "one core"
        arrivals = Arrivals(RESULTS, RUNS, only_new=True)
        for commands in campaign.rounds(here, session.chosen, session.seed):
            number = self.finished + 1
            heading = f"Round {number} of {self.total}" + (" or more" if self.tolerance else "")
            for place, command in enumerate(commands, 1):
                later = [*commands[place - 1 :], *commands * (self.total - number), campaign.report]
                session.launch(heading, session.pace.told(later), command, (number, place))
            self.finished = number
            if self.known:
                come = arrivals.records()
                self.known.add(record for record in come if record.launch and record.launch.id == session.id)
                session.say(f"\nAfter {_rounds(number)}: {self.known.told(one_device)}.")
            if not self.is_another_to_come(session.pace.of(commands)):
                break
            if number == 1:
                told = "the first page, to open and to reload at the end: comparison_report.html"
                session.launch("After the first round", told, campaign.report + QUIET)
        session.launch("At the end", "the page, and what it says", campaign.report)

    def is_another_to_come(self, seconds: float | None) -> bool:
        """Whether there is another round, which takes about so many seconds; says why."""
        session, next_one = self.session, self.finished + 1
        takes = f"about {in_minutes(seconds or 0)}"
        if self.finished < self.total:
            if self.limit is not None and session.pace.elapsed > self.limit:
                session.say(f"{self.finished} of {self.total} rounds: {self.none_later}. For the rest: {self.rest()}")
                return False
            if self.known:
                session.say(f"Next: round {next_one} of {self.total}, {takes}{self._would_leave()}.")
            return True
        if self.tolerance is None or self.known is None or self.limit is None:
            return False
        if self.known.rounds < MIN_ROUNDS:
            lost = self.finished - self.known.rounds
            session.say(f"Records of {_rounds(lost)} are missing: more rounds may not help, and none is added.")
            return False
        name, half = self.known.widest()
        if half <= self.tolerance:
            session.say(f"Each ratio is known to {_percent(self.tolerance)} (TOLERANCE): enough.")
            return False
        lacking = f"{name} is known to {_percent(half)} and not yet to {_percent(self.tolerance)} (TOLERANCE)"
        if session.pace.elapsed + (seconds or 0) + (session.pace.of([self.campaign.report]) or 0) > self.limit:
            session.say(f"{lacking}, but another round, {takes}, would end after {in_minutes(self.limit)} (MINUTES).")
            return False
        session.say(f"{lacking}: round {next_one} is added, {takes}{self._would_leave()}.")
        session.pace.allow(seconds or 0)
        self.total += 1
        return True

    def rest(self) -> str:
        """The command for the rounds that are missing."""
        return self.session.again(self.total - self.finished if self.finished else None)

    def _would_leave(self) -> str:
        if self.known is None or self.known.rounds < MIN_ROUNDS:
            return ""
        name, half = self.known.widest()
        return (
            f"; the widest interval, {name} {_percent(half)}, would become about {_percent(self.known.after_another())}"
        )


def _percent(share: float) -> str:
    return f"± {100 * share:.{1 if share < 0.1 else 0}f} %".replace(".0 %", " %")


def _rounds(number: int) -> str:
    return f"{number} round" + ("s" if number > 1 else "")
