"""One method against itself: the lab must not find a winner.

Runs one step of the lab under two names, A and B, in rounds whose order is drawn as `make lab` draws it, each time in a
process of its own (forked from one that has imported torch, `tests/script_server.py`), and compares the two by the same
functions as the report; so many times over.
With 95 % intervals one trial in twenty may name a winner although there is none. With `--busy`, so many neighbours come
and go meanwhile, each for 5 to 40 seconds, so that one of a pair may meet them and the other not: endless loops on the
cores, or matrix products on the first GPU.

    python benchmarks/a_against_a.py                                       # 02 against itself, three rounds, once
    python benchmarks/a_against_a.py --repeats 5 --step 03 --trials 10     # ten trials of 03 with five rounds
    python benchmarks/a_against_a.py --step 04 --device cuda
    python benchmarks/a_against_a.py --busy 2 --results-dir /tmp/busy      # beside a load; the records stay there

Ends with 1 if so many trials named a winner as happens once in a hundred times where one in twenty does.
"""

import argparse
import json
import multiprocessing
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from scipy.stats import binom

from common.analysis.comparing.rows import Row
from common.analysis.comparing.speedup import speedup
from common.analysis.reading.folder import read_folder
from common.analysis.statistics.estimates import Estimate, distinguishable
from common.campaigns.campaign import CAMPAIGNS
from common.campaigns.launches import drawn_orders
from common.command_line.commands import LAUNCH_VARIABLE
from common.records import Launch

ROOT = Path(__file__).parents[1]

SIZES = {
    "cpu": (16, ["--model", "squeezenet1_1", "--image-size", "64", "--epochs", "2", "--samples-per-epoch", "256"]),
    "cuda": (64, ["--model", "resnet50", "--epochs", "2", "--samples-per-epoch", "2560"]),
}
"""Samples per device, and what else is trained."""
STEPS = {
    "02": ["02_baseline_single_gpu.py", "--batch-size", "{batch}"],
    "03": ["03_dataparallel_training.py", "--gpus", "0,1", "--batch-size", "{global_batch}"],
    "04": ["04_ddp_training.py", "--batch-size", "{batch}"],
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    least = CAMPAIGNS["lab"].repeats
    parser.add_argument("--repeats", type=int, default=least, help=f"rounds, at least {least} (default: {least})")
    parser.add_argument("--seed", type=int, help="of the rounds' orders (default: drawn, and in the records)")
    parser.add_argument("--trials", type=int, default=1, help="how many times over (default: 1)")
    parser.add_argument("--step", choices=STEPS, default="02", help="which step (default: 02)")
    parser.add_argument("--device", choices=SIZES, default="cpu", help="cores or GPUs (default: cpu)")
    parser.add_argument("--busy", type=int, default=0, help="neighbours that come and go beside it (default: 0)")
    parser.add_argument("--results-dir", type=Path, help="keep the records there (default: nowhere)")
    args = parser.parse_args()
    if args.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    for seed in range(args.busy):
        multiprocessing.Process(target=come_and_go, args=(seed, args.device), daemon=True).start()
    command = [sys.executable, str(ROOT / "tests" / "script_server.py"), "training"]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    winners, seed = 0, random.randrange(10**6) if args.seed is None else args.seed
    for number in range(1, args.trials + 1):
        with tempfile.TemporaryDirectory() as folder:
            kept = args.results_dir / str(number) if args.results_dir else Path(folder)
            quotient = trial(server, args.step, args.device, max(least, args.repeats), kept, seed + number)
        differs, (low, high) = distinguishable(quotient), quotient.interval
        winners += bool(differs)
        said = "a WINNER" if differs else "no winner"
        print(f"{number}: A / B {quotient.value:.3f} (95 % interval {low:.3f} to {high:.3f}): {said}", flush=True)
    print(f"step {args.step}: {winners} of {args.trials} trials named a winner")
    return int(winners > binom.ppf(0.99, args.trials, 0.05))


def trial(server: subprocess.Popen, step: str, device: str, repeats: int, folder: Path, seed: int) -> Estimate:
    """A's speed over B's, after so many rounds."""
    batch, sizes = SIZES[device]
    script, *flags = [word.format(batch=batch, global_batch=2 * batch) for word in STEPS[step]]
    command = [str(ROOT / script), *flags, *sizes, "--device", device, "--anatomy-steps", "0", "--quiet"]
    for number, order in zip(range(1, repeats + 1), drawn_orders(2, seed), strict=False):
        for place, index in enumerate(order, 1):
            of_lab = Launch(campaign="a_against_a", id=str(seed), seed=seed, round=number, place=place)
            output = ["--results-dir", str(folder / "AB"[index])]
            launch(server, [*command, *output], of_lab, ranks=2 if step == "04" else 0)
    return speedup(*(Row(read_folder(folder / name).runs) for name in "AB"))


def launch(server: subprocess.Popen, command: list[str], of_lab: Launch, ranks: int) -> None:
    """Run a script to its end. RuntimeError, with what it wrote, where it fails."""
    with tempfile.NamedTemporaryFile("r") as output:
        order = {
            "command": command,
            "env": os.environ | {LAUNCH_VARIABLE: of_lab.model_dump_json()},
            "cwd": str(ROOT),
            "timeout": 600,
            "finalize": False,
        }
        order |= {"ranks": ranks, "stdout": output.name, "stderr": output.name}
        print(json.dumps(order), file=server.stdin, flush=True)
        if any(json.loads(server.stdout.readline())):
            raise RuntimeError(output.read())


def come_and_go(seed: int, device: str) -> None:
    """Keep a core or a GPU busy for 5 to 40 seconds, then leave it for as long; and so on."""
    chance, work = random.Random(seed), matrix_product() if device == "cuda" else lambda: None
    while True:
        end = time.monotonic() + chance.uniform(5, 40)
        while time.monotonic() < end:
            work()
        time.sleep(chance.uniform(5, 40))


def matrix_product() -> Callable[[], None]:
    """A piece of work for a GPU that heats it."""
    import torch

    square, product = (torch.rand(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))

    def work() -> None:
        torch.mm(square, square, out=product)
        torch.cuda.synchronize()

    return work


if __name__ == "__main__":
    sys.exit(main())
