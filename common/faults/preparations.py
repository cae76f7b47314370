"""What some faults need before they are caused: a checkpoint that means harm, folders of images."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from random import Random

PER_CLASS = 16


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


def empty_disk(scratch: Path) -> None:
    """A folder for a small disk to be mounted at."""
    (scratch / "disk").mkdir()


def broken_image(scratch: Path) -> None:
    """Two folders of images, `good` and `bad`; `bad` has a broken one."""
    _good_and_bad(scratch)
    (scratch / "bad" / "red" / "05.jpg").write_bytes(b"no image")


def empty_class(scratch: Path) -> None:
    """Two folders of images; in `bad` one of the classes has none."""
    _good_and_bad(scratch)
    (scratch / "bad" / "blue").mkdir()


def large_images(scratch: Path) -> None:
    """Two folders of the same images; those in `bad` are as a camera makes them."""
    _good_and_bad(scratch, 1600)


def _good_and_bad(scratch: Path, pixels: int = 48) -> None:
    """Two classes of images each, of so many pixels a side in `bad`."""
    from PIL import Image

    for folder, size in ((scratch / "good", 48), (scratch / "bad", pixels)):
        random = Random(0)
        for name, channel in (("red", 0), ("green", 1)):
            (folder / name).mkdir(parents=True)
            for number in range(PER_CLASS):
                colour = [random.randrange(64) for _ in range(3)]
                colour[channel] = 255
                Image.new("RGB", (size, size), tuple(colour)).save(folder / name / f"{number:02}.jpg")
