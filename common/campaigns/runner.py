"""Runs a campaign: launch after launch, as its plan says, until the plan, the time or a failure ends it."""

from __future__ import annotations

from common.campaigns.campaign import QUIET, AdaptiveCampaign, Outcome, Plan, PlannedLaunch, RoundCampaign
from common.campaigns.launcher import LaunchError
from common.campaigns.pilot import with_epochs_that_fit
from common.campaigns.progress import MIN_ROUNDS, RESULTS, RUNS, NewFiles, RoundRatios
from common.campaigns.session import Session, in_minutes
from common.messages import Message, message
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
                over = message("{time} are as good as over. To go on: {again}")
                session.say(over.with_values(time=in_minutes(limit), again=session.again()), gap="\n")
                break
            planned = next_launch(plan, session.launch(planned, campaign.survives))
        end, page = message("At the end"), message("the page, and what it says")
        session.launch(PlannedLaunch(campaign.report, heading=end, progress=page))
    except LaunchError as end:
        return session.ended(end)
    return session.done()


def _limit(session: Session, budget: float) -> float | None:
    """Seconds after which nothing is to end; None where the command line says how many rounds there are."""
    if session.overrides.repeats:
        return None
    limit = 60 * session.overrides.minutes if session.overrides.minutes else budget
    none = message("Nothing starts that would end later than {time} from the start (MINUTES).")
    session.say(none.with_values(time=in_minutes(limit)), gap="\n")
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
        few, more = message("Round {number} of {total}"), message("Round {number} of {total} or more")
        heading = (more if until.tolerance else few).with_values(number=number, total=session.total)
        for place, command in enumerate(commands, 1):
            later = [*commands[place - 1 :], *commands * (session.total - number), campaign.report]
            yield PlannedLaunch(command, (number, place), heading, session.pace.progress(later))
        session.finished = number
        if until.ratios:
            records = files.records(Record)
            until.ratios.add(record for record in records if record.launch and record.launch.id == session.id)
            one_device = message("one GPU") if here.gpus else message("one core")
            ratios = until.ratios.in_words(one_device)
            session.say(message("After {rounds}: {ratios}.", rounds=_rounds(session, number), ratios=ratios), gap="\n")
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
            text = message("the first page, to open and to reload at the end: comparison_report.html")
            yield PlannedLaunch(campaign.report + QUIET, None, message("After the first round"), text)


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
        self.none_later = message("no new round after {time} (MINUTES)", time=in_minutes(60 * minutes))
        known = {"total": session.total, "none_later": self.none_later, "tolerance": _percent(self.tolerance or 0)}
        goal = message(
            "{total} rounds or more, until each ratio is known to {tolerance} (TOLERANCE); {none_later}.", **known
        )
        all_of_them = message("{total} rounds; {none_later}. REPEATS={total} runs them all.", **known)
        if self.tolerance or self.limit:
            session.say(goal if self.tolerance else all_of_them, gap="\n")

    def another(self, seconds: float) -> tuple[bool, str | Message]:
        """Whether there is another round, which takes about so many seconds, and why, where that is worth a line."""
        session, ratios, tolerance, limit = self.session, self.ratios, self.tolerance, self.limit
        finished, total = session.finished, session.total
        next_one = {"number": finished + 1, "total": total, "time": in_minutes(seconds), "effect": self._would_leave()}
        if finished < total:
            if limit is not None and session.pace.elapsed > limit:
                stop = message("{finished} of {total} rounds: {none_later}. For the rest: {again}")
                values = {"finished": finished, "total": total, "none_later": self.none_later}
                return False, stop.with_values(again=session.again(), **values)
            return True, message("Next: round {number} of {total}, about {time}{effect}.", **next_one) if ratios else ""
        if tolerance is None or ratios is None or limit is None:
            return False, ""
        if ratios.rounds < MIN_ROUNDS:
            lost = _rounds(session, finished - ratios.rounds)
            return False, message(
                "Records of {lost} are missing: more rounds may not help, and none is added.", lost=lost
            )
        name, half = ratios.widest()
        known = {"name": name, "half": _percent(half), "tolerance": _percent(tolerance)}
        if half <= tolerance:
            return False, message("Each ratio is known to {tolerance} (TOLERANCE): enough.", **known)
        lacking = message("{name} is known to {half} and not yet to {tolerance} (TOLERANCE)", **known)
        if session.pace.elapsed + seconds + (session.pace.of([self.campaign.report]) or 0) > limit:
            late = message("{lacking}, but another round, about {time}, would end after {limit} (MINUTES).")
            return False, late.with_values(lacking=lacking, limit=in_minutes(limit), **next_one)
        return True, message("{lacking}: round {number} is added, about {time}{effect}.", lacking=lacking, **next_one)

    def _would_leave(self) -> str | Message:
        if self.ratios is None or self.ratios.rounds < MIN_ROUNDS:
            return ""
        (name, half), after = self.ratios.widest(), self.ratios.after_another()
        would = message("; the widest interval, {name} {half}, would become about {after}")
        return would.with_values(name=name, half=_percent(half), after=_percent(after))


def _percent(share: float) -> Message:
    percent = f"{100 * share:.{1 if share < 0.1 else 0}f}".removesuffix(".0")
    return message("± {percent} %", percent=percent)


def _rounds(session: Session, number: int) -> str:
    return session.words.counted(number, "{count} round", "{count} rounds")
