"""Step 1: what this machine is, and whether the lab will run on it.

Numbers of a training run mean little without the machine that made them. This step writes that down, judges each thing
that the lab needs, and says what to do where it is missing. It measures nothing and changes nothing.

    python 01_environment_check.py
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from common.files import check_writable, write_record
from common.options import Parser, start


def main() -> int:
    args = parse_arguments()
    check_writable(args.results_dir)
    # Imported this late, so that --help and bad input are answered at once: torch alone takes seconds.
    from common import environment, environment_tables, requirements
    from common.console import open_console

    record = environment.look_around(_command("01_environment_check.py"), args.results_dir)
    record.requirements = requirements.check(record)
    path = write_record(args.results_dir, record.run_id, record.model_dump_json(indent=1))

    console = open_console(quiet=args.quiet)
    console.print(environment_tables.machine(record))
    if record.environment.gpus:
        console.print(environment_tables.gpus(record))
    console.print(environment_tables.verdicts(record))
    console.print(environment_tables.conclusion(record, _command("02_baseline_single_gpu.py")))
    console.print(f"record: {path}", markup=False, soft_wrap=True)

    failures = [requirement for requirement in record.requirements if requirement.outcome == "failure"]
    for failure in failures if args.quiet else []:
        print(f"{failure.name}: {failure.found}; {failure.advice}", file=sys.stderr)
    return 1 if failures else 0


def _command(script: str) -> str:
    """The command that runs a script with this one's flags, which all steps share."""
    return f"python {shlex.join([script, *sys.argv[1:]])}"


def parse_arguments() -> argparse.Namespace:
    parser = Parser(description="What this machine is, and whether the lab runs here. Exit 0: yes, 1: no.")
    parser.add_argument("--results-dir", type=Path, default=Path("results"), metavar="DIR",
                        help="where the record goes (default: ./results)")  # fmt: skip
    parser.add_argument("--quiet", action="store_true", help="print errors only")
    return parser.parse_args()


if __name__ == "__main__":
    start(main)
