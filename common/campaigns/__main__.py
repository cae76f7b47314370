"""Launches in rounds: `python -m common.campaigns lab`, or `make lab`, which also sets up what it needs."""

from __future__ import annotations

import argparse
from functools import partial
from itertools import islice

from common.campaigns import crossover, ladder
from common.campaigns.arrivals import CHECKS, RESULTS, Arrivals
from common.campaigns.launches import CAMPAIGNS, QUIET, Chosen
from common.campaigns.orders import drawn_seed
from common.campaigns.past import Past
from common.campaigns.runner import conduct
from common.campaigns.steering import LOOK_AROUND, Steered, rehearsed, steer
from common.command_line.parser import Parser, count, otherwise, positive_float, positive_int, start
from common.errors import UsageError

STEERED = {
    "crossover": Steered(crossover.PURPOSE, crossover.over_batches, crossover.BUDGET),
    "ladder": Steered(ladder.PURPOSE, ladder.up_the_ladder, ladder.BUDGET, outlives_failures=True),
}

MAX_ROUNDS, MAX_DEVICES = 1000, 256
"""Rounds that somebody could wait for; devices that one machine could have."""


def main() -> int:
    """Run, or only show, what the command line asks for; returns the exit code."""
    args = vars(_parser().parse_args())
    name, dry = args.pop("campaign"), args.pop("dry_run")
    chosen = Chosen(**args)
    if chosen.tolerance and not (name in CAMPAIGNS and CAMPAIGNS[name].tolerance):
        raise UsageError(f"TOLERANCE is for make lab: make {name} does not look at intervals to end")
    if not dry:
        return steer(name, STEERED[name], chosen) if name in STEERED else conduct(name, chosen)
    print(*_rehearsal(name, chosen), sep="\n")
    return 0


def _rehearsal(name: str, chosen: Chosen) -> list[str]:
    """The commands, in orders as they would be drawn."""
    here = Arrivals(RESULTS, CHECKS, only_new=False).newest_environment()
    seed = drawn_seed() if chosen.seed is None else chosen.seed
    drawn = f"# The order of each round is drawn at random, here with SEED={seed}."
    if name in STEERED:
        return [LOOK_AROUND, drawn, *rehearsed(STEERED[name].launches(here, chosen, seed, Past(None, here)))]
    campaign = CAMPAIGNS[name]
    total = chosen.repeats or campaign.repeats
    lines = [campaign.check, drawn]
    if here.gpus and campaign.tolerance and not (chosen.samples or chosen.epochs):
        lines.append("# On GPUs a pilot comes first, and says how many samples an epoch has: other numbers than here.")
    for number, commands in enumerate(islice(campaign.rounds(here, chosen, seed), total), 1):
        lines += [f"# Round {number}", *commands]
        lines += [campaign.report + QUIET] if number == 1 < total else []
    return [*lines, campaign.report]


def _parser() -> Parser:
    """The flags; those for sizes have the names of the Makefile's variables."""
    names = "\n".join(f"  {name:10}{campaign.purpose}" for name, campaign in (CAMPAIGNS | STEERED).items())
    found = Parser(prog="python -m common.campaigns", description=f"{__doc__}\n\n{names}")
    add, of_campaign = found.add_argument, otherwise("the campaign's, for this kind of device")
    add("campaign", choices=CAMPAIGNS | STEERED, help="what to run")
    add("--model", metavar="NAME", help="any torchvision classification model" + of_campaign)
    add("--batch", type=positive_int, metavar="SAMPLES", help="samples per device" + of_campaign)
    add("--epochs", type=positive_int, metavar="N", help="measured epochs" + of_campaign)
    add("--samples", type=positive_int, metavar="SAMPLES", help="samples in an epoch" + of_campaign)
    add(
        "--devices",
        type=partial(_at_most, MAX_DEVICES),
        metavar="N",
        help="in 03 and 04" + otherwise("all GPUs, or up to 4 CPU cores"),
    )
    add(
        "--repeats",
        type=partial(_at_most, MAX_ROUNDS),
        metavar="N",
        help="rounds" + otherwise("the campaign's, while time allows"),
    )
    add("--tolerance", type=positive_float, metavar="PERCENT",
        help="lab: add rounds until the half interval of each ratio is at most this" + otherwise("3"))  # fmt: skip
    add("--minutes", type=positive_float, help="no round starts later" + otherwise("the campaign's; lab: 5"))
    add("--seed", type=count, help="of the order of each round" + otherwise("drawn, and printed"))
    add("--dry-run", action="store_true", help="print the commands, after the newest record of step 01, and run none")
    return found


def _at_most(limit: int, text: str) -> int:
    """Argument type: a whole number that makes sense for one machine."""
    number = positive_int(text)
    if number > limit:
        raise argparse.ArgumentTypeError(f"must be at most {limit}, not {text}")
    return number


if __name__ == "__main__":
    start(main)
