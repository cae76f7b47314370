"""What the lab's clocks, checks and records cost: its epochs against bare ones.

One process (two ranks under torchrun) trains one model in turns: an epoch by the lab's own `Trainer.measured_epoch`,
with all that it times, sums up and enters into the record, and an epoch by the least loop that does the same work.
Neighbouring epochs meet the same machine, so that their quotient tells a percent where whole runs differ by ten. Prints
bare seconds / the lab's seconds for each pair, then their mean with its 95 % interval. Goal: at least 0.98.

    python benchmarks/harness_overhead.py                                                   # the loop of step 02
    torchrun --standalone --nproc_per_node=2 benchmarks/harness_overhead.py                 # that of step 04
"""

import os
import sys
import tempfile
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).parents[1]))

from torch.nn.functional import cross_entropy

from common.analysis.statistics.estimates import paired_ratio
from common.command_line.flags import add_ddp_options, training_parser
from common.command_line.parser import Parser, positive_int, start
from common.machine import devices
from common.machine.ranks import barrier
from common.running.recorder import recording
from common.running.run import Run
from common.training import data, models
from common.training.distributed import distributed_data_parallel, process_group
from common.training.trainer import Trainer

GOAL = 0.98
SIZES = "--model resnet18 --batch-size 32 --samples-per-epoch 256 --image-size 64 --warmup-steps 4 --device cpu --quiet"


def main() -> int:
    """0 if the goal is met."""
    parser = Parser(description=__doc__)
    parser.add_argument("--pairs", type=positive_int, default=20, help="pairs of epochs, at least 2")
    pairs = max(2, parser.parse_args().pairs)
    training = training_parser("ddp" if "RANK" in os.environ else "single", "", "")
    add_ddp_options(training)
    with tempfile.TemporaryDirectory() as folder:
        args = training.parse_args([*SIZES.split(), "--results-dir", folder])
        if args.method == "single":
            place = devices.one_device(args.device)
            with recording(args, place) as run:
                classifier = models.create(run.config, place.first)
                return compare(classifier, classifier, run, pairs)
        place = devices.rank_device(args.device)
        with process_group(place, args.timeout), recording(args, place) as run:
            classifier = models.create(run.config, place.first)
            return compare(distributed_data_parallel(classifier, place, run.config.ddp), classifier, run, pairs)


def compare(model, classifier, run: Run, pairs: int) -> int:
    """Time the pairs and print what they say; 0 if the goal is met."""
    trainer = Trainer(model, classifier, data.create_loader(run.config, run.place), run)
    run.progress.phase("pairs", 2 * pairs * trainer.steps_per_epoch)
    trainer.warm_up()
    times = {trainer.measured_epoch: [], trainer_without_lab(trainer): []}
    lab, bare = times
    for pair in range(1, pairs + 1):
        for epoch in (lab, bare) if pair % 2 else (bare, lab):
            barrier()
            started = perf_counter()
            epoch(pair)
            barrier()
            times[epoch].append(perf_counter() - started)
    quotient = paired_ratio(times[bare], times[lab])
    low, high = quotient.interval
    if run.place.rank == 0:
        print(", ".join(f"{b / t:.3f}" for b, t in zip(times[bare], times[lab], strict=True)))
        print(
            f"method {run.method}: {quotient.value:.3f} (95 % interval {low:.3f} to {high:.3f}, {pairs} pairs): "
            f"{'meets' if quotient.value >= GOAL else 'misses'} the goal of {GOAL}"
        )
    return int(quotient.value < GOAL)


def trainer_without_lab(trainer: Trainer):
    """The least loop that trains the same model on the same batches: nothing timed, nothing summed up."""

    def epoch(number: int) -> None:
        trainer.loader.sampler.set_epoch(number)
        for images, labels, *_ in trainer.loader:
            cross_entropy(trainer.model(images)[:, 0], labels).backward()
            trainer.optimizer.step()
            trainer.optimizer.zero_grad()

    return epoch


if __name__ == "__main__":
    start(main)
