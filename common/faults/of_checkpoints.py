"""Checkpoints that do not fit, are torn, or mean harm, and a disk without room for them."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

from common.faults.fault import Fault
from common.faults.words import SINGLE


class _Harm:
    """Unpickled, it writes a file: in an attack it would be any program."""

    def __init__(self, target: Path) -> None:
        self._target = target

    def __reduce__(self):
        return Path.touch, (self._target,)


def hostile_checkpoint(scratch: Path) -> None:
    """A file as torch saves it, whose pickle runs code."""
    with zipfile.ZipFile(scratch / "hostile.pt", "w") as parts:
        parts.writestr("archive/data.pkl", pickle.dumps(_Harm(scratch / "harm"), protocol=2))
        parts.writestr("archive/version", "3")


CHECKPOINTS = "--checkpoint-dir $SCRATCH/checkpoints"
NEWEST = "$SCRATCH/checkpoints/checkpoint-0003-000000.pt"
SMALL_DISK = "unshare --map-root-user --mount sh -c 'mount -t tmpfs -o size=1m tmpfs $SCRATCH/disk && "
FAULTS = (
    Fault(
        "other_checkpoint",
        f"{SINGLE} {CHECKPOINTS} && {SINGLE} --model resnet34 --resume {NEWEST}",
        f"{SINGLE} --epochs 3 --resume {NEWEST}",
        r"was written with model resnet18, this run has resnet34",
    ),
    Fault(
        "half_checkpoint",
        f"{SINGLE} {CHECKPOINTS} && truncate --size=9M {NEWEST} && {SINGLE} --epochs 3 --resume {NEWEST}",
        f"{SINGLE} --epochs 3 {CHECKPOINTS} --resume auto",
        r"error: --resume .*cannot be read",
    ),
    Fault(
        "hostile_checkpoint",
        f"{SINGLE} --resume $SCRATCH/hostile.pt",
        f"test ! -e $SCRATCH/harm && {SINGLE}",
        r"error: --resume .*hostile\.pt: .* would run",
        prepare=hostile_checkpoint,
    ),
    Fault(
        "disk_full",
        f"{SMALL_DISK} {SINGLE} --checkpoint-dir $SCRATCH/disk'",
        f"{SINGLE} {CHECKPOINTS}",
        r"checkpoint not written: No space left",
        prepare=lambda scratch: (scratch / "disk").mkdir(),
        needs=("namespaces",),
    ),
)
