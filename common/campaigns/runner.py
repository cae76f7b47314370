"""Runs a campaign: launch after launch, as its plan says, until the plan, the time or a failure ends it."""

from __future__ import annotations

from common.campaigns.campaign import QUIET, AdaptiveCampaign, Outcome, Plan, PlannedLaunch, RoundCampaign
from common.campaigns.launcher import LaunchError
from common.campaigns.pilot import with_epochs_that_fit
from common.campaigns.progress import MIN_ROUNDS, RESULTS, RUNS, NewFiles, RoundRatios
from common.campaigns.session import Session, in_minutes
from common.records import Environment, Record


def run_campaign(session: Session, campaign: RoundCampaign | AdaptiveCampaign) -> int:
    """Run it in the current folder, and say how it goes. Returns 0, or the code of the command that ended it.

    Raises `UsageError` where step 01 has left no record that says what the devices are.
    """
    try:
        here, history = session.check_machine(campaign.check)
        limit = None
        if isinstance(campaign, AdaptiveCampaign):
            plan = campaign.plan(here, session.overrides, session.seed, history)
            limit = _limit(session, campaign.budget["cuda" if here.gpus else "cpu"])
        else:
            plan = _rounds_as_needed(session, campaign, here)
        planned = next_launch(plan)
        while planned:
            ends = session.pace.elapsed + session.pace.at_most(planned.command)
            if limit is not None and planned.place and ends > limit:
                session.say(f"\n{in_minutes(limit)} are as good as over. To go on: {session.again()}")
                break
            planned = next_launch(plan, session.launch(planned, campaign.survives))
        session.launch(PlannedLaunch(campaign.report, heading="At the end", progress="the page, and what it says"))
    except LaunchError as end:
        return session.ended(end)
    return session.done()


def _limit(session: Session, budget: float) -> float | None:
    """Seconds after which nothing is to end; None where the command line says how many rounds there are."""
    if session.overrides.repeats:
        return None
    limit = 60 * session.overrides.minutes if session.overrides.minutes else budget
    session.say(f"\nNothing starts that would end later than {in_minutes(limit)} from the start (MINUTES).")
    return limit


def next_launch(plan: Plan, outcome: Outcome | None = None) -> PlannedLaunch | None:
    """The next launch, after one that ended so; None at the end."""
    try:
        return next(plan) if outcome is None else plan.send(outcome)
    except StopIteration:
        return None


def rehearsed(plan: Plan) -> list[str]:
    """Every command, as if each of them completed."""
    commands, planned = [], next_launch(plan)
    while planned:
        commands.append(planned.command)
        planned = next_launch(plan, "completed")
    return commands


def _rounds_as_needed(session: Session, campaign: RoundCampaign, here: Environment) -> Plan:
    """All of them, with the page after the first. Raises `LaunchError` where the pilot fails."""
    until = StoppingRule(session, campaign)
    session.overrides = with_epochs_that_fit(session, campaign, here)
    files = NewFiles(RESULTS, RUNS, only_later=True)
    for number, commands in enumerate(campaign.rounds(here, session.overrides, session.seed), 1):
        heading = f"Round {number} of {session.total}" + (" or more" if until.tolerance else "")
        for place, command in enumerate(commands, 1):
            later = [*commands[place - 1 :], *commands * (session.total - number), campaign.report]
            yield PlannedLaunch(command, (number, place), heading, session.pace.progress(later))
        session.finished = number
        if until.ratios:
            records = files.records(Record)
            until.ratios.add(record for record in records if record.launch and record.launch.id == session.id)
            one_device = "one GPU" if here.gpus else "one core"
            session.say(f"\nAfter {_rounds(number)}: {until.ratios.in_words(one_device)}.")
        seconds = session.pace.of(commands) or 0
        is_another_to_come, why = until.another(seconds)
        if why:
            session.say(why)
        if not is_another_to_come:
            break
        if number == session.total:
            session.total += 1
            session.pace.allow(seconds)
        if number == 1:
            text = "the first page, to open and to reload at the end: comparison_report.html"
            yield PlannedLaunch(campaign.report + QUIET, None, "After the first round", text)


class StoppingRule:
    """How many rounds there are to be, and why."""

    def __init__(self, session: Session, campaign: RoundCampaign) -> None:
        self.session, self.campaign = session, campaign
        overrides = session.overrides
        session.total = overrides.repeats or campaign.repeats
        self.ratios = RoundRatios() if campaign.tolerance else None
        minutes, tolerance = overrides.minutes or campaign.minutes, overrides.tolerance or campaign.tolerance
        self.tolerance = tolerance / 100 if tolerance and not overrides.repeats else None
        self.limit = 60 * minutes if not overrides.repeats and session.total > 1 else None
        self.none_later = f"no new round after {in_minutes(60 * minutes)} (MINUTES)"
        if self.tolerance:
            goal = f"until each ratio is known to {_percent(self.tolerance)} (TOLERANCE)"
            session.say(f"\n{session.total} rounds or more, {goal}; {self.none_later}.")
        elif self.limit:
            session.say(f"\n{session.total} rounds; {self.none_later}. REPEATS={session.total} runs them all.")

    def another(self, seconds: float) -> tuple[bool, str]:
        """Whether there is another round, which takes about so many seconds, and why, where that is worth a line."""
        session, ratios, tolerance, limit = self.session, self.ratios, self.tolerance, self.limit
        finished, total, takes = session.finished, session.total, f"about {in_minutes(seconds)}"
        if finished < total:
            if limit is not None and session.pace.elapsed > limit:
                return False, f"{finished} of {total} rounds: {self.none_later}. For the rest: {session.again()}"
            return True, f"Next: round {finished + 1} of {total}, {takes}{self._would_leave()}." if ratios else ""
        if tolerance is None or ratios is None or limit is None:
            return False, ""
        if ratios.rounds < MIN_ROUNDS:
            lost = _rounds(finished - ratios.rounds)
            return False, f"Records of {lost} are missing: more rounds may not help, and none is added."
        name, half = ratios.widest()
        if half <= tolerance:
            return False, f"Each ratio is known to {_percent(tolerance)} (TOLERANCE): enough."
        lacking = f"{name} is known to {_percent(half)} and not yet to {_percent(tolerance)} (TOLERANCE)"
        if session.pace.elapsed + seconds + (session.pace.of([self.campaign.report]) or 0) > limit:
            return False, f"{lacking}, but another round, {takes}, would end after {in_minutes(limit)} (MINUTES)."
        return True, f"{lacking}: round {finished + 1} is added, {takes}{self._would_leave()}."

    def _would_leave(self) -> str:
        if self.ratios is None or self.ratios.rounds < MIN_ROUNDS:
            return ""
        (name, half), after = self.ratios.widest(), self.ratios.after_another()
        return f"; the widest interval, {name} {_percent(half)}, would become about {_percent(after)}"


def _percent(share: float) -> str:
    return f"± {100 * share:.{1 if share < 0.1 else 0}f} %".replace(".0 %", " %")


def _rounds(number: int) -> str:
    return f"{number} round" + ("s" if number > 1 else "")
