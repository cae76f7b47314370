"""Step 04: train on several devices with DistributedDataParallel.

One process per device, started by torchrun. Each holds a model and an optimizer of its own and reads its own part of
the data; gradients are averaged among all of them (all-reduce) while the backward pass is still running. Beside the
wrapper, step 04 adds to step 03 the process group that the ranks meet in.

    torchrun --nproc_per_node=4 04_ddp_training.py --model resnet50 --batch-size 64 --epochs 5
"""

from argparse import Namespace

from common.command_line.flags import add_ddp_options, training_parser
from common.command_line.parser import start


def main() -> None:
    parser = training_parser("ddp", __doc__, batch_size="samples per optimizer step and process, that is per device")
    add_ddp_options(parser)
    args = parser.parse_args()

    from torch.distributed.elastic.multiprocessing.errors import record

    record(train)(args)  # torchrun then reports the exception of the rank that failed first


def train(args: Namespace) -> None:
    # Imported only now, so that --help need not wait for torch.
    from common.machine import devices
    from common.running import life as training
    from common.running.recorder import recording
    from common.training import data, models
    from common.training.distributed import distributed_data_parallel, process_group

    place = devices.rank_device(args.device)
    with process_group(place, args.timeout), recording(args, place) as run:
        model = models.create(run.config, place.first)
        model = distributed_data_parallel(model, place, run.config.ddp)
        training.train(model, data.create_loader(run.config, place), run)


if __name__ == "__main__":
    start(main)
