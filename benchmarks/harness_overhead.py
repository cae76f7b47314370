"""What the lab's clocks, checks and records cost: 02 and 04 (two ranks) against a bare loop.

Runs the two in turn, in fresh processes, and prints for each pair the lab's throughput over the bare loop's, then the
geometric mean of the ratios with its 95 % interval (Student's t over the logarithms). Goal: at least 0.98.

    python benchmarks/harness_overhead.py            # seven pairs each, CPU cores as devices; leave the machine alone
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from scipy import stats

ROOT = Path(__file__).parents[1]
SIZES = [
    *("--model", "resnet18", "--batch-size", "32", "--epochs", "3"),
    *("--samples-per-epoch", "256", "--image-size", "64", "--warmup-steps", "2"),
]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
GOAL = 0.98


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=7, help="at least 2 (default: 7)")
    pairs = max(2, parser.parse_args().pairs)
    below = 0
    for script, starter in (("02_baseline_single_gpu.py", [sys.executable]), ("04_ddp_training.py", TORCHRUN)):
        ratios = []
        for pair in range(pairs):
            order = (lab, bare) if pair % 2 else (bare, lab)  # neither always runs on the warmer machine
            rate = {measure: measure(starter, script) for measure in order}
            ratios.append(rate[lab] / rate[bare])
            print(f"{script} pair {pair + 1}: lab {rate[lab]:.1f}, bare {rate[bare]:.1f} samples/s, {ratios[-1]:.3f}")
        logs = [math.log(ratio) for ratio in ratios]
        mean = sum(logs) / pairs
        half = stats.t.ppf(0.975, pairs - 1) * stats.tstd(logs) / math.sqrt(pairs)
        low, middle, high = (math.exp(value) for value in (mean - half, mean, mean + half))
        verdict = "meets" if middle >= GOAL else "misses"
        below += middle < GOAL
        print(
            f"{script}: ratio {middle:.3f} (95 % interval {low:.3f} to {high:.3f}; pairs {min(ratios):.3f} to "
            f"{max(ratios):.3f}, n = {pairs}): {verdict} the goal of {GOAL}\n"
        )
    return below


def lab(starter: list[str], script: str) -> float:
    """Samples per second that the script recorded."""
    with tempfile.TemporaryDirectory() as folder:
        _run([*starter, str(ROOT / script), *SIZES, "--quiet", "--device", "cpu", "--results-dir", folder])
        record = json.loads(next(Path(folder).glob("*.json")).read_text())
    samples = sum(epoch["samples"] for epoch in record["epochs"])
    return samples / max(sum(rank["step_seconds"]) for rank in record["ranks"])


def bare(starter: list[str], script: str) -> float:
    """Samples per second of the bare loop."""
    return float(_run([*starter, str(ROOT / "benchmarks" / "bare_loop.py"), *SIZES]).splitlines()[-1])


def _run(command: list[str]) -> str:
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    if process.returncode:
        sys.exit(process.stderr)
    return process.stdout


if __name__ == "__main__":
    sys.exit(main())
