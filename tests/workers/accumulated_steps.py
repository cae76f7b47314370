"""Started by torchrun, with the lab and its tests on PYTHONPATH: one optimizer step under DDP, of one batch and of four
micro-batches. Prints the weights' largest difference and the number of all-reduces, as JSON."""

import json

from factories import make_config
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from trainers import in_ddp, make_training, micro_batches, weights_after

from common.machine.devices import rank_device
from common.records import DdpOptions
from common.training.distributed import process_group

PARTS = 4
place = rank_device("cpu")
config = make_config(global_batch_size=32, per_device_batch_size=16)
exchanged: list[int] = []


def wrap(classifier):
    model = in_ddp(classifier, DdpOptions(one_bucket=True))
    model.register_comm_hook(None, counting)
    return model


def counting(_, bucket):
    exchanged.append(bucket.index())
    return allreduce_hook(None, bucket)


with process_group(place, 60):
    found = {}
    for parts in (1, PARTS):
        training = make_training(config, place, wrap)
        exchanged.clear()
        found[parts] = weights_after(training, micro_batches(training.loader, parts)), len(exchanged)
    if place.rank == 0:
        difference = (found[1][0] - found[PARTS][0]).abs().max().item()
        print(json.dumps({"difference": difference, "all-reduces": [found[1][1], found[PARTS][1]]}))
