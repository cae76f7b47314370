"""Images that cannot be used, and loaders that cannot keep up."""

from __future__ import annotations

from pathlib import Path
from random import Random

from common.faults.fault import Changes, Fault
from common.faults.words import REPORT, SINGLE

PER_CLASS = 16
ON_A_GPU = "--model resnet152 --workers 0"
"""A step that takes a GPU long enough to load eight small images beside it."""


def images(scratch: Path) -> None:
    """Two folders of images, `good` and `bad`; `bad` has a broken one."""
    for name in ("good", "bad"):
        _image_folders(scratch / name, 48)
    (scratch / "bad" / "red" / "05.jpg").write_bytes(b"no image")


def empty_class(scratch: Path) -> None:
    """Two folders of images; in `bad` one of the classes has none."""
    for name in ("good", "bad"):
        _image_folders(scratch / name, 48)
    (scratch / "bad" / "blue").mkdir()


def large_images(scratch: Path) -> None:
    """Two folders of the same images; those in `bad` are as a camera makes them."""
    _image_folders(scratch / "good", 48)
    _image_folders(scratch / "bad", 1600)


def _image_folders(folder: Path, size: int) -> None:
    from PIL import Image

    random = Random(0)
    for name, channel in (("red", 0), ("green", 1)):
        (folder / name).mkdir(parents=True)
        for number in range(PER_CLASS):
            colour = [random.randrange(64) for _ in range(3)]
            colour[channel] = 255
            Image.new("RGB", (size, size), tuple(colour)).save(folder / name / f"{number:02}.jpg")


FAULTS = (
    Fault(
        "corrupted_image",
        f"{SINGLE} --data-dir $SCRATCH/bad",
        f"{SINGLE} --data-dir $SCRATCH/good",
        r"skipped .*05\.jpg",
        prepare=images,
    ),
    Fault(
        "empty_class",
        f"{SINGLE} --data-dir $SCRATCH/bad",
        f"{SINGLE} --data-dir $SCRATCH/good",
        r"error: --data-dir: .*blue",
        prepare=empty_class,
    ),
    Fault(
        "slow_loader",
        f"{SINGLE} --image-size 96 --data-dir $SCRATCH/bad && {REPORT}",
        f"{SINGLE} --image-size 96 --data-dir $SCRATCH/good --results-dir $SCRATCH/cured && "
        f"{REPORT} --results-dir $SCRATCH/cured",
        r"waits for data (?!\d %)",
        prepare=large_images,
        on_gpus=Changes(
            f"{SINGLE} {ON_A_GPU} --image-size 96 --data-dir $SCRATCH/bad && {REPORT}",
            f"{SINGLE} {ON_A_GPU} --image-size 96 --data-dir $SCRATCH/good --results-dir $SCRATCH/cured && "
            f"{REPORT} --results-dir $SCRATCH/cured",
        ),
    ),
)
