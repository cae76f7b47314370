"""By how far a right exchange passes the tests of learning, and a broken one fails them: over ten seeds.

Step 04 with two ranks trains on the small image tree of `tests/training/test_image_folder.py`, as that test does, with
the exchange as it is and with one that loses all gradients. Prints, for each seed, the last epoch's loss over the first
one's and top-1 on the validation images; ends with 1 if a right exchange misses one of the test's limits, or if the
loss of a broken one falls as far as they ask for.

    python benchmarks/learning_margins.py --seeds 10
"""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "training"))

from conftest import planted, records_in, run_script
from test_image_folder import COLOUR_NETWORK, DDP, LEARNING, MAX_LOSS_RATIO, MIN_TOP1, fill_tree

LOST = """
from common.training import distributed
def lose(model, comm_hook):
    import torch
    def hook(state, bucket):
        nothing = torch.futures.Future()
        nothing.set_result(torch.zeros_like(bucket.buffer()))
        return nothing
    model.register_comm_hook(None, hook)
distributed.register_comm_hook = lose
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10, help="how many (default: 10)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (default: 0)")
    args = parser.parse_args()
    held = True
    with tempfile.TemporaryDirectory() as folder:
        tree = fill_tree(Path(folder))
        scripts = []
        for name, exchange in (("right", ""), ("broken", LOST)):
            (Path(folder) / name).mkdir()
            scripts.append(planted(Path(folder) / name, DDP, COLOUR_NETWORK + exchange))
        for seed in range(args.first, args.first + args.seeds):
            right, lost = (learned(script, tree, seed) for script in scripts)
            held &= right[0] < MAX_LOSS_RATIO and right[1] > MIN_TOP1
            held &= lost[0] > MAX_LOSS_RATIO
            print(
                f"seed {seed}: as it is {right[0]:.2f}, top-1 {right[1]:.2f}; lost {lost[0]:.2f}, {lost[1]:.2f}",
                flush=True,
            )
    print("all within the limits" if held else "A LIMIT IS BROKEN")
    return int(not held)


def learned(script: Path, tree: Path, seed: int) -> tuple[float, float]:
    """Last loss over first loss, and top-1 after the last epoch."""
    with tempfile.TemporaryDirectory() as results:
        arguments = ["--data-dir", tree, *LEARNING, "--batch-size", 8, "--seed", seed, "--results-dir", results]
        process = run_script(script, *arguments, ranks=2)
        if process.returncode:
            raise SystemExit(process.stderr)
        (record,) = records_in(Path(results))
    first, last = record["epochs"][0], record["epochs"][-1]
    return last["mean_loss"] / first["mean_loss"], last["validation"]["top1"]


if __name__ == "__main__":
    sys.exit(main())
