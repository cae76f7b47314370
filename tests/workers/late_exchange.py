"""Rank 1 ends, well or not, while one of its threads is in an exchange that rank 0 comes to some seconds later.

Its interpreter takes a second to end, in which the exchange may complete.
"""

import os
import sys
import time

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from common.command_line import parser
from common.command_line.parser import start
from common.errors import UsageError
from common.machine.devices import rank_device
from common.training.distributed import process_group

ERRORS = {"failure": RuntimeError("lost"), "interrupted": SystemExit(130), "bad input": UsageError("no such thing")}


parser.SECONDS_FOR_THE_FIRST = 1.0  # rank 0 has nothing to say here


class Slow:
    """Lives in the program's module: one of the last things that the interpreter gives up."""

    def __del__(self, sleep=time.sleep) -> None:
        sleep(1)


slow = Slow()


def main() -> None:
    devices, (error, seconds) = rank_device("cpu", int(os.environ["LOCAL_RANK"])), sys.argv[1:]
    with process_group(devices, 60):
        model = DistributedDataParallel(nn.Linear(3, 3))
        model(torch.ones(2, 3)).sum().backward()
        dist.barrier()
        if devices.rank == 0:
            time.sleep(float(seconds))
        # Its last step, a function of Python's, is done by a thread of gloo.
        dist.all_reduce(torch.ones(1), async_op=True).get_future().then(lambda future: future.value())
        if devices.rank == 1 and error in ERRORS:
            raise ERRORS[error]


start(main)
