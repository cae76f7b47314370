"""Launches in rounds: `python -m common.campaigns lab`, or `make lab`, which also sets up what it needs."""

from __future__ import annotations

from itertools import chain

from common.campaigns import crossover, ladder
from common.campaigns.launches import CAMPAIGNS, Chosen
from common.campaigns.past import Past
from common.campaigns.runner import conduct, newest_environment
from common.campaigns.steering import LOOK_AROUND, Steered, rehearsed, steer
from common.command_line.parser import Parser, otherwise, positive_int, start

STEERED = {
    "crossover": Steered(crossover.PURPOSE, crossover.over_batches, crossover.BUDGET),
    "ladder": Steered(ladder.PURPOSE, ladder.up_the_ladder, ladder.BUDGET, outlives_failures=True),
}


def main() -> int:
    """Run, or only show, what the command line asks for; returns the exit code."""
    args = vars(_parser().parse_args())
    name, dry = args.pop("campaign"), args.pop("dry_run")
    chosen = Chosen(**args)
    if not dry:
        return steer(name, STEERED[name], chosen) if name in STEERED else conduct(name, chosen)
    here = newest_environment()
    if name in STEERED:
        print(LOOK_AROUND, *rehearsed(STEERED[name].launches(here, chosen, Past(None, here))), sep="\n")
    else:
        print(CAMPAIGNS[name].check, *chain.from_iterable(CAMPAIGNS[name].rounds(here, chosen)), sep="\n")
    return 0


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
    add("--devices", type=positive_int, metavar="N", help="in 03 and 04" + otherwise("all GPUs, or up to 4 CPU cores"))
    add("--repeats", type=positive_int, metavar="N", help="rounds" + otherwise("the campaign's, while time allows"))
    add("--dry-run", action="store_true", help="print the commands, after the newest record of step 01, and run none")
    return found


if __name__ == "__main__":
    start(main)
