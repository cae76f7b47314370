"""Why a loader slows the steps of a small model on a GPU: the same bare steps, with parts of the loader beside them.

Every kind of epoch trains the same model on the same batch, which stays on the device, so no step ever waits for data.
What differs is what goes on beside it, once for each step:

- `alone`: nothing;
- `not pinned`: a thread of this process takes a batch from a loader with workers, which pins nothing;
- `pinned`: the same with `pin_memory`, so that torch's pinning thread works in this process, too;
- `pinned, switching often`: the same, where Python passes its lock on ten times as often (`sys.setswitchinterval`);
- `other process`: the pinned loader in a process of its own: memory and cores are as busy, this process's lock is not.

If `pinned` is slow and `other process` is not, the threads of one interpreter wait for each other. `training` is the
lab's loop with its loader, for comparison. Prints seconds a step, and the speed over `alone` with 95 % intervals.

    python benchmarks/loader_beside_steps.py --model examples/unet.py --batch-size 64 --samples-per-epoch 6400
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Semaphore, Thread
from time import perf_counter

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from torch import multiprocessing

from benchmarks.harness_overhead import Resident, prepare, told
from common.analysis.statistics.estimates import paired_ratio
from common.command_line.parser import start
from common.machine.devices import one_device
from common.training.training import Training

ROUNDS = int(os.environ.get("ROUNDS", 10))
OFTEN = sys.getswitchinterval() / 10


def main() -> int:
    """Time all kinds in turns, in an order that changes from round to round."""
    setting = " ".join(sys.argv[1:])
    devices = one_device("auto")
    training = prepare(setting, devices)
    resident = replace(training, loader=Resident(training))
    unpinned = prepare(setting, devices).loader
    unpinned._loader.pin_memory = False
    kinds: dict[str, Callable[[], None]] = {
        "alone": partial(steps, resident),
        "not pinned": partial(beside, resident, partial(thread_that_takes, unpinned)),
        "pinned": partial(beside, resident, partial(thread_that_takes, training.loader)),
        "pinned, switching often": partial(switching_often, resident, training),
        "other process": partial(beside, resident, partial(process_that_takes, setting)),
        "training": partial(steps, training),
    }
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    for round in range(-1, ROUNDS):  # the first one warms up
        order = list(kinds)[round % len(kinds) :] + list(kinds)[: round % len(kinds)]
        for kind in order:
            training.loader.sampler.set_epoch(max(round, 0))
            took = kinds[kind]()
            if round >= 0:
                seconds[kind].append(took)
    for ended in OTHERS[-1:]:
        ended.set()
        OTHERS[1].release()
    print(setting)
    for kind, took in seconds.items():
        each = sum(took) / ROUNDS / len(training.loader)
        print(f"  {kind}: {each * 1e3:.2f} ms a step; speed {told(paired_ratio(seconds['alone'], took))} of alone")
    return 0


def steps(training: Training, taken: Callable[[], None] = lambda: None) -> float:
    """Seconds of an epoch: the least loop; `taken` is called before each step."""
    device = training.device
    synchronize = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    synchronize()
    started = perf_counter()
    for batch in training.loader:
        taken()
        inputs, targets = batch.to(device)
        training.module.loss(training.model(inputs), targets).backward()
        training.optimizer.step()
        training.optimizer.zero_grad(set_to_none=True)
    synchronize()
    return perf_counter() - started


def beside(training: Training, taker: Callable) -> float:
    """The same, while somebody takes a batch for each step."""
    with taker(len(training.loader)) as wanted:
        return steps(training, wanted.release)


def switching_often(resident: Training, training: Training) -> float:
    usual = sys.getswitchinterval()
    sys.setswitchinterval(OFTEN)
    try:
        return beside(resident, partial(thread_that_takes, training.loader))
    finally:
        sys.setswitchinterval(usual)


@contextmanager
def thread_that_takes(loader, count: int) -> Iterator[Semaphore]:
    """A thread of this process takes a batch whenever the semaphore lets it."""
    wanted = Semaphore(0)
    loader.next_batch()  # its workers are there, and have loaded ahead
    thread = Thread(target=take, args=(loader, wanted, count))
    thread.start()
    yield wanted
    thread.join()


def take(loader, wanted, count: int) -> None:
    """One batch for each permission."""
    for _ in range(count):
        wanted.acquire()
        loader.next_batch()


OTHERS: list = []
"""Once the process that takes batches is started: what it waits for, and what tells that it is done or shall end."""


@contextmanager
def process_that_takes(setting: str, count: int) -> Iterator[Semaphore]:
    """A process of its own takes them, which has prepared the same training."""
    if not OTHERS:
        context = multiprocessing.get_context("spawn")
        OTHERS.extend([context.Semaphore(0), context.Semaphore(0), context.Semaphore(0), context.Event()])
        context.Process(target=take_in_process, args=(setting, *OTHERS)).start()
        OTHERS[2].acquire()
    wanted, begin, done, _ = OTHERS
    begin.release()
    yield wanted
    done.acquire()


def take_in_process(setting: str, wanted, begin, done, ended) -> None:
    """Epoch after epoch, as often as it is told to begin."""
    training = prepare(setting, one_device("auto"))
    training.loader.next_batch()
    done.release()
    while begin.acquire() and not ended.is_set():
        take(training.loader, wanted, len(training.loader))
        done.release()


if __name__ == "__main__":
    start(main)
