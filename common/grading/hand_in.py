"""Pack what a student hands in: `python -m common.grading.hand_in --name "Ada Lovelace"`, or `make submit NAME=…`."""

from __future__ import annotations

from pathlib import Path

from common.command_line.parser import Parser, start
from common.grading.submission import ANSWERS, EXCHANGE, pack


def hand_in() -> None:
    """Read the command line, write the zip and say where."""
    parser = Parser(prog="python -m common.grading.hand_in", description=__doc__)
    parser.add_argument("--name", default="", help="the student's")
    parser.add_argument("--answers", type=Path, default=Path(ANSWERS), metavar="FILE", help="the handout, filled in")
    parser.add_argument("--results-dir", type=Path, default=Path("results"), metavar="DIR", help="the records")
    parser.add_argument("--exchange", type=Path, default=Path("lessons") / EXCHANGE, metavar="FILE",
                        help="the exchange that was written")  # fmt: skip
    options = parser.parse_args()
    path = pack(options.name, options.results_dir, options.answers, options.exchange)
    print(f"{path}: hand in this file. It contains the host's name, the commands and the times of every run.")


if __name__ == "__main__":
    start(hand_in)
