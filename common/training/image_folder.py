"""Real images: a folder with one folder of images per class, decoded and augmented by torchvision."""

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from common.errors import UsageError
from common.machine.libraries import import_torchvision
from common.records import RunConfig
from common.training.batch import Batch, Sample

MAX_UNREADABLE_IN_A_ROW = 100
ADVICE = "give a folder with one folder of images per class"
EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP")
"""Whatever a file is called, only these are decoded: Pillow would start a program, Ghostscript, for some others. JPEG
includes the MPO of phones: under that name Pillow knows no reader, and raises KeyError for all that come after it."""
LITTER = ("__MACOSX", "Thumbs.db", "desktop.ini", "lost+found", "@eaDir", "$RECYCLE.BIN")
"""Left in folders by macOS, Windows, disks and Synology's servers. What begins with a dot is hidden: Jupyter's
`.ipynb_checkpoints`, and `._x.jpg`, which macOS writes beside `x.jpg` and which is no image."""


class ImageTree(NamedTuple):
    """The images of `--data-dir`, each a path and the number of its class."""

    classes: list[str]
    training: list[tuple[str, int]]
    validation: list[tuple[str, int]]
    """Empty where the tree is flat, without train/ and val/."""


@cache  # walking through a million files takes seconds
def image_tree(folder: Path) -> ImageTree:
    """`folder/train` and `folder/val`, or `folder` itself. Raises `UsageError` for what is no such tree."""
    if not folder.is_dir():
        raise UsageError(f"--data-dir {folder} is not a folder; give one with one folder of images per class")
    divided = (folder / "train").is_dir()
    training = _files_by_class(folder / "train" if divided else folder)
    validation = _files_by_class(folder / "val") if divided and (folder / "val").is_dir() else {}
    if unknown := sorted(set(validation) - set(training)):
        raise UsageError(f"--data-dir {folder}: val/ has classes that train/ has not: {', '.join(unknown[:5])}")
    # Numbered as in training: a class that val/ lacks would shift the numbers of all that come after it.
    numbers = {name: number for number, name in enumerate(training)}
    samples = ([(path, numbers[name]) for name in part for path in part[name]] for part in (training, validation))
    return ImageTree(list(training), *samples)


def _files_by_class(folder: Path) -> dict[str, list[str]]:
    """The images beneath each class's folder, by their names alone: whether a file can be decoded is found out when it
    is its turn."""
    try:
        classes = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not _is_litter(entry.name))
    except OSError as error:
        raise UsageError(f"--data-dir: cannot read {folder} ({error.strerror})") from None
    if not classes:
        raise UsageError(f"--data-dir: Couldn't find any class folder in {folder}; {ADVICE}")
    files: dict[str, list[str]] = {name: [] for name in classes}
    for inside, folders, names in os.walk(folder, followlinks=True):
        here = Path(inside)
        if here.is_symlink() and here.parent.resolve().is_relative_to(here.resolve()):
            # Its images would be counted dozens of times.
            raise UsageError(f"--data-dir: {here} is a link to a folder that it lies in; remove it")
        folders[:] = [name for name in folders if not _is_litter(name)]
        if here != folder:
            images = (name for name in names if name.lower().endswith(EXTENSIONS) and not _is_litter(name))
            files[here.relative_to(folder).parts[0]] += [os.path.join(inside, name) for name in images]
    if empty := ", ".join(name for name in classes if not files[name]):
        supported = f"Supported extensions are: {', '.join(EXTENSIONS)}"
        raise UsageError(f"--data-dir: Found no valid file for the classes {empty}. {supported}; {ADVICE}")
    return {name: sorted(paths, key=os.path.split) for name, paths in files.items()}


def _is_litter(name: str) -> bool:
    """Whether a file or folder is there without anybody having chosen it as data."""
    return name.startswith(".") or name in LITTER


class FolderImages(Dataset):
    """Images of a folder, as batches.

    What is random is drawn from (seed, epoch, index): a sample looks the same in every method and on every rank, and
    however many workers load it.
    """

    def __init__(
        self, samples: list[tuple[str, int]], transform: Callable[[Any], Tensor], seed: int = 0, attempts: int = 1
    ) -> None:
        """`samples`: paths and labels. `attempts`: how many files, one after another, are tried for one sample."""
        self.samples, self.transform, self.seed, self.attempts = samples, transform, seed, attempts

    def __len__(self) -> int:
        return len(self.samples)

    def __getitems__(self, samples: list[Sample]) -> Batch:
        """A batch. In place of an image that cannot be decoded stands the next one that can, so that all ranks'
        batches keep their size; with one attempt it is left out. Raises RuntimeError where all of several fail."""
        images, labels, indices = [], [], []
        unreadable: list[str] = []
        for epoch, index in samples:
            for offset in range(self.attempts):
                path, label = self.samples[(index + offset) % len(self)]
                image = _decoded(path, unreadable)
                if image is not None:
                    break
            else:
                if self.attempts == 1:
                    continue
                raise RuntimeError(f"{self.attempts} images in a row cannot be decoded, the last one {path}")
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(hash((self.seed, epoch, index)) % 2**63)
                images.append(self.transform(image))
            labels.append(label)
            indices.append(index)
        pixels = torch.stack(images) if images else torch.empty(0)
        whole = torch.int64  # also of none
        return Batch(pixels, torch.tensor(labels, dtype=whole), torch.tensor(indices, dtype=whole), tuple(unreadable))


def training_images(config: RunConfig) -> FolderImages:
    """A random crop of each image, mirrored or not, as ImageNet is usually trained."""
    import_torchvision()
    from torchvision.transforms import v2

    samples = image_tree(Path(config.data_dir or "")).training
    if config.samples_per_epoch < len(samples):
        random = torch.Generator().manual_seed(config.seed)
        chosen = torch.randperm(len(samples), generator=random)[: config.samples_per_epoch]
        samples = [samples[number] for number in chosen.tolist()]
    crop = v2.RandomResizedCrop(config.image_size, antialias=True)
    transform = v2.Compose([crop, v2.RandomHorizontalFlip(), v2.PILToTensor()])
    return FolderImages(samples, transform, config.seed, attempts=MAX_UNREADABLE_IN_A_ROW)


def validation_images(config: RunConfig) -> FolderImages | None:
    """The middle of each image of `val/`, as torchvision's references cut it: the shorter side to 256 / 224 of the
    crop. None where there are none."""
    samples = image_tree(Path(config.data_dir)).validation if config.data_dir else []
    if not samples:
        return None
    import_torchvision()
    from torchvision.transforms import v2

    resize = v2.Resize(round(config.image_size * 256 / 224), antialias=True)
    return FolderImages(samples, v2.Compose([resize, v2.CenterCrop(config.image_size), v2.PILToTensor()]))


def _decoded(path: str, unreadable: list[str]) -> Any:
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
