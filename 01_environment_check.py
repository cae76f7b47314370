"""Step 1: what this machine is, and whether the lab will run on it.

Numbers of a training run mean little without the machine that made them. This step writes that down, checks each thing
that the lab needs, and says what to do where it is missing. Then it measures what the parts can do at best (matrix
products, memory, copies, the exchange between devices), for later steps to be held against. It changes nothing.

    python 01_environment_check.py
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0] or ".")  # where `python -I` and PYTHONSAFEPATH leave it out
import common  # noqa: F401 the first to be imported: it names what keeps Python from importing the rest

# isort: split

import argparse
import shlex
from pathlib import Path

from common.command_line.parser import Parser, otherwise, start
from common.machine.before_torch import start_fork_server
from common.records.disk import check_writable, write_record
from common.sentences import LANGUAGES, Sentences, language_of


def main() -> int:
    args = parse_arguments()
    check_writable(args.results_dir)
    if args.benchmark:
        start_fork_server()  # it imports torch for the processes of the probes, while this one does
    # Imported this late, so that --help and bad input are answered at once: torch alone takes seconds.
    from common import requirements
    from common.console import machine_tables
    from common.console.screen import open_console
    from common.machine import environment
    from common.probes import measure
    from common.step_01 import PROBE_NAMES

    command = f"python {shlex.join(['01_environment_check.py', *sys.argv[1:]])}"
    record = environment.look_around(command, args.results_dir)
    record.requirements = requirements.check_requirements(record, Sentences("en"))
    failures = [requirement for requirement in record.requirements if requirement.outcome == "failure"]

    console, words = open_console(quiet=args.quiet), Sentences(args.lang or language_of())
    machine_tables.show_machine(console, record, words)
    machine_tables.show_requirements(console, requirements.check_requirements(record, words), words)
    if args.benchmark and not failures:
        measuring = words.translate("Measuring what the parts can do")
        how_long = words.translate(" (under a minute; --no-benchmark leaves it out)")
        console.print(f"\n[bold]{measuring}[/]{how_long}")
        record.probes = measure.measure(
            lambda name: console.print("  " + words.translate("{part:capital} …", part=PROBE_NAMES[name])),
            *measure.plan(),
        )
        machine_tables.show_probes(console, record.probes, words)
    path = write_record(args.results_dir, record)
    machine_tables.show_conclusion(console, record, words)
    if not failures:
        following = words.translate("next: {command}", command=_next_command(args))
        console.print(f"\n{following}", markup=False, soft_wrap=True)
    console.print(words.translate("record: {path}", path=path), markup=False, soft_wrap=True)

    for failure in failures if args.quiet else []:
        print(f"{failure.name}: {failure.found}; {failure.advice}", file=sys.stderr)
    return 1 if failures else 0


def _next_command(args: argparse.Namespace) -> str:
    """Step 02, with those of this step's flags that all steps share."""
    shared = [] if args.results_dir == Path("results") else ["--results-dir", str(args.results_dir)]
    shared += (["--lang", args.lang] if args.lang else []) + (["--quiet"] if args.quiet else [])
    return f"python {shlex.join(['02_baseline_single_gpu.py', *shared])}"


def parse_arguments() -> argparse.Namespace:
    parser = Parser(description="What this machine is, and whether the lab runs here. Exit 0: yes, 1: no.")
    parser.add_argument("--results-dir", type=Path, default=Path("results"), metavar="DIR",
                        help="where the record goes")  # fmt: skip
    parser.add_argument("--benchmark", action=argparse.BooleanOptionalAction, default=True,
                        help="measure what the parts can do, under a minute")  # fmt: skip
    parser.add_argument("--lang", choices=LANGUAGES, help="language of what is printed" + otherwise("the locale's"))
    parser.add_argument("--quiet", action="store_true", help="print errors only")
    return parser.parse_args()


if __name__ == "__main__":
    start(main)
