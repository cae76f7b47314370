"""Step 03: train on several devices with DataParallel.

One process. Every step it splits the batch, copies the model to all devices, runs them in threads, gathers the outputs
on device 0 and reduces the gradients there. Beside the list of devices, one statement is new after step 02: the model
is wrapped.

    python 03_dataparallel_training.py --model resnet50 --batch-size 256 --epochs 5 --gpus 0,1,2,3
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0] or ".")  # where `python -I` and PYTHONSAFEPATH leave it out

from common.command_line.options import TrainingOptions, training_parser
from common.command_line.parser import start
from common.machine.workers import prepare_workers


def main() -> None:
    parser = training_parser("dp", __doc__, batch_size="global batch: samples per optimizer step, over all devices")
    parser.add_argument("--gpus", metavar="0,1,…", help="devices by number (default: all)%(default).0s")
    options = parser.read()
    prepare_workers()
    train(options)


def train(options: TrainingOptions) -> None:
    # Imported only now, so that --help need not wait for torch.
    import torch
    from torch import nn

    from common.machine.devices import listed_devices
    from common.running.life import recording
    from common.training.data import create_dataset, create_loader
    from common.training.data_parallel import EmulatedDataParallel
    from common.training.loader import EpochSampler
    from common.training.models import create_model
    from common.training.step import Training

    place = listed_devices(options.device, options.gpus)
    with recording(options, place) as run:
        config = run.config
        model = create_model(config, place)
        if place.kind == "cuda":
            model = nn.DataParallel(model, device_ids=list(place.indices))
        else:  # torch's class does nothing without GPUs: the same algorithm on CPU cores
            model = EmulatedDataParallel(model, device_ids=place.indices)

        dataset = create_dataset(config)
        sampler = EpochSampler(dataset, num_replicas=1, rank=0, seed=config.seed, drop_last=True)
        loader = create_loader(dataset, sampler, config, place)
        optimizer = torch.optim.SGD(
            model.parameters(), lr=config.learning_rate, momentum=config.momentum, weight_decay=config.weight_decay,
            fused=config.fused_optimizer or None,  # None, and not False: torch then chooses between the other two
        )  # fmt: skip

        training = Training(model, optimizer, loader, config)
        run.check_gradient(training)
        run.warm_up(training)
        for epoch in run.epochs(training):
            sampler.set_epoch(epoch)  # without it every epoch repeats the order of the first
            run.train_epoch(training, epoch)
        run.take_steps_apart(training)


if __name__ == "__main__":
    start(main)
