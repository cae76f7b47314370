"""Parity: does the parallel model compute the gradient that one device computes from the same samples?"""

import copy
from collections.abc import Iterator, Set
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import chain
from math import inf, isfinite
from operator import itemgetter
from time import perf_counter
from types import SimpleNamespace

import torch
from torch import Tensor, nn

from common.examining.instruments import overridden
from common.machine.devices import LocalDevices, gathered
from common.machine.libraries import import_torchvision
from common.machine.precision import without_tf32
from common.records import DdpOptions, Parity
from common.training.batch import Batch, Nested, chunks
from common.training.by_file import left_unchanged
from common.training.models import TrainedModel
from common.training.training import Training

SAMPLES_PER_SHARD = 4

# The first pass is not like the others: after it DDP lays its buckets anew, and exchanges a static graph another way.
PASSES = 2

# Rounding in IEEE fp32 differs with the algorithm that cuDNN picks and the order of the sum: some 1e-6 to 1e-4. A
# gradient that misses one of n shards, or counts one twice, is off by about 1/n: 1e-2 still on a hundred devices.
TOLERANCE = 1e-3

# A parameter without influence on the loss (a bias before a BatchNorm) has a gradient of pure rounding noise, and two
# such are never alike. Below this part of the typical size of the whole gradient, the difference is compared with that;
# and where fp64 says that a gradient is noise for the most part, with that size itself.
NOISE_FLOOR = 1e-4
MOSTLY = 0.5


# What a gradient loses on its way through 16 bits: fp16 rounds to 2**-11 and loses what is below 6e-8, bf16 rounds to
# 2**-9, each rank's gradient and every sum. A fault smaller than that, on some fifty ranks, would hide behind it.
COMPRESSED_TOLERANCE = {"fp16": 1e-2, "bf16": 2e-2}

# BatchNorm that is synchronised sums in another order, and a ReLU that switches for it carries the difference on: 2 %
# with resnet50, which is as far as fp32 itself is from fp64 there. So its tolerance is measured; what varies between
# two such errors is well below this factor. A gradient that misses one of two shards is off by 50 %.
ROUNDING_MARGIN = 5
NOTES = {
    "fp16": "gradients are rounded to fp16 for the exchange: not exact",
    "bf16": "gradients are rounded to bf16 for the exchange: not exact",
    "powersgd": "checked while PowerSGD is exact still; the training steps exchange an approximation, not exact",
}
NOT_COMPARABLE = (
    "with --sync-bn one device sees all samples at once, and the model draws random numbers in forward: other ones"
)


def check_parity(training: Training, devices: LocalDevices) -> Parity:
    """Compare the gradient of the wrapped model with one device's, before the first step, twice.

    One small global batch (two micro-batches of it with `--accumulation-steps`), equal shards, IEEE fp32, no dropout.
    It goes through the script's own step, whose optimizer only reads the gradients. The reference runs the bare
    model on this process's first device, shard by shard, as BatchNorm sees the samples, and averages. Every rank
    compares, so that a rank that has the wrong gradient shows whichever it is; the worst of all is the result.
    Gradients and buffers are left as they were found: none, and untouched. A compressed exchange is given more
    tolerance and says so; synchronised BatchNorm is compared with one device that sees a whole micro-batch at once, and
    may differ by `ROUNDING_MARGIN` times what fp32 itself differs from fp64 there; a model that draws random numbers in
    `forward` draws others for a whole batch, and is not compared.
    """
    count, module, dataset = devices.world.devices, training.module, training.loader.dataset
    if count == 1 and training.model is module:
        return Parity(outcome="not applicable", note="one device is the reference itself")
    started = perf_counter()
    options = training.config.ddp or DdpOptions()
    parts = min(2, training.config.accumulation_steps)
    per_shard = min(SAMPLES_PER_SHARD, len(dataset) // (count * parts))
    batch = dataset.__getitems__([(0, index) for index in range(per_shard * count * parts)])
    tolerance = COMPRESSED_TOLERANCE.get(options.comm_hook, TOLERANCE)
    shards = parts if options.sync_bn else count * parts
    errors = []
    with ieee_fp32(module):
        if options.sync_bn and draws_random_numbers(module, batch.to(devices.device)[0], devices.device):
            return Parity(outcome="not applicable", shards=count, note=NOT_COMPARABLE)
        reference = reference_gradient(module, batch, shards, devices.device)
        if options.sync_bn:
            in_fp64 = reference_gradient(module, batch, shards, devices.device, in_fp64=True)
            tolerance = max(tolerance, ROUNDING_MARGIN * largest_error(reference, in_fp64)[0])
        for _ in range(PASSES):
            gradient = parallel_gradient(training, batch, parts, devices)
            largest = largest_error(gradient, reference)
            if largest[0] > tolerance:  # fp64 takes long on many GPUs: it is asked only now
                in_fp64 = reference_gradient(module, batch, shards, devices.device, in_fp64=True)
                noise = {name for name, own in reference.items() if (own - in_fp64[name]).norm() > MOSTLY * own.norm()}
                largest = largest_error(gradient, reference, noise)
            errors.append(largest)
    error, worst = max(chain.from_iterable(gathered(errors)), key=itemgetter(0))
    passed = error <= tolerance
    return Parity(
        outcome="passed" if passed else "failed",
        max_relative_error=error if isfinite(error) else None,
        worst_parameter=worst,
        tolerance=tolerance,
        samples=len(batch.indices),
        shards=count,
        seconds=perf_counter() - started,
        note=NOTES.get(options.comm_hook, "")
        if passed
        else f"the gradient of {worst} is not the one that one device computes",
    )


@contextmanager
def ieee_fp32(model: TrainedModel) -> Iterator[None]:
    """IEEE fp32, the same random numbers in each forward pass, buffers put back at the end: the same samples give the
    same gradient twice.

    Layers that are nothing but random are switched off: in fp64, and where a batch is not cut up, they would draw other
    numbers. Everything else that draws (attention's own dropout, `torch.rand`, NumPy) draws the same again.
    """
    random_kinds = (nn.modules.dropout._DropoutNd, import_torchvision().ops.StochasticDepth)
    of_model = overridden(model, autocast_dtype=None, repeats_random_numbers=True)
    with without_tf32(), left_unchanged(model), of_model, ExitStack() as layers:
        for layer in model.modules():
            if isinstance(layer, random_kinds):
                layers.enter_context(overridden(layer, training=False))
        yield


def draws_random_numbers(model: TrainedModel, inputs: Nested, device: torch.device) -> bool:
    """Whether a forward pass takes numbers from torch's generator of `device`. Within `ieee_fp32`."""
    generator = torch.cuda.default_generators[device.index] if device.type == "cuda" else torch.default_generator
    before = generator.get_state()
    with torch.no_grad(), overridden(model, repeats_random_numbers=False):
        model(inputs)
    has_drawn = not torch.equal(generator.get_state(), before)
    generator.set_state(before)
    return has_drawn


def reference_gradient(
    module: TrainedModel, batch: Batch, shards: int, device: torch.device, in_fp64: bool = False
) -> dict[str, Tensor]:
    """The mean over the shards of one device's gradient, by parameter name; that in fp64 shows how far that of fp32 is
    rounding."""
    # A copy: DDP has hooks on the model's own parameters, and a static graph would count these passes as its own.
    model = copy.deepcopy(module)
    if in_fp64:
        model.double()
    for shard in chunk(batch, shards):
        inputs, targets = shard.to(device)
        loss = model.loss(model(inputs), targets) / shards
        loss.backward()
    return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}


def parallel_gradient(training: Training, batch: Batch, parts: int, devices: LocalDevices) -> dict[str, Tensor]:
    """The gradient that this process's optimizer would step with, by parameter name: each process feeds its part of
    each of the `parts` micro-batches."""
    gradients: dict[str, Tensor] = {}

    def take() -> None:
        for name, parameter in training.module.named_parameters():
            if parameter.grad is not None:
                gradients[name], parameter.grad = parameter.grad.detach().clone(), None

    # In place of an optimizer: it keeps the gradients that it would step with, and leaves the weights alone.
    reader = SimpleNamespace(step=take, zero_grad=lambda set_to_none=True: None)
    unscaled = training.config.model_copy(update={"precision": "ieee-fp32"})
    mine = [chunk(micro_batch, devices.world.processes)[devices.rank] for micro_batch in chunk(batch, parts)]
    replace(training, optimizer=reader, config=unscaled).step(mine)
    return gradients


def chunk(batch: Batch, parts: int) -> list[Batch]:
    """A batch in so many parts of equal size."""
    return [Batch(*part) for part in chunks((batch.inputs, batch.targets, batch.indices), parts)]


def largest_error(
    gradient: dict[str, Tensor], reference: dict[str, Tensor], noise: Set[str] = frozenset()
) -> tuple[float, str]:
    """Largest ‖g − ref‖ / ‖ref‖ over the parameters, and the parameter's name; infinite where not finite.

    Those of `noise` may differ by as much as a parameter of the typical size may.
    """
    elements = sum(g.numel() for g in reference.values())
    typical = sum(g.double().square().sum().item() for g in reference.values()) ** 0.5 / elements**0.5
    errors = {}
    for name, expected in reference.items():
        floor = typical if name in noise else NOISE_FLOOR * typical
        scale = max(expected.norm().item(), floor * expected.numel() ** 0.5)
        difference = (gradient[name] - expected).norm().item() if name in gradient else inf
        error = difference / scale if scale else difference
        errors[name] = error if isfinite(error) else inf
    worst = max(errors, key=errors.__getitem__)
    return errors[worst], worst
