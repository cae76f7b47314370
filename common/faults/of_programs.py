"""Faults in the training program itself. Each is a program of its own in `faults/`: wrong, and right with `--right`."""

from __future__ import annotations

from common.faults.fault import Fault
from common.faults.words import SINGLE, TORCHRUN
from common.records import FaultName

WAIT_APART = (
    r"^hang: every rank waits, and not for the same exchange: rank 0 in gloo:{first} .*; rank 1 in gloo:{second} "
)
PROGRAMS: dict[FaultName, str] = {
    "set_epoch_forgotten": r"^measured: .* as without set_epoch",
    "no_sync_left_out": r"^measured: .* once would do, with no_sync",
    "no_sync_misplaced": r"^measured: .* each rank trains a model of its own",
    "sum_not_mean": r"^measured: .* adds up and does not average",
    "rate_not_scaled": r"^measured: .* scale the learning rate",
    "unused_parameters": r"^failed: .* Some parameters had no part in the loss",
    "skipped_collective": WAIT_APART.format(first="reduce", second="broadcast"),
    "uneven_batches": WAIT_APART.format(first="all_reduce", second="barrier"),
    "validation_on_rank_0": WAIT_APART.format(first="broadcast", second="all_reduce"),
    "endless_loader": r"^hang: rank 1 does not come to the exchange, at endless_loader.py:\d+ in batches; rank 0 waits",
}
"""The line that names each: measured by the program itself, or the lab's on a hang or an error."""
FAULTS = (
    *(
        Fault(name, f"{TORCHRUN} -m faults.{name}", f"{TORCHRUN} -m faults.{name} --right", named)
        for name, named in PROGRAMS.items()
    ),
    Fault("nan_loss", f"{SINGLE} --lr 1e6", SINGLE, r"the loss is no finite number"),
)
