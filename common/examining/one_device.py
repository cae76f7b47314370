"""What one device can say, before there are several: its gradients' order and moments, a replica, its convolutions.

Steps of their own, with a hook on every parameter: nothing else is measured in them.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from statistics import median
from time import perf_counter

from torch import Tensor, nn
from torch.nn.parallel import replicate

from common.machine.devices import LocalDevices
from common.measuring.clocks import Mark, mark, seconds_between
from common.records import Gradients, ProfileRecord
from common.training.training import Training

STEPS, REPLICAS = 4, 5
"""The first of each only settles what follows."""


def measure_for_prediction(training: Training, devices: LocalDevices, profile: ProfileRecord) -> None:
    """Enter into the profile of a model on one device what a prediction for several devices starts from."""
    with convolutions(training.model) as shapes:
        profile.gradients = _gradients(training, devices)
    profile.different_convolutions = len(shapes)
    profile.replicate_seconds = [_replica_seconds(training.module, devices) for _ in range(REPLICAS)][1:]


def _gradients(training: Training, devices: LocalDevices) -> Gradients:
    trained = [parameter for parameter in training.module.parameters() if parameter.requires_grad]
    ready: dict[int, Mark] = {}
    handles = [
        parameter.register_post_accumulate_grad_hook(partial(_note, ready, number, devices))
        for number, parameter in enumerate(trained)
    ]
    upcoming, marks = training.endless_steps(), []
    for _ in range(STEPS):
        phases: dict[str, Mark] = {}
        training.step(next(upcoming), lambda name: phases.update({name: mark(devices.device)}))  # noqa: B023
        marks.append((phases["backward"], dict(ready), phases["optimizer"]))
    for handle in handles:
        handle.remove()
    devices.synchronize()
    order = list(marks[-1][1])
    after = [[seconds_between(began, completed[number]) for number in order] for began, completed, _ in marks[1:]]
    return Gradients(
        bytes=[trained[number].nbytes for number in order],
        ready_seconds=[round(max(0.0, median(times)), 7) for times in zip(*after, strict=True)],
        backward_seconds=round(median(seconds_between(began, ended) for began, _, ended in marks[1:]), 7),
    )


def _note(ready: dict[int, Mark], number: int, devices: LocalDevices, _: Tensor) -> None:
    """A gradient is complete. The last micro-batch of a step comes last, and its order counts."""
    ready.pop(number, None)
    ready[number] = mark(devices.device)


@contextmanager
def convolutions(model: nn.Module) -> Iterator[set[tuple]]:
    """The different convolutions of the forward passes inside the `with`, as cuDNN would have to plan them."""
    shapes: set[tuple] = set()

    def note(layer: nn.Module, inputs: tuple[Tensor]) -> None:
        shapes.add(shape_of_convolution(layer, inputs))

    layers = [layer for layer in model.modules() if isinstance(layer, nn.modules.conv._ConvNd)]
    handles = [layer.register_forward_pre_hook(note) for layer in layers]
    yield shapes
    for handle in handles:
        handle.remove()


def shape_of_convolution(layer: nn.Module, inputs: tuple[Tensor]) -> tuple | None:
    """What a plan of cuDNN is made for: equal for convolutions of which the second finds the first one's plan; None for
    other layers."""
    if not isinstance(layer, nn.modules.conv._ConvNd):
        return None
    how = (layer.stride, layer.padding, layer.dilation, layer.groups)
    return inputs[0].shape, layer.weight.shape, how, layer.bias is None


def _replica_seconds(module: nn.Module, devices: LocalDevices) -> float:
    """The host's time to make one replica: torch's way on a GPU; a copy on CPU cores, as emulated DataParallel does."""
    devices.synchronize()
    began = perf_counter()
    if devices.kind == "cuda":
        replicate(module, [devices.indices[0]])
    else:
        copy.deepcopy(module)
    return round(perf_counter() - began, 7)
