"""Step 04: train on several devices with DistributedDataParallel.

One process per device, started by torchrun. Each holds a model and an optimizer of its own and reads its own part of
the data; gradients are averaged among all of them (all-reduce) while the backward pass is still running.

    torchrun --nproc_per_node=4 04_ddp_training.py --model resnet50 --batch-size 64 --epochs 5
"""

from common.options import add_ddp_options, start, training_parser


def main() -> None:
    parser = training_parser("ddp", __doc__, batch_size="samples per optimizer step and process, that is per device")
    add_ddp_options(parser)
    args = parser.parse_args()

    # Only now, so that --help need not wait for torch.
    import torch.distributed as dist
    from torch.distributed.elastic.multiprocessing.errors import record

    from common import data, devices, models, training
    from common.distributed import distributed_data_parallel, join_process_group
    from common.recording import recording

    @record  # torchrun then reports the exception of the rank that failed first
    def run_rank() -> None:
        place = devices.rank_device(args.device)
        join_process_group(place, args.timeout)
        with recording(args, place) as run:
            model = models.create(run.config, place.first)
            model = distributed_data_parallel(model, place, run.config.ddp)
            training.train(model, data.create_loader(run.config, place), run)
        dist.destroy_process_group()

    run_rank()


if __name__ == "__main__":
    start(main)
