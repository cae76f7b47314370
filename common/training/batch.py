"""What travels from a data set through its loader to the training."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

Sample = tuple[int, int]
"""(epoch, index): knowing both, augmentation can change from epoch to epoch without a word to the loader's workers."""


class Batch(NamedTuple):
    """Samples as they leave the loader."""

    images: Tensor
    """(batch, 3, height, width) uint8"""
    labels: Tensor
    """(batch,) int64"""
    indices: Tensor
    """(batch,) int64: which samples of the data set these are"""
    unreadable: tuple[str, ...] = ()
    """Files that could not be decoded, each with its reason"""
