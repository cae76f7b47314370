"""Damaged records against step 05, and senseless command lines against the parsers: nothing may end in a traceback.

A damaged record is one of the examples, with one to four of its values replaced by others that JSON can hold, taken
away, or moved elsewhere; it lies among three that are whole. Step 05 reads, compares, decides and writes both pages and
the tables. It must not fail, and if it leaves the damaged one out, results/comparison.csv must say of the others what
it says without it. A command line is made of real flags of 02, 03 and 04 and of values that they may or may not take;
it must be accepted or refused in one line.

    python benchmarks/fuzz.py                                  # 100 records, 3,000 command lines
    python benchmarks/fuzz.py --records 50 --lines 500 --seed 1

Prints the counts, and the seed and the traceback of each failure; ends with 1 if there was one.
"""

import argparse
import contextlib
import io
import json
import random
import runpy
import shutil
import sys
import tempfile
import traceback
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from common.command_line.options import read_options, training_parser
from common.errors import UsageError

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "results" / "examples"
WHOLE = ("02_", "03_", "04_")
"""The steps whose first example lies beside each damaged one."""
VALUES: list[Any] = [
    None, True, "", "x", "NaN", "\x1b[31m", "<script>", "𠮷" * 40, 0, -1, 1, 3, 2**53, 2**70, 10**300, 0.0,
    -0.5, 1e-320, 1e308, [], [0], [None], {}, {"x": 1}, [[]], "2026-13-45T99:00:00Z", "../../etc/passwd",
    "{braces}", "%s",
]  # fmt: skip
WORDS = [
    "", "-", "--", "0", "-1", "1", "3", "1e9", "1e999", "nan", "0,1", "0,0", "a,b", "9" * 30, "résumé", "\x1b", "auto",
    "resnet18", "resnet", "bf16", "tf32", "zip", "/", "/dev/null", "README.md", "25GB/s,10us", "en", "both",
]  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=100, help="damaged records (default: 100)")
    parser.add_argument("--lines", type=int, default=3000, help="command lines (default: 3000)")
    parser.add_argument("--seed", type=int, default=0, help="of the first; each next has one more (default: 0)")
    args = parser.parse_args()
    outcomes: Counter[str] = Counter()
    for what, count in ((senseless_line, args.lines), (damaged_record, args.records)):
        for seed in range(args.seed, args.seed + count):
            outcomes[attempt(f"{what.__name__} {seed}", what, random.Random(seed))] += 1
        for outcome, times in sorted(outcomes.items()):
            print(f"{times:6} {outcome}", flush=True)
    return int(bool(outcomes["FAILED"]))


def attempt(name: str, what, choose: random.Random) -> str:
    """Run one; how it ended."""
    try:
        return what(choose)
    except BaseException:
        print(f"{name}:\n{traceback.format_exc()[-2000:]}", flush=True)
        return "FAILED"


def damaged_record(choose: random.Random) -> str:
    """Step 05 over three whole records and a damaged one."""
    record = json.loads(choose.choice(example_records()).read_bytes())
    for _ in range(choose.randint(1, 4)):
        damage(record, choose)
    output, tables = compared(json.dumps(record))
    if "damaged.json" in output:
        assert tables["comparison.csv"] == of_whole_records()["comparison.csv"]
        return "records: left out, with its reason"
    assert tables["runs.csv"] != of_whole_records()["runs.csv"] or record.get("kind") != "run"
    return "records: taken as it is"


def example_records() -> list[Path]:
    return sorted(EXAMPLES.glob("*/0*.json"))


@cache
def of_whole_records() -> dict[str, str]:
    """The tables that step 05 writes of the whole records alone."""
    return compared()[1]


def compared(damaged: str | None = None) -> tuple[str, dict[str, str]]:
    """What step 05 prints, and its tables by name, of three whole records and a damaged one."""
    with tempfile.TemporaryDirectory() as name:
        folder, page = Path(name, "results"), Path(name, "r.html")
        folder.mkdir()
        for start in WHOLE:
            shutil.copy(next(path for path in example_records() if path.name.startswith(start)), folder)
        if damaged is not None:
            (folder / "damaged.json").write_text(damaged)
        arguments = ["--results-dir", folder, "--output-report", page, "--lang", "both"]
        output, code = run_script("05_performance_comparison.py", *arguments)
        assert code == 0, output[-1500:]
        assert page.exists()
        assert "Traceback" not in output
        return output, {path.name: path.read_text() for path in folder.glob("*.csv")}


def damage(record: Any, choose: random.Random) -> None:
    """Change one value somewhere inside, weighted towards the top."""
    at = record
    while True:
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        if not keys:
            return
        key = choose.choice(keys)
        if isinstance(at[key], (dict, list)) and at[key] and choose.random() < 0.8:
            at = at[key]
            continue
        way = choose.random()
        if way < 0.7:
            at[key] = choose.choice(VALUES)
        elif way < 0.85:
            del at[key]
        else:
            other = choose.choice(keys)
            at[key], at[other] = at[other], at[key]
        return


def senseless_line(choose: random.Random) -> str:
    """A command line of 02, 03 or 04, as far as its parser reads it."""
    method = choose.choice(["single", "dp", "ddp"])
    parser = training_parser(method)
    flags = sorted({flag for action in parser._actions for flag in action.option_strings} - {"-h", "--help"})
    words: list[str] = []
    for _ in range(choose.randint(1, 5)):
        words.append(choose.choice(flags) if choose.random() < 0.9 else choose.choice(WORDS))
        if choose.random() < 0.7:
            words.append(choose.choice(WORDS))
    error = io.StringIO()
    code = 0
    with contextlib.redirect_stderr(error), contextlib.redirect_stdout(io.StringIO()):
        try:
            read_options(parser, words)
        except UsageError as problem:
            print(f"error: {problem}", file=sys.stderr)
            code = 2
        except SystemExit as end:
            code = end.code
    text = error.getvalue()
    if not code:
        return "command lines: accepted"
    assert (code, text[:7], text.count("\n")) == (2, "error: ", 1), (words, code, text)
    return "command lines: refused in one line"


def run_script(name: str, *arguments: object) -> tuple[str, int]:
    """Run a script in this process; what it printed and its exit code."""
    output = io.StringIO()
    argv, sys.argv = sys.argv, [name, *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            runpy.run_path(str(ROOT / name), run_name="__main__")
        return output.getvalue(), 0
    except SystemExit as end:
        return output.getvalue(), end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        sys.argv = argv


if __name__ == "__main__":
    sys.exit(main())
