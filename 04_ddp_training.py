"""Step 04: train on several devices with DistributedDataParallel.

One process per device, started by torchrun. Each holds a model and an optimizer of its own and reads its own part of
the data; gradients are averaged among all of them (all-reduce) while the backward pass is still running. Beside the
wrapper, step 04 adds to step 03 the process group that the ranks meet in, and a sampler that knows its rank.

    torchrun --nproc_per_node=4 04_ddp_training.py --model resnet50 --batch-size 64 --epochs 5
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0] or ".")  # where `python -I` and PYTHONSAFEPATH leave it out

from common.command_line.options import TrainingOptions, add_ddp_options, training_parser
from common.command_line.parser import start
from common.machine.workers import prepare_workers


def main() -> None:
    parser = training_parser("ddp", __doc__, batch_size="samples per optimizer step and process, that is per device")
    add_ddp_options(parser)
    options = parser.read()
    prepare_workers()

    from torch.distributed.elastic.multiprocessing.errors import record

    record(train)(options)  # torchrun then reports the exception of the rank that failed first


def train(options: TrainingOptions) -> None:
    # Imported only now, so that --help need not wait for torch.
    import torch
    import torch.distributed as dist
    from torch import nn
    from torch.nn.parallel import DistributedDataParallel

    from common.machine.devices import rank_device
    from common.running.life import recording
    from common.training.data import create_dataset, create_loader
    from common.training.distributed import changing_arguments, compress_exchange, gradient_bytes, process_group
    from common.training.exchanges import EXCHANGES
    from common.training.loader import EpochSampler
    from common.training.models import create_model
    from common.training.step import Training

    place = rank_device(options.device)
    with process_group(place, options.ddp.timeout_seconds), recording(options, place) as run:
        config = run.config
        model = create_model(config, place)
        if config.ddp.sync_bn:
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        if config.ddp.exchange == "ddp":
            model = DistributedDataParallel(
                model,
                device_ids=[place.first] if place.kind == "cuda" else None,
                find_unused_parameters=config.ddp.find_unused_parameters,
                gradient_as_bucket_view=config.ddp.gradient_as_bucket_view,
                static_graph=config.ddp.static_graph,
                **changing_arguments(config.ddp, gradient_bytes(model)),
            )
            compress_exchange(model, config.ddp.comm_hook)
        else:  # what torch's class does, built by hand
            model = EXCHANGES[config.ddp.exchange](model)

        dataset = create_dataset(config)
        sampler = EpochSampler(
            dataset, num_replicas=dist.get_world_size(), rank=dist.get_rank(), seed=config.seed, drop_last=True
        )
        loader = create_loader(dataset, sampler, config, place)
        optimizer = torch.optim.SGD(
            model.parameters(), lr=config.learning_rate, momentum=config.momentum, weight_decay=config.weight_decay,
            fused=config.fused_optimizer or None,  # None, and not False: torch then chooses between the other two
        )  # fmt: skip

        training = Training(model, optimizer, loader, config)
        run.check_gradient(training)
        if config.compile:
            # The wrapper, not the model inside: only so does torch cut the graph where its buckets end.
            model.compile(mode=config.compile_mode)
        run.warm_up(training)
        for epoch in run.epochs(training):
            sampler.set_epoch(epoch)  # without it every epoch repeats the order of the first
            run.train_epoch(training, epoch)
        run.take_steps_apart(training)


if __name__ == "__main__":
    start(main)
