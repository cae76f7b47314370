"""Launches in rounds: `python -m common.campaigns lab`, or `make lab`, which also sets up what it needs."""

import argparse
import math
import secrets
from functools import partial
from itertools import islice

from common.campaigns.campaign import CAMPAIGNS, MAX_DEVICES, AdaptiveCampaign, RoundCampaign
from common.campaigns.launcher import LaunchError
from common.campaigns.launches import QUIET, Overrides, newest_check
from common.campaigns.rounds import RoundRunner
from common.campaigns.session import Session, in_minutes
from common.command_line.machine_queue import QUEUE_HELP, queue_folder, taking_turns
from common.command_line.model_names import check_model_name
from common.command_line.parser import Parser, count, otherwise, positive_float, positive_int, start
from common.errors import UsageError
from common.messages import message
from common.records import RunConfig, settings_of

MAX_ROUNDS = 1000
"""That somebody could wait for."""
MAX_SEED = 10**6
"""Seeds that are drawn lie below: short enough to type."""


def main() -> int:
    """Run, or only show, what the command line asks for; returns the exit code."""
    args = vars(_parser().parse_args())
    name, dry, queue = args.pop("campaign"), args.pop("dry_run"), args.pop("queue")
    campaign, overrides = CAMPAIGNS[name], Overrides(**args)
    if overrides.tolerance and not (isinstance(campaign, RoundCampaign) and campaign.tolerance):
        raise UsageError(f"TOLERANCE is for make lab: make {name} does not look at intervals to end")
    if overrides.model:
        check_model_name(overrides.model)
    seed = secrets.randbelow(MAX_SEED) if overrides.seed is None else overrides.seed
    if dry:
        print(*_rehearsal(campaign, overrides, seed), sep="\n")
        return 0
    with taking_turns(f"make {name}", queue, partial(print, flush=True)):
        return _run(Session(name, campaign.purpose, overrides, seed), campaign)


def _run(session: Session, campaign: RoundCampaign | AdaptiveCampaign) -> int:
    """Launch after launch in the current folder, until the plan, the time or a failure ends it. Returns 0, or the code
    of the command that ended it. Raises `UsageError` where step 01 has left no record that says what the devices are.
    """
    try:
        session.check_machine(campaign.check)
        if isinstance(campaign, RoundCampaign):
            RoundRunner(session, campaign).run()
        else:
            _run_in_time(session, campaign)
        end, page = message("At the end"), message("the page, and what it says")
        session.launch(campaign.report, heading=end, progress=page)
    except LaunchError as end:
        return session.ended(end)
    took = in_minutes(session.pace.elapsed)
    session.say(message("Done in {time}. The page: comparison_report.html", time=took), gap="\n")
    return 0


def _run_in_time(session: Session, campaign: AdaptiveCampaign) -> None:
    given, limit = session.overrides, math.inf
    if not given.repeats:
        limit = 60 * (given.minutes or campaign.minutes["cuda" if session.here.gpus else "cpu"])
        none = message("Nothing starts that would end later than {time} from the start (MINUTES).")
        session.say(none.with_values(time=in_minutes(limit)), gap="\n")
    for command, place in campaign.plan(session.here, given, session.seed, session.history):
        if place and session.pace.elapsed + session.pace.at_most(command) > limit:
            over = message("{time} are as good as over. To go on: {again}")
            session.say(over.with_values(time=in_minutes(limit), again=session.again()), gap="\n")
            return
        session.launch(command, place, survives=campaign.survives)


def _rehearsal(campaign: RoundCampaign | AdaptiveCampaign, overrides: Overrides, seed: int) -> list[str]:
    """The commands, in orders as they would be drawn."""
    here = newest_check().environment
    lines = [campaign.check, f"# The order of each round is drawn at random, here with SEED={seed}."]
    if isinstance(campaign, AdaptiveCampaign):
        return [*lines, *campaign.rehearsed(here, overrides, seed), campaign.report]
    total = overrides.repeats or campaign.repeats
    if here.gpus and campaign.tolerance and not (overrides.samples or overrides.epochs):
        lines.append("# On GPUs a pilot comes first, and says how many samples an epoch has: other numbers than here.")
    for number, commands in enumerate(islice(campaign.rounds(here, overrides, seed), total), 1):
        lines += [f"# Round {number}", *commands]
        lines += [campaign.report + QUIET] if number == 1 < total else []
    return [*lines, campaign.report]


def _parser() -> Parser:
    """The flags; those for sizes have the names of the Makefile's variables."""
    width = max(map(len, CAMPAIGNS)) + 1
    purposes = "\n".join(f"  {name:{width}}{campaign.purpose.text}" for name, campaign in CAMPAIGNS.items())
    parser = Parser(prog="python -m common.campaigns", description=f"{__doc__}\n\n{purposes}")
    add, of_campaign = parser.add_argument, otherwise("the campaign's, for this kind of device")
    add("campaign", choices=CAMPAIGNS, help="what to run")
    add("--model", metavar="NAME", help=settings_of(RunConfig)["model"].help + of_campaign)
    add("--batch", type=positive_int, metavar="SAMPLES", help="samples per device" + of_campaign)
    add("--epochs", type=positive_int, metavar="N", help="measured epochs" + of_campaign)
    add("--samples", type=positive_int, metavar="SAMPLES", help="samples in an epoch" + of_campaign)
    devices, rounds = partial(_at_most, MAX_DEVICES), partial(_at_most, MAX_ROUNDS)
    add("--devices", type=devices, metavar="N", help="in 03 and 04" + otherwise("all GPUs, or up to 4 CPU cores"))
    add("--repeats", type=rounds, metavar="N", help="rounds" + otherwise("the campaign's, while time allows"))
    until = "lab: add rounds until the half interval of each ratio is at most this"
    add("--tolerance", type=positive_float, metavar="PERCENT", help=until + otherwise("3"))
    add("--minutes", type=positive_float, help="no round starts later" + otherwise("the campaign's; lab: 5"))
    add("--seed", type=count, help="of the order of each round" + otherwise("drawn, and printed"))
    add("--queue", default=queue_folder(), metavar="FOLDER", help=QUEUE_HELP)
    add("--dry-run", action="store_true", help="print the commands, after the newest record of step 01, and run none")
    return parser


def _at_most(limit: int, text: str) -> int:
    """Argument type: a whole number that makes sense for one machine."""
    number = positive_int(text)
    if number > limit:
        raise argparse.ArgumentTypeError(f"must be at most {limit}, not {text}")
    return number


if __name__ == "__main__":
    start(main)
