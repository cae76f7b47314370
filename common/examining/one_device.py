"""What one device can tell before there are several: what a new thread costs its forward pass, the order and moments
of its gradients, the time for a replica, its convolutions.

Steps of their own, with hooks on layers and parameters: nothing else is measured in them.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from statistics import median
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import replicate

from common.examining.instruments import hooked, overridden
from common.examining.timed_steps import Experiment, orders_of_rounds, timed
from common.machine.devices import LocalDevices
from common.measuring.clocks import Mark, mark, seconds_between
from common.records import FORWARD_THREADS, ForwardThread, Gradients, LayerTimes, ThreadsOfForward
from common.training.batch import Batch, map_tensors, tensors_of
from common.training.data_parallel import DeviceThreads
from common.training.training import Training

STEPS, REPLICAS = 4, 5
"""Of what predictions start from. The first of each only settles what follows."""
LAYER_ROUNDS = 3
SAMPLES_ON_CORES = 4


def measure_forward_threads(experiment: Experiment) -> dict[str, Any]:
    """The times of steps whose forward pass runs in the main thread, a new one, a kept one.

    Kinds are warmed up and taken in rounds. On CPU cores forward passes of few samples are timed: the rest of a step
    runs in the main thread anyway, and a thread costs as much whatever it does. Then come a few passes more with hooks
    on every layer.
    """
    training, devices = experiment.training, experiment.devices
    batch, whole = experiment.batches[0], devices.kind == "cuda"
    samples = len(batch.indices) if whole else min(SAMPLES_ON_CORES, len(batch.indices))
    inputs = map_tensors(lambda tensor: tensor[:samples], batch.to(training.device)[0])
    forward = partial(training.model, inputs)
    work = partial(training.step, experiment.batches) if whole else forward
    kept = DeviceThreads(1)

    def timed_in(kind: ForwardThread) -> float:
        with _forward_in(kind, training.model, kept):
            return timed(devices, work)

    passes = experiment.in_rounds({kind: partial(timed_in, kind) for kind in FORWARD_THREADS})
    layers: dict[str, LayerTimes] = {}
    for order in orders_of_rounds(FORWARD_THREADS, LAYER_ROUNDS, training.config.seed):
        for kind in order:
            with _forward_in(kind, training.model, kept), _watched(training.model, layers, kind):
                timed(devices, forward)
    threads = ThreadsOfForward(
        timed="step" if whole else "forward", samples=samples, passes=passes, layers=list(layers.values())
    )
    return {"threads_of_forward": threads}


@contextmanager
def _forward_in(kind: ForwardThread, model: nn.Module, kept: DeviceThreads) -> Iterator[None]:
    """While open, `model` goes forward in a thread of this kind. A new one has the first GPU, as the model does."""
    forward = model.forward

    def in_thread(*inputs: object, **named: object) -> object:
        with_gradient = torch.is_grad_enabled()  # known to this thread alone

        def run(inputs: tuple) -> object:
            with torch.set_grad_enabled(with_gradient):
                return forward(*inputs, **named)

        threads = kept if kind == "kept_thread" else DeviceThreads(1)
        (outputs,) = threads.map(run, [inputs])
        return outputs

    with nullcontext() if kind == "main_thread" else overridden(model, forward=in_thread):
        yield


@contextmanager
def _watched(model: nn.Module, layers: dict[str, LayerTimes], kind: ForwardThread) -> Iterator[None]:
    """While open, each layer's time in a forward pass is entered into `layers`, by its name; of a layer that is called
    more than once, all calls together. A layer is a module without others in it."""
    begun: dict[str, float] = {}
    taken: dict[str, float] = {}
    shapes: dict[tuple, str] = {}  # filled in the first pass, in which `layers` is

    def begins(name: str, layer: nn.Module, inputs: tuple) -> None:
        if name not in layers:
            shape = shape_of_convolution(layer, inputs)
            same_as = shapes.setdefault(shape, name) if shape else name
            layers[name] = LayerTimes(
                name=name, type=type(layer).__name__, same_as="" if same_as == name else same_as, seconds={}
            )
        begun[name] = perf_counter()

    def ends(name: str, layer: nn.Module, inputs: tuple, outputs: object) -> None:
        taken[name] = taken.get(name, 0.0) + perf_counter() - begun[name]

    innermost = [(name, layer) for name, layer in model.named_modules() if not any(layer.children())]
    before = [layer.register_forward_pre_hook(partial(begins, name)) for name, layer in innermost]
    after = [layer.register_forward_hook(partial(ends, name)) for name, layer in innermost]
    with hooked(before + after):
        yield
    for name, seconds in taken.items():
        layers[name].seconds.setdefault(kind, []).append(round(seconds, 7))


def measure_for_prediction(experiment: Experiment) -> dict[str, Any]:
    """What a prediction for several devices starts from."""
    module, devices = experiment.training.module, experiment.devices
    with convolutions(experiment.training.model) as shapes:
        gradients = _gradients(experiment.training, devices)
    # The host's time to make one replica: torch's way on a GPU; a copy on CPU cores, as emulated DataParallel does.
    make = partial(replicate, module, devices.indices[:1]) if devices.kind == "cuda" else partial(copy.deepcopy, module)
    seconds = []
    for _ in range(REPLICAS):
        devices.synchronize()
        began = perf_counter()
        make()
        seconds.append(round(perf_counter() - began, 7))
    return {
        "gradients": gradients,
        "different_convolutions": len(shapes),
        "replicate_seconds": seconds[1:],
        "gathered_bytes": sum(gathered_bytes(experiment.training, batch) for batch in experiment.batches),
    }


def gathered_bytes(training: Training, batch: Batch) -> int:
    """Of the outputs of a forward pass, and of the gradients that the loss sends back to them."""
    inputs, targets = batch.to(training.device)
    with torch.no_grad():
        outputs = training.model(inputs)
    # As gathered: the loss sees tensors that have not come about on this device.
    outputs = map_tensors(lambda tensor: tensor.requires_grad_(tensor.is_floating_point()), outputs)
    gathered = tensors_of(outputs)
    trained = [tensor for tensor in gathered if tensor.requires_grad]
    back = torch.autograd.grad(training.loss(outputs, targets), trained, allow_unused=True)
    return sum(tensor.nbytes for tensor in (*gathered, *back) if tensor is not None)


def _gradients(training: Training, devices: LocalDevices) -> Gradients:
    """When the gradients of a step are complete: medians over steps of their own."""
    trained = [parameter for parameter in training.module.parameters() if parameter.requires_grad]
    ready: dict[int, Mark] = {}

    def note(number: int, _: Tensor) -> None:
        ready.pop(number, None)  # the last micro-batch of a step comes last, and its order counts
        ready[number] = mark(devices.device)

    upcoming, marks = training.endless_steps(), []
    with hooked(one.register_post_accumulate_grad_hook(partial(note, number)) for number, one in enumerate(trained)):
        for _ in range(STEPS):
            phases: dict[str, Mark] = {}
            training.step(next(upcoming), lambda name: phases.update({name: mark(devices.device)}))  # noqa: B023
            marks.append((phases["backward"], dict(ready), phases["optimizer"]))
    devices.synchronize()
    order = list(marks[-1][1])
    after = [[seconds_between(began, completed[number]) for number in order] for began, completed, _ in marks[1:]]
    return Gradients(
        bytes=[trained[number].nbytes for number in order],
        ready_seconds=[round(max(0.0, median(times)), 7) for times in zip(*after, strict=True)],
        backward_seconds=round(median(seconds_between(began, ended) for began, _, ended in marks[1:]), 7),
    )


@contextmanager
def convolutions(model: nn.Module) -> Iterator[set[tuple]]:
    """The different convolutions of the forward passes inside the `with`, as cuDNN would have to plan them."""
    shapes: set[tuple] = set()

    def note(layer: nn.Module, inputs: tuple[Tensor]) -> None:
        shapes.add(shape_of_convolution(layer, inputs))

    layers = [layer for layer in model.modules() if isinstance(layer, nn.modules.conv._ConvNd)]
    with hooked(layer.register_forward_pre_hook(note) for layer in layers):
        yield shapes


def shape_of_convolution(layer: nn.Module, inputs: tuple[Tensor]) -> tuple | None:
    """What a plan of cuDNN is made for: equal for convolutions of which the second finds the first one's plan; None for
    other layers."""
    if not isinstance(layer, nn.modules.conv._ConvNd):
        return None
    how = (layer.stride, layer.padding, layer.dilation, layer.groups)
    return inputs[0].shape, layer.weight.shape, how, layer.bias is None
