"""Started by torchrun, with the lab and its tests on PYTHONPATH: one optimizer step under DDP, of one batch and of four
micro-batches. Prints the weights' largest difference and the number of all-reduces, as JSON."""

import json
import os

import torch
from factories import make_config
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from trainers import in_ddp, make_training, micro_batches, weights_after

from common.machine.devices import LocalDevices, rank_device
from common.records import DdpOptions
from common.training.distributed import process_group

PARTS = 4


def main() -> None:
    devices = rank_device("cpu", int(os.environ["LOCAL_RANK"]))
    with process_group(devices, 60):
        one, several = (one_step(devices, parts) for parts in (1, PARTS))
        if devices.rank == 0:
            difference = (one[0] - several[0]).abs().max().item()
            print(json.dumps({"difference": difference, "all-reduces": [one[1], several[1]]}))


def one_step(devices: LocalDevices, parts: int) -> tuple[torch.Tensor, int]:
    """The weights after one step, and how many all-reduces it took."""
    exchanged: list[int] = []

    def counting(_, bucket):
        exchanged.append(bucket.index())
        return allreduce_hook(None, bucket)

    def wrap(classifier):
        model = in_ddp(classifier, DdpOptions(one_bucket=True), devices)
        model.register_comm_hook(None, counting)
        return model

    training = make_training(make_config(global_batch_size=32, per_device_batch_size=16), devices, wrap)
    return weights_after(training, micro_batches(training.loader, parts)), len(exchanged)


main()
