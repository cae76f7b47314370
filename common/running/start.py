"""How 02, 03 and 04 begin: the command line is read before torch is imported. This module imports no torch itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from common.command_line.options import TrainingOptions, training_parser
from common.command_line.parser import start
from common.machine.workers import prepare_workers
from common.records import Method


def start_training(train: Callable[[TrainingOptions], None], method: Method, description: str) -> NoReturn:
    """Read the command line and call a script's `train` with it; exits with 2 and one line where it makes no sense."""

    def main() -> None:
        options = training_parser(method, description).read()
        if options.threads == "kept":
            options = options.model_copy(update={"method": "dp_kept_threads"})
        prepare_workers()
        if method == "ddp":
            _train_ranks(train, options)
        else:
            train(options)

    start(main)


def _train_ranks(train: Callable[[TrainingOptions], None], options: TrainingOptions) -> None:
    """Call `train`, or with `--exchange` that of the lesson, so that torchrun reports the rank that fails first."""
    from common.machine.devices import of_torchrun

    of_torchrun("LOCAL_RANK", 0)
    from torch.distributed.elastic.multiprocessing.errors import record

    from common.training.distributed import meeting_errors_in_one_line

    if options.ddp and options.ddp.exchange != "ddp":
        from lessons import hand_built_ddp

        train = hand_built_ddp.train
    record(meeting_errors_in_one_line()(train))(options)
