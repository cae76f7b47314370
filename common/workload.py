"""What is trained: a model, its samples, its loss. A file of your own can return one. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

Unit = Literal["images", "tokens", "samples"]


@dataclass(kw_only=True)
class Workload:
    """A model with all that a training step needs to know of it.

    A batch has inputs and targets, each a tensor or a tuple or dict of tensors whose first dimension is the batch's.
    """

    model: nn.Module
    """From inputs to outputs: a tensor, or a tuple, dict or dataclass of tensors. It is called with a tensor, with the
    members of a tuple in their order, or with those of a dict by their names."""

    sample: Callable[[int, int], Any] | None = None
    """(seed, index) -> one sample: a pair (inputs, targets), or inputs alone, and the same for the same two numbers.
    None: synthetic images of `--image-size`, uint8, and labels; the model gets them normalised."""

    loss: Callable[[Any, Any], Tensor] | None = None
    """(outputs, targets) -> a scalar, the mean over the samples. None: the outputs are the loss, or have it under the
    name `loss`; else it is the cross-entropy of logits with labels."""

    unit: Unit = "samples"
    """What is counted."""

    units_per_sample: int = 1

    optimizer: Callable[[Iterable[nn.Parameter]], Optimizer] | None = None
    """From the parameters; None: SGD with momentum, or what `--optimizer` says."""

    prepare: nn.Module | None = None
    """What is done with a batch's inputs on its device, before the model has them."""
