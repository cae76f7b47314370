"""Real images: a folder with one folder of images per class, decoded and augmented by torchvision."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch.utils.data import Dataset

from common.command_line.resolve import OwnData
from common.errors import UsageError
from common.machine.environment import import_torchvision
from common.records import RunConfig
from common.training.batch import Batch, Sample

if TYPE_CHECKING:
    from torchvision.datasets import ImageFolder

MAX_UNREADABLE_IN_A_ROW = 100
FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP")
"""Whatever a file is called, only these are decoded: Pillow would start a program, Ghostscript, for some others. JPEG
includes the MPO of phones: under that name Pillow knows no reader, and raises KeyError for all that come after it."""


LITTER = ("__MACOSX", "Thumbs.db", "desktop.ini", "lost+found", "@eaDir", "$RECYCLE.BIN")
"""Left in folders by macOS, Windows, disks and Synology's servers. What begins with a dot is hidden: Jupyter's
`.ipynb_checkpoints`, and `._x.jpg`, which macOS writes beside `x.jpg` and which is no image."""


class ImageTree(NamedTuple):
    """The images of `--data-dir`."""

    training: ImageFolder
    validation: ImageFolder | None
    """None where the tree is flat, without train/ and val/."""


@cache  # walking through a million files takes seconds
def image_tree(folder: Path) -> ImageTree:
    """`folder/train` and `folder/val`, or `folder` itself. Raises `UsageError` for what is no such tree."""
    if not folder.is_dir():
        raise UsageError(f"--data-dir {folder} is not a folder; give one with one folder of images per class")
    divided = (folder / "train").is_dir()
    training = _image_folder(folder / "train" if divided else folder)
    if not divided or not (folder / "val").is_dir():
        return ImageTree(training, None)
    validation = _image_folder(folder / "val")
    if unknown := sorted(set(validation.classes) - set(training.classes)):
        raise UsageError(f"--data-dir {folder}: val/ has classes that train/ has not: {', '.join(unknown[:5])}")
    # A class that val/ lacks would shift the numbers of all that come after it.
    numbers = training.class_to_idx
    validation.samples = [(path, numbers[validation.classes[label]]) for path, label in validation.samples]
    return ImageTree(training, validation)


def is_litter(name: str) -> bool:
    """Whether a file or folder is there without anybody having chosen it as data."""
    return name.startswith(".") or name in LITTER


def is_image(path: str) -> bool:
    """Whether a file counts as an image, by its name and the names of the folders on the way to it."""
    from torchvision.datasets.folder import IMG_EXTENSIONS

    return path.lower().endswith(IMG_EXTENSIONS) and not any(map(is_litter, filter(None, path.split(os.sep))))


def _image_folder(folder: Path) -> ImageFolder:
    import_torchvision()
    from torchvision.datasets import ImageFolder

    class ChosenImages(ImageFolder):
        """Without the classes and images that no person has put there."""

        def find_classes(self, directory: str) -> tuple[list[str], dict[str, int]]:
            names = sorted(
                entry.name for entry in os.scandir(directory) if entry.is_dir() and not is_litter(entry.name)
            )
            if not names:
                raise FileNotFoundError(f"Couldn't find any class folder in {directory}.")
            return names, {name: number for number, name in enumerate(names)}

    try:
        _refuse_loops(folder)
        # By their names alone: whether a file can be decoded is found out when it is its turn.
        return ChosenImages(folder, is_valid_file=lambda path: is_image(path[len(str(folder)) :]))
    except FileNotFoundError as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise UsageError(f"--data-dir: {reason}; give a folder with one folder of images per class") from None
    except OSError as error:
        raise UsageError(f"--data-dir: cannot read {error.filename or folder} ({error.strerror})") from None


def _refuse_loops(folder: Path) -> None:
    """Raises `UsageError` for a link to a folder that it lies in: its images would be counted dozens of times."""
    for inside, folders, _ in os.walk(folder):
        for name in folders:
            link = os.path.join(inside, name)
            if os.path.islink(link) and os.path.join(os.path.realpath(inside), "").startswith(
                os.path.join(os.path.realpath(link), "")
            ):
                raise UsageError(f"--data-dir: {link} is a link to a folder that it lies in; remove it")


def find(folder: Path) -> OwnData:
    """What `--data-dir` holds, in numbers."""
    training = image_tree(folder).training
    samples, classes = len(training.samples), len(training.classes)
    return OwnData(f"{folder.resolve().name}: {samples} images, {classes} classes", samples, classes)


class _Images(Dataset):
    """`samples`: paths and labels."""

    samples: list[tuple[str, int]]

    def __len__(self) -> int:
        return len(self.samples)


class TrainingImages(_Images):
    """A random crop of each image, mirrored or not, as ImageNet is usually trained.

    What is random is drawn from (seed, epoch, index): a sample looks the same in every method and on every rank, and
    however many workers load it.
    """

    def __init__(self, config: RunConfig) -> None:
        self.samples = image_tree(Path(config.data_dir or "")).training.samples
        if config.samples_per_epoch < len(self.samples):
            random = torch.Generator().manual_seed(config.seed)
            chosen = torch.randperm(len(self.samples), generator=random)[: config.samples_per_epoch]
            self.samples = [self.samples[number] for number in chosen.tolist()]
        self.seed = config.seed
        v2 = _transforms()
        crop = v2.RandomResizedCrop(config.image_size, antialias=True)
        self.transform = v2.Compose([crop, v2.RandomHorizontalFlip(), v2.PILToTensor()])

    def __getitems__(self, samples: list[Sample]) -> Batch:
        """A batch. In place of an image that cannot be decoded stands the next one that can, so that all ranks'
        batches keep their size. Raises RuntimeError where a hundred in a row cannot."""
        decoded: list[tuple] = []
        unreadable: list[str] = []
        for epoch, index in samples:
            for offset in range(MAX_UNREADABLE_IN_A_ROW):
                path, label = self.samples[(index + offset) % len(self)]
                image = _decoded(path, unreadable)
                if image is not None:
                    break
            else:
                raise RuntimeError(f"{MAX_UNREADABLE_IN_A_ROW} images in a row cannot be decoded, the last one {path}")
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(hash((self.seed, epoch, index)) % 2**63)
                decoded.append((self.transform(image), label, index))
        return _batch(decoded, unreadable)


class ValidationImages(_Images):
    """The middle of each image, as torchvision's references cut it: the shorter side to 256 / 224 of the crop."""

    def __init__(self, folder: ImageFolder, image_size: int) -> None:
        self.samples = folder.samples
        v2 = _transforms()
        resize = v2.Resize(round(image_size * 256 / 224), antialias=True)
        self.transform = v2.Compose([resize, v2.CenterCrop(image_size), v2.PILToTensor()])

    def __getitems__(self, samples: list[Sample]) -> Batch:
        """A batch, without the images that cannot be decoded."""
        decoded: list[tuple] = []
        unreadable: list[str] = []
        for _, index in samples:
            path, label = self.samples[index]
            image = _decoded(path, unreadable)
            if image is not None:
                decoded.append((self.transform(image), label, index))
        return _batch(decoded, unreadable)


def validation_images(config: RunConfig) -> ValidationImages | None:
    """The images of `val/`; None where there are none."""
    folder = image_tree(Path(config.data_dir)).validation if config.data_dir else None
    return ValidationImages(folder, config.image_size) if folder else None


def _decoded(path: str, unreadable: list[str]):
    """The image in RGB; None, and an entry in `unreadable`, where the file is broken."""
    from PIL import Image

    try:
        if not os.path.isfile(path):  # a pipe would be waited for without end
            raise OSError("not a file")
        with Image.open(path, formats=FORMATS) as image:
            return image.convert("RGB")
    except MemoryError:
        raise
    except Exception as error:  # what a decoder stumbles over first in a broken file may be of any kind
        unreadable.append(f"{path} ({str(error).replace(path, '…') or type(error).__name__})")
        return None


def _batch(decoded: list[tuple], unreadable: list[str]) -> Batch:
    if not decoded:
        nothing = torch.empty(0, dtype=torch.int64)
        return Batch(torch.empty(0, 3, 1, 1, dtype=torch.uint8), nothing, nothing, tuple(unreadable))
    pictures, labels, indices = zip(*decoded, strict=True)
    return Batch(torch.stack(pictures), torch.tensor(labels), torch.tensor(indices), tuple(unreadable))


def _transforms():
    import_torchvision()
    from torchvision.transforms import v2

    return v2
