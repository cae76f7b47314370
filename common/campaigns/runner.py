"""Runs a campaign: launch after launch, as its plan says, until the plan, the time or a failure ends it."""

from __future__ import annotations

from common.campaigns.campaign import AdaptiveCampaign, Outcome, Plan, Planned, RoundCampaign
from common.campaigns.launcher import LaunchError
from common.campaigns.rounds import planned_rounds
from common.campaigns.session import Session, in_minutes


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
            plan = planned_rounds(session, campaign, here)
        planned = next_launch(plan)
        while planned:
            ends = session.pace.elapsed + session.pace.at_most(planned.command)
            if limit is not None and planned.place and ends > limit:
                session.say(f"\n{in_minutes(limit)} are as good as over. To go on: {session.again()}")
                break
            planned = next_launch(plan, session.launch(planned, campaign.survives))
        session.launch(Planned(campaign.report, heading="At the end", progress="the page, and what it says"))
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


def next_launch(plan: Plan, outcome: Outcome | None = None) -> Planned | None:
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
