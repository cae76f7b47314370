"""One method against itself: the lab must not find a winner.

Runs one step of the lab in turns under two names, A and B, each time in a fresh process, and compares the two by the
same functions as the report; so many times over. With 95 % intervals one trial in twenty may name a winner although
there is none.

    python benchmarks/a_against_a.py --repeats 5                           # 02 against itself, five runs each, once
    python benchmarks/a_against_a.py --repeats 5 --step 03 --trials 10     # ten such trials of 03
    python benchmarks/a_against_a.py --step 04 --device cuda

Ends with 1 if so many trials named a winner as happens once in a hundred times where one in twenty does.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from scipy.stats import binom

from common.analysis.comparing.rows import Row, times_as_fast
from common.analysis.reading.folder import read_folder
from common.analysis.statistics.estimates import Estimate, distinguishable

ROOT = Path(__file__).parents[1]

SIZES = {
    "cpu": (16, ["--model", "squeezenet1_1", "--image-size", "64", "--epochs", "2", "--samples-per-epoch", "256"]),
    "cuda": (64, ["--model", "resnet50", "--epochs", "2", "--samples-per-epoch", "2560"]),
}
"""Samples per device, and what else is trained."""
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
STEPS = {
    "02": [sys.executable, "02_baseline_single_gpu.py", "--batch-size", "{batch}"],
    "03": [sys.executable, "03_dataparallel_training.py", "--gpus", "0,1", "--batch-size", "{global_batch}"],
    "04": [*TORCHRUN, "04_ddp_training.py", "--batch-size", "{batch}"],
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="runs of each, at least 3 (default: 5)")
    parser.add_argument("--trials", type=int, default=1, help="how many times over (default: 1)")
    parser.add_argument("--step", choices=STEPS, default="02", help="which step (default: 02)")
    parser.add_argument("--device", choices=SIZES, default="cpu", help="cores or GPUs (default: cpu)")
    args = parser.parse_args()
    winners = 0
    for number in range(1, args.trials + 1):
        quotient = trial(args.step, args.device, max(3, args.repeats))
        found, (low, high) = distinguishable(quotient), quotient.interval
        winners += bool(found)
        said = "a WINNER" if found else "no winner"
        print(f"{number}: A / B {quotient.value:.3f} (95 % interval {low:.3f} to {high:.3f}): {said}", flush=True)
    print(f"step {args.step}: {winners} of {args.trials} trials named a winner")
    return int(winners > binom.ppf(0.99, args.trials, 0.05))


def trial(step: str, device: str, repeats: int) -> Estimate:
    """A's speed over B's, after so many runs of each in turns."""
    batch, sizes = SIZES[device]
    command = [word.format(batch=batch, global_batch=2 * batch) for word in STEPS[step]]
    command += [*sizes, "--device", device, "--anatomy-steps", "0", "--quiet"]
    with tempfile.TemporaryDirectory() as folder:
        for repeat in range(repeats):
            for name in "AB" if repeat % 2 else "BA":
                subprocess.run([*command, "--results-dir", f"{folder}/{name}"], cwd=ROOT, check=True)
        return times_as_fast(*(Row(read_folder(Path(folder, name)).runs) for name in "AB"))


if __name__ == "__main__":
    sys.exit(main())
