"""The model of a workload as every device runs it, and how many floating-point operations it needs."""

import os
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from itertools import chain

import numpy as np
import torch
from torch import nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from common.command_line.model_names import model_name
from common.command_line.terminal import tell
from common.machine.devices import LocalDevices
from common.machine.precision import set_precision
from common.records import FlopKind, RunConfig
from common.training import by_library
from common.training.batch import Nested, map_tensors, tensors_of
from common.training.by_file import left_unchanged, try_first_step, workload_of_file
from common.training.data import first_batch
from common.training.user_file import file_of_model
from common.workload import Workload

BY_LIBRARY: dict[str, Callable[[RunConfig], Workload]] = {
    "torchvision": by_library.torchvision_workload,
    "timm": by_library.timm_workload,
    "hf": by_library.transformers_workload,
    "file": workload_of_file,
}
_ONE_AT_A_TIME = threading.Lock()
AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


class TrainedModel(nn.Module):
    """The model of a workload, from the inputs of a batch to its outputs.

    What is done with inputs, and autocast, happen in here, and not in the training loop, because `forward` is what
    DataParallel runs on every device: its threads would otherwise normalise images on device 0 alone, and would restore
    autocast without its dtype (bf16 outside would be fp16 inside).
    """

    def __init__(self, workload: Workload, config: RunConfig) -> None:
        super().__init__()
        self.backbone, self.prepare = workload.model, workload.prepare
        self.loss, self.own_optimizer = workload.loss or by_library.own_loss, workload.optimizer
        """`loss` of outputs and targets is a scalar, the mean over the batch."""
        self.autocast_dtype = AUTOCAST.get(config.precision)
        self.memory_format = by_library.MEMORY_FORMATS[config.memory_format]
        self.repeats_random_numbers = False
        """Whether each forward pass draws the same, as the parity check needs it."""
        self.flops_by_kind: dict[FlopKind, int] | None = None
        """Floating-point operations of one sample's forward and backward, once they are counted."""

    def forward(self, inputs: Nested) -> Nested:
        """Outputs of the batch, those of 16 bits as float32: the loss is computed outside autocast."""
        device, dtype = tensors_of(inputs)[0].device, self.autocast_dtype
        randomness = same_random_numbers(device) if self.repeats_random_numbers else nullcontext()
        with randomness, torch.autocast(device.type, dtype=dtype) if dtype else nullcontext():
            inputs = self.prepare(inputs) if self.prepare else inputs
            if isinstance(inputs, dict):
                outputs = self.backbone(**inputs)
            else:
                outputs = self.backbone(*inputs) if isinstance(inputs, tuple | list) else self.backbone(inputs)
        return map_tensors(lambda tensor: tensor.float() if tensor.dtype in AUTOCAST.values() else tensor, outputs)


def create_workload(config: RunConfig) -> Workload:
    """What `--model` names, its weights drawn from `config.seed`. Fills in what the configuration leaves to the model.

    Raises `UsageError` where there is no such model.
    """
    torch.manual_seed(config.seed)
    workload = BY_LIBRARY[model_name(config.model).library](config)
    config.unit, config.units_per_sample = workload.unit, workload.units_per_sample
    if workload.sample is not None:
        config.image_size = 0
    if config.optimizer == "own" and workload.optimizer is None:
        config.optimizer = "sgd"
    return workload


def create_model(workload: Workload, config: RunConfig, devices: LocalDevices) -> TrainedModel:
    """The model of a workload, on the first device of `devices`.

    Raises `UsageError` for samples or a batch that it cannot take, and for a precision that the device lacks.
    """
    set_precision(config.precision, devices.device)
    torch.backends.cudnn.benchmark = config.cudnn_benchmark
    if config.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS refuses to be deterministic
        torch.use_deterministic_algorithms(True)
    model = TrainedModel(workload, config).train()
    file = file_of_model(config)
    few = first_batch(workload, config) if file or workload.sample else None
    images = (config.smallest_micro_batch_size, 3, config.image_size, config.image_size)
    inputs = few.inputs if few else torch.empty(images, dtype=torch.uint8, device="meta")
    try:
        model.flops_by_kind = count_flops(model, inputs)
    except Exception as error:
        raise by_library.cannot_train(config, error) from None
    if config.ddp and config.ddp.sync_bn:
        model.backbone = nn.SyncBatchNorm.convert_sync_batchnorm(model.backbone)
    # Before any wrapping: DDP lays its buckets in the memory format that it finds.
    model.to(devices.device, memory_format=model.memory_format)
    if file and few:
        warnings = try_first_step(model, few, config, file)
        if devices.rank == 0:
            tell(*(f"warning: {warning}" for warning in warnings))
    seed_devices(devices, config.seed)
    return model


def seed_devices(devices: LocalDevices, seed: int) -> None:
    """Give every device of the run a random stream of its own.

    With one seed for all, dropout would take the same units from the samples of every rank and every replica.
    """
    first = seed + devices.rank * len(devices.indices)
    torch.manual_seed(first)
    for number, index in enumerate(devices.indices if devices.kind == "cuda" else ()):
        torch.cuda.default_generators[index].manual_seed(first + number)


@contextmanager
def same_random_numbers(device: torch.device) -> Iterator[None]:
    """Inside, the generators of torch, NumPy and Python begin at the same place each time; afterwards they go on.

    Threads share them, so that replicas of DataParallel take turns.
    """
    gpus = [device.index] if device.type == "cuda" else []
    with _ONE_AT_A_TIME, torch.random.fork_rng(devices=gpus):
        of_python, of_numpy = random.getstate(), np.random.get_state()
        for generator in (torch.default_generator, *(torch.cuda.default_generators[index] for index in gpus)):
            generator.manual_seed(0)
        random.seed(0)
        np.random.seed(0)
        try:
            yield
        finally:
            random.setstate(of_python)
            np.random.set_state(of_numpy)


def unwrap(model: nn.Module) -> TrainedModel:
    """The model inside a wrapper, or `model` itself."""
    return model if isinstance(model, TrainedModel) else model.module


def count_flops(model: TrainedModel, inputs: Nested) -> dict[FlopKind, int] | None:
    """Floating-point operations of one sample's forward and backward, a multiplication and an addition being two.

    Counted by torch (`torch.utils.flop_counter`) over convolutions and matrix products, of shapes alone; where that
    fails, as of a model that looks at its numbers, of one sample of `inputs`, unless they are meta tensors. None where
    torch cannot count this model's operations. Raises what the model itself raises for the shapes of meta tensors.
    """
    shapes = map_tensors(lambda tensor: tensor.to("meta"), inputs)
    dtype, model.autocast_dtype = model.autocast_dtype, None  # there is no autocast for meta tensors
    try:
        with left_unchanged(model):
            with suppress(Exception):
                return _counted(model, shapes)
            if any(tensor.is_meta for tensor in tensors_of(inputs)):
                _forward_of_copies(model, inputs)  # raises again if the model is at fault, and not the counter
            else:
                with suppress(Exception), sdpa_kernel(SDPBackend.MATH):
                    return _counted(model, map_tensors(lambda tensor: tensor[:1], inputs))
            return None
    finally:
        model.autocast_dtype = dtype


def _counted(model: nn.Module, inputs: Nested) -> dict[FlopKind, int]:
    with FlopCounterMode(display=False) as counter:
        outputs = tensors_of(_forward_of_copies(model, inputs))
        sum(output.sum() for output in outputs if output.requires_grad).backward()
    flops_by_kind: dict[FlopKind, int] = {"convolution": 0, "matmul": 0}
    for operation, flops in counter.get_flop_counts()["Global"].items():
        kind: FlopKind = "convolution" if "convolution" in str(operation) else "matmul"
        flops_by_kind[kind] += flops // len(tensors_of(inputs)[0])
    return flops_by_kind


def _forward_of_copies(model: nn.Module, inputs: Nested) -> Nested:
    """One forward that leaves gradients and buffers alone; on the meta device it costs neither memory nor time."""
    device, buffers = tensors_of(inputs)[0].device, ((name, one.clone()) for name, one in model.named_buffers())
    state = {
        name: tensor.detach().to(device).requires_grad_(tensor.requires_grad)
        for name, tensor in chain(model.named_parameters(), buffers)
    }
    # A batch norm leaves shapes as they are and is not counted: to find out its own would take most of the time.
    batch_norm = torch.batch_norm
    torch.batch_norm = lambda features, *rest: features if features.is_meta else batch_norm(features, *rest)
    try:
        return functional_call(model, state, (inputs,))
    finally:
        torch.batch_norm = batch_norm
