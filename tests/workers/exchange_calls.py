"""Started by torchrun, with the lab and its tests on PYTHONPATH: an optimizer step under each exchange built by hand.

Prints, as JSON, by how many gradients were complete as each of its all-reduces began, and the largest difference of the
weights from those that torch's DDP gives, after a step of one batch and after one of two micro-batches.
"""

import json
import os

import torch.distributed as dist
from factories import make_config
from trainers import in_ddp, make_training, micro_batches, weights_after

from common.machine.devices import rank_device
from common.records import DdpOptions
from common.training.distributed import process_group
from lessons import hand_built_ddp

all_reduce = dist.all_reduce


def main() -> None:
    devices, calls = rank_device("cpu", int(os.environ["LOCAL_RANK"])), {}
    config = make_config(global_batch_size=16, per_device_batch_size=8)
    hand_built_ddp.BUCKET_BYTES = 200  # in one of torch's size the small model would fit
    with process_group(devices, 60):
        for name in ("per-parameter", "flat", "overlapped"):
            began, differences = [], []
            for parts in (1, 2):
                by_torch = make_training(config, devices, lambda classifier: in_ddp(classifier, DdpOptions(), devices))
                own = make_training(config, devices, hand_built_ddp.hand_built(name))
                batches = micro_batches(own.loader, parts)
                expected = weights_after(by_torch, batches)
                began.append([])
                dist.all_reduce = noting(own.model, began[-1])
                differences.append((weights_after(own, batches) - expected).abs().max().item())
                dist.all_reduce = all_reduce
            calls[name] = {"began": began, "differences": differences, "parameters": len(own.model.trained)}
    if devices.rank == 0:
        print(json.dumps(calls))


def noting(model: hand_built_ddp.HandBuiltDDP, began: list[int]):
    def noted(*arguments, **options):
        began.append(sum(parameter.grad is not None for parameter in model.trained))
        return all_reduce(*arguments, **options)

    return noted


main()
