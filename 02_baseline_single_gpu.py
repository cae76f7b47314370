"""Step 02: train on one device.

The baseline that the next two steps are compared with: the same model, data, loop and clock on the first GPU, or on one
CPU core where there is no GPU. Read `training_step` in common/training/step.py next: it is what every epoch repeats.

    python 02_baseline_single_gpu.py --model resnet50 --batch-size 64 --epochs 5
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0] or ".")  # where `python -I` and PYTHONSAFEPATH leave it out

from common.command_line.options import TrainingOptions, training_parser
from common.command_line.parser import start
from common.machine.workers import prepare_workers


def main() -> None:
    parser = training_parser("single", __doc__, batch_size="samples per optimizer step, all on one device")
    options = parser.read()
    prepare_workers()
    train(options)


def train(options: TrainingOptions) -> None:
    # Imported only now, so that --help need not wait for torch.
    import torch

    from common.machine.devices import one_device
    from common.running.life import recording
    from common.training.data import create_dataset, create_loader
    from common.training.loader import EpochSampler
    from common.training.models import create_model
    from common.training.step import Training

    place = one_device(options.device)
    with recording(options, place) as run:
        config = run.config
        model = create_model(config, place)

        dataset = create_dataset(config)
        sampler = EpochSampler(dataset, num_replicas=1, rank=0, seed=config.seed, drop_last=True)
        loader = create_loader(dataset, sampler, config, place)
        optimizer = torch.optim.SGD(
            model.parameters(), lr=config.learning_rate, momentum=config.momentum, weight_decay=config.weight_decay,
            fused=config.fused_optimizer or None,  # None, and not False: torch then chooses between the other two
        )  # fmt: skip

        training = Training(model, optimizer, loader, config)
        run.check_gradient(training)
        if config.compile:
            model.compile(mode=config.compile_mode)
        run.warm_up(training)
        for epoch in run.epochs(training):
            sampler.set_epoch(epoch)  # without it every epoch repeats the order of the first
            run.train_epoch(training, epoch)
        run.take_steps_apart(training)


if __name__ == "__main__":
    start(main)
