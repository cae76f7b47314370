"""Started by torchrun, with the lab and its tests on PYTHONPATH: breaks the exchange of gradients in several ways and
prints what the parity check says of each, as JSON."""

import dataclasses
import json
import os

import torch
import torch.distributed as dist
from factories import make_config
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
from trainers import in_ddp, make_training

from common.examining import parity
from common.machine.devices import rank_device
from common.records import DdpOptions
from common.training.distributed import process_group


def rank_1_keeps_its_own(state, bucket):
    mine = bucket.buffer().clone()
    work = dist.all_reduce(bucket.buffer(), async_op=True).get_future()
    return work.then(lambda done: mine if dist.get_rank() == 1 else done.value()[0] / dist.get_world_size())


def sum_instead_of_mean(state, bucket):
    return dist.all_reduce(bucket.buffer(), async_op=True).get_future().then(lambda done: done.value()[0])


def exchanges_once(state, bucket):
    """As a static graph does that has been told lies: from the second backward pass on, every rank for itself."""
    seen.append(bucket.index())
    if seen.count(bucket.index()) == 1:
        return default_hooks.allreduce_hook(None, bucket)
    alone = torch.futures.Future()
    alone.set_result(bucket.buffer())
    return alone


seen: list[int] = []
OPTIONS = DdpOptions(one_bucket=True)
HOOKS = {
    "skips the exchange": rank_1_keeps_its_own,
    "summed": sum_instead_of_mean,
    "exchanges the first time only": exchanges_once,
}


def main() -> None:
    devices = rank_device("cpu", int(os.environ["LOCAL_RANK"]))
    config = make_config(global_batch_size=8, per_device_batch_size=4)
    with process_group(devices, 60):
        outcomes = {}
        for fault in ("none", "shard seen twice", *HOOKS):
            training = make_training(config, devices, lambda classifier: in_ddp(classifier, OPTIONS, devices))
            if fault in HOOKS:
                training.model.register_comm_hook(None, HOOKS[fault])
            seen_as = dataclasses.replace(devices, rank=0) if fault == "shard seen twice" else devices
            outcomes[fault] = parity.check_parity(training, seen_as).model_dump()
        if devices.rank == 0:
            print(json.dumps(outcomes))


main()
