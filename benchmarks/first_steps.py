"""Does the first step of an epoch take longer than the others?

Runs 02, 03 and 04 for ten epochs of 20 steps each and compares the first step of every epoch with the median of all
steps. The loader's workers run on from one epoch to the next, and a GPU is as far behind the host when an epoch begins
as it is in its middle, so that no first step should take longer than 1.1 times the median. Beside it stands what a
loader that starts anew with each epoch would take. One slow step among ten can be chance: the median of the ten
decides.

    python benchmarks/first_steps.py                        # this machine's devices
    python benchmarks/first_steps.py --workers 2            # other flags of 02, 03 and 04

Ends with 1 where the median of the first steps is above 1.1 times the median of all.
"""

import subprocess
import sys
import tempfile
from itertools import islice
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from common.command_line.parser import start
from common.records import Record

LIMIT, EPOCHS, STEPS = 1.1, 10, 20
ROOT = Path(__file__).parents[1]


def main() -> int:
    """0 if no method is above the limit."""
    devices = torch.cuda.device_count() or 2
    model, batch = ("resnet50", 64) if torch.cuda.is_available() else ("squeezenet1_1", 8)
    gpus = "0,0" if devices == 1 else ",".join(map(str, range(devices)))
    replicas = gpus.count(",") + 1
    ranks = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={devices}"]
    ratios = [
        _ratio([sys.executable, "02_baseline_single_gpu.py"], model, batch, 1),
        _ratio([sys.executable, "03_dataparallel_training.py", "--gpus", gpus], model, batch * replicas, 1),
        _ratio([*ranks, "04_ddp_training.py"], model, batch, devices),
    ]
    return int(max(ratios) > LIMIT)


def _ratio(command: list[str], model: str, batch: int, processes: int) -> float:
    """Run one step, print its first steps, and return their median over that of all steps."""
    samples = batch * processes * STEPS
    with tempfile.TemporaryDirectory() as folder:
        sizes = [
            "--model",
            model,
            "--batch-size",
            str(batch),
            "--epochs",
            str(EPOCHS),
            "--samples-per-epoch",
            str(samples),
        ]
        quiet = ["--anatomy-steps", "0", "--quiet", "--results-dir", folder]
        subprocess.run([*command, *sizes, *quiet, *sys.argv[1:]], cwd=ROOT, check=True)
        (path,) = Path(folder).glob("0*.json")
        record = Record.model_validate_json(path.read_bytes())
    seconds = record.measured_steps
    typical = median(seconds)
    first = [one / typical for one in islice(seconds, 0, None, STEPS)]
    anew = max(rank.loader_start_seconds or 0.0 for rank in record.ranks)
    print(f"{record.method}: median step {1000 * typical:.1f} ms; first steps of epochs, over it: "
          f"{', '.join(f'{one:.2f}' for one in first)}; median {median(first):.2f}; "
          f"a loader that starts anew takes {1000 * anew:.0f} ms", flush=True)  # fmt: skip
    return median(first)


if __name__ == "__main__":
    start(main)
