"""One method against itself: the lab must not find a winner.

Runs one step of the lab in turns under two names, A and B, each time in a fresh process, and compares the two by the
same functions as the report. With 95 % intervals one trial in twenty may name a winner although there is none.

    python benchmarks/a_against_a.py --repeats 5             # 02 against itself, five runs each
    python benchmarks/a_against_a.py --repeats 5 --step 03
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from common.analysis.comparing.rows import Row, times_as_fast
from common.analysis.reading.folder import read_folder
from common.analysis.statistics.estimates import distinguishable

ROOT = Path(__file__).parents[1]

SIZES = [
    *("--model", "resnet18", "--epochs", "3", "--samples-per-epoch", "256", "--anatomy-steps", "0"),
    *("--device", "cpu", "--quiet"),
]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
STEPS = {
    "02": [sys.executable, "02_baseline_single_gpu.py", "--batch-size", "32"],
    "03": [sys.executable, "03_dataparallel_training.py", "--batch-size", "64", "--gpus", "0,1"],
    "04": [*TORCHRUN, "04_ddp_training.py", "--batch-size", "32"],
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="runs of each, at least 3 (default: 5)")
    parser.add_argument("--step", choices=STEPS, default="02", help="which step (default: 02)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for repeat in range(max(3, args.repeats)):
            for name in "AB" if repeat % 2 else "BA":
                subprocess.run([*STEPS[args.step], *SIZES, "--results-dir", f"{folder}/{name}"], cwd=ROOT, check=True)
        runs = {name: read_folder(Path(folder, name)).runs for name in "AB"}
    for name, of_name in runs.items():
        print(f"{name}: {', '.join(f'{1 / run.seconds_per_sample.value:.1f}' for run in of_name)} samples/s")
    quotient = times_as_fast(*(Row(runs[name]) for name in "AB"))
    found = distinguishable(quotient)
    low, high = quotient.interval
    print(
        f"A / B: {quotient.value:.3f} (95 % interval {low:.3f} to {high:.3f}): {'a WINNER' if found else 'no winner'}"
    )
    return int(found)


if __name__ == "__main__":
    sys.exit(main())
