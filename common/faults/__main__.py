"""Faults to cause and to cure: `python -m common.faults rank_killed`, or `make faults` for all of them."""

from __future__ import annotations

import signal
from functools import partial
from pathlib import Path

from common.analysis.page.wording import Wording
from common.command_line.parser import Parser, start
from common.command_line.turns import QUEUE_HELP, queue_folder, taking_turns
from common.errors import UsageError
from common.faults.fault import all_faults
from common.faults.fault_lab import FaultLab
from common.sentences import language_of


def cause_faults() -> int:
    """All faults, or those that are asked for."""
    parser = Parser(prog="python -m common.faults", description=__doc__)
    parser.add_argument("name", nargs="*", help="which; all, if none is given")
    parser.add_argument("--list", action="store_true", help="only print their names and what they are")
    parser.add_argument("--results-dir", type=Path, default=Path("results"), metavar="DIR",
                        help="their records go to DIR/faults")  # fmt: skip
    parser.add_argument("--queue", default=queue_folder(), metavar="FOLDER", help=QUEUE_HELP)
    options, words = parser.parse_args(), Wording(language_of())
    faults = all_faults()
    if unknown := [name for name in options.name if name not in faults]:
        raise UsageError(f"no fault is called {unknown[0]!r}: --list prints the names")
    chosen = [faults[name] for name in options.name or faults]
    if options.list:
        for fault in chosen:
            print(f"{fault.id:24}{words.translate(f'fault.{fault.id}.title')}")
        return 0
    with taking_turns("make faults", options.queue, partial(print, flush=True)):
        return _run(FaultLab(chosen, options.results_dir, words))


def _run(lab: FaultLab) -> int:
    for ending in (signal.SIGTERM, signal.SIGHUP):  # as Ctrl-C: nothing that was started is left behind
        signal.signal(ending, signal.default_int_handler)
    return lab.run()


if __name__ == "__main__":
    start(cause_faults)
