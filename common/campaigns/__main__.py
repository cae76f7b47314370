"""Launches in rounds: `python -m common.campaigns lab`, or `make lab`, which also sets up what it needs."""

from __future__ import annotations

import argparse
from functools import partial
from itertools import islice

from common.campaigns.campaign import CAMPAIGNS, QUIET, AdaptiveCampaign, Overrides, RoundCampaign
from common.campaigns.crossover import CROSSOVER
from common.campaigns.ladder import LADDER
from common.campaigns.progress import CHECKS, RESULTS, History, NewFiles, newest_check
from common.campaigns.runner import rehearsed, run_campaign
from common.campaigns.session import Session, drawn_seed
from common.command_line.model_names import check_model_name
from common.command_line.parser import Parser, count, otherwise, positive_float, positive_int, start
from common.command_line.turns import QUEUE_HELP, queue_folder, taking_turns
from common.errors import UsageError
from common.records import RunConfig, settings_of

ALL: dict[str, RoundCampaign | AdaptiveCampaign] = CAMPAIGNS | {"crossover": CROSSOVER, "ladder": LADDER}
MAX_ROUNDS, MAX_DEVICES = 1000, 256
"""Rounds that somebody could wait for; devices that one machine could have."""


def main() -> int:
    """Run, or only show, what the command line asks for; returns the exit code."""
    args = vars(_parser().parse_args())
    name, dry, queue = args.pop("campaign"), args.pop("dry_run"), args.pop("queue")
    campaign, overrides = ALL[name], Overrides(**args)
    if overrides.tolerance and not (isinstance(campaign, RoundCampaign) and campaign.tolerance):
        raise UsageError(f"TOLERANCE is for make lab: make {name} does not look at intervals to end")
    if overrides.model:
        check_model_name(overrides.model)
    if not dry:
        with taking_turns(f"make {name}", queue, partial(print, flush=True)):
            return run_campaign(Session(name, campaign.purpose, overrides), campaign)
    print(*_rehearsal(campaign, overrides), sep="\n")
    return 0


def _rehearsal(campaign: RoundCampaign | AdaptiveCampaign, overrides: Overrides) -> list[str]:
    """The commands, in orders as they would be drawn."""
    here = newest_check(NewFiles(RESULTS, CHECKS, only_later=False)).environment
    seed = drawn_seed() if overrides.seed is None else overrides.seed
    drawn = f"# The order of each round is drawn at random, here with SEED={seed}."
    lines = [campaign.check, drawn]
    if isinstance(campaign, AdaptiveCampaign):
        plan = campaign.plan(here, overrides, seed, History(None, here))
        return [*lines, *rehearsed(plan), campaign.report]
    total = overrides.repeats or campaign.repeats
    if here.gpus and campaign.tolerance and not (overrides.samples or overrides.epochs):
        lines.append("# On GPUs a pilot comes first, and says how many samples an epoch has: other numbers than here.")
    for number, commands in enumerate(islice(campaign.rounds(here, overrides, seed), total), 1):
        lines += [f"# Round {number}", *commands]
        lines += [campaign.report + QUIET] if number == 1 < total else []
    return [*lines, campaign.report]


def _parser() -> Parser:
    """The flags; those for sizes have the names of the Makefile's variables."""
    width = max(map(len, ALL)) + 1
    purposes = "\n".join(f"  {name:{width}}{campaign.purpose.text}" for name, campaign in ALL.items())
    parser = Parser(prog="python -m common.campaigns", description=f"{__doc__}\n\n{purposes}")
    add, of_campaign = parser.add_argument, otherwise("the campaign's, for this kind of device")
    add("campaign", choices=ALL, help="what to run")
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
