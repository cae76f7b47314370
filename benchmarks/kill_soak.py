"""kill -9 at random moments of steps 02, 03 and 04: only whole files and the epochs that had ended may be left.

Each launch runs in a folder of its own, with a checkpoint every second step, and is killed after a random time between
its first line on the screen and a second after its usual end: the script, or torchrun, or one of the ranks. Then every
process of it must be gone within 30 s, every visible file be readable (records, checkpoints, nothing else), and an
epoch that the screen had called done be in the record: all of them but, at most, the one that was being written.

    python benchmarks/kill_soak.py                         # 100 launches, the three steps in turn
    python benchmarks/kill_soak.py --launches 9 --seed 1

Ends with 1 if something was lost or left; prints what.
"""

import argparse
import os
import random
import re
import secrets
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from common.records import Record
from lessons.fault_lab.acts import MARK, Processes

ROOT = Path(__file__).parents[1]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
# Epochs of many small steps, with a checkpoint every second one: most of a launch's time can lose something.
SIZES = [
    *("--model", "squeezenet1_1", "--image-size", "32", "--samples-per-epoch", "256", "--epochs", "4"),
    *("--anatomy-steps", "2", "--checkpoint-every", "2", "--checkpoint-dir", "checkpoints", "--results-dir", "results"),
]
STEPS = {
    "02": [sys.executable, ROOT / "02_baseline_single_gpu.py", "--batch-size", "8"],
    "03": [sys.executable, ROOT / "03_dataparallel_training.py", "--batch-size", "16", "--gpus", "0,1"],
    "04": [*TORCHRUN, ROOT / "04_ddp_training.py", "--batch-size", "8"],
}
DONE = re.compile(r"^ *epoch (\d+)/4: ", re.MULTILINE)
GONE_SECONDS = 30.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--launches", type=int, default=100, help="in all (default: 100)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and of who is killed (default: 0)")
    args = parser.parse_args()
    choose = random.Random(args.seed)
    lasts: dict[str, float] = {}
    counts: Counter[str] = Counter()
    for number in range(args.launches):
        step = list(STEPS)[number % len(STEPS)]
        if step not in lasts:
            lasts[step] = launch(step, None, choose)[0]
        _, problems, epochs = launch(step, choose.uniform(0, lasts[step] + 1), choose)
        counts[f"{step}, {epochs} epochs in the record"] += 1
        counts["launches with something lost or left"] += bool(problems)
        for problem in problems:
            print(f"launch {number}, step {step}: {problem}", flush=True)
        if number % 10 == 9:
            print(f"{number + 1} of {args.launches}: {dict(sorted(counts.items()))}", flush=True)
    print(f"{args.launches} launches: {dict(sorted(counts.items()))}")
    return int(bool(counts["launches with something lost or left"]))


def launch(step: str, after: float | None, choose: random.Random) -> tuple[float, list[str], int]:
    """One launch, killed so many seconds after its first line; how long it lasted from there, what was lost or left,
    and how many epochs its record has."""
    with tempfile.TemporaryDirectory(prefix="kill-soak-") as name:
        folder, mark = Path(name), secrets.token_hex(8)
        processes = Processes(mark)
        environment = {
            **os.environ,
            "CUDA_VISIBLE_DEVICES": "",
            "PYTHONUNBUFFERED": "1",
            MARK: mark,
            "LC_ALL": "C.UTF-8",  # `DONE` is English
        }
        with open(folder / "output", "w") as output:
            command = [*map(str, STEPS[step]), *SIZES]
            process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output)
        while not (folder / "output").stat().st_size and process.poll() is None:
            sleep(0.01)
        started = monotonic()
        if after is None:
            process.wait()
        else:
            sleep(after)
            with suppress(IndexError, ProcessLookupError):  # all of them have ended
                os.kill(choose.choice(sorted(processes.all())), signal.SIGKILL)
            process.wait()
        lasted = monotonic() - started
        problems = ["processes left behind"] if processes.kill(GONE_SECONDS) else []
        lost, epochs = examine(folder)
        return lasted, problems + lost, epochs


def examine(folder: Path) -> tuple[list[str], int]:
    """What is wrong with the files that a launch has left, and how many epochs its record has."""
    problems = []
    for path in visible(folder / "checkpoints"):
        try:
            torch.load(path, weights_only=True)
        except Exception as error:  # whatever: it is not whole
            problems.append(f"{path.name}: {error}")
    records = []
    for path in visible(folder / "results"):
        try:
            records.append(Record.model_validate_json(path.read_bytes()))
        except ValueError as error:
            problems.append(f"{path.name}: {error}")
    epochs = [len(record.epochs) for record in records] or [0]
    printed = len(set(DONE.findall((folder / "output").read_text())))
    if len(records) > 1 or max(epochs) < printed - 1:
        problems.append(f"{len(records)} records with {epochs} epochs, {printed} epochs on the screen")
    for record in records:
        if any(len(rank.samples) != len(record.epochs) for rank in record.ranks):
            problems.append(f"{record.run_id}: the ranks' epochs are not the record's")
    return problems, max(epochs)


def visible(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*") if path.is_file() and path.name[0] != "."]


if __name__ == "__main__":
    sys.exit(main())
