"""The command that started a run and the one that comes after it, and what of this host keeps a command from starting.

torchrun lets the ranks meet at the host's own name, even if there is one node only. Where no name service knows that
name (a container's, a laptop's in another network), torchrun --standalone waits for minutes before any line of the lab
runs (pytorch#150532), unless it is told another address. Environment variables may slow a run, too; those that steer
NCCL and gloo stand in `World.transport`. Imports no torch.
"""

import argparse
import os
import shlex
import socket
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path

from common.errors import UsageError
from common.messages import Message, message
from common.records import METHODS, Environment, Launch, Record, RunConfig, World, settings_of, unusual_settings

LAUNCH_VARIABLE = "LAB_LAUNCH"
"""By it a campaign tells a run its place, so that the command stays the one that a person would type."""
FORMER_FLAGS = {f"--{one.formerly}": f"--{one.flag}" for one in settings_of(RunConfig).values() if one.formerly}
LOOPBACK = "127.0.0.1"
STANDALONE = "torchrun --standalone"
MAX_SECONDS = 1.5
"""Longer than a name service needs that answers at all; torchrun asks it more than once."""

STEERING = (
    "ATEN_", "CUBLAS_", "CUDA_DEVICE_MAX_CONNECTIONS", "CUDA_LAUNCH_BLOCKING", "CUDNN_", "DNNL_", "GOMP_", "HIP_LAUNCH",
    "HSA_", "KMP_", "LD_PRELOAD", "MALLOC_", "MIOPEN_", "MKL_", "NVIDIA_TF32_OVERRIDE", "OMP_", "ONEDNN_",
    "PYTHONDEVMODE", "PYTHONMALLOC", "PYTORCH_ALLOC", "PYTORCH_CUDA_ALLOC", "PYTORCH_HIP_ALLOC",
    "PYTORCH_NO_CUDA_MEMORY", "PYTORCH_TUNABLEOP", "TORCHDYNAMO_", "TORCHINDUCTOR_", "TORCH_ALLOW_TF32", "TORCH_BLAS",
    "TORCH_COMPILE", "TORCH_CUDNN", "TORCH_DISTRIBUTED_DEBUG", "TORCH_NCCL_",
)  # fmt: skip
"""How their names begin."""
OF_OTHERS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "TORCH_NCCL_ASYNC_ERROR_HANDLING")
"""Set by torchrun, or overruled: a device is one thread, and `World.threads_per_device` says so."""
OFF = ("", "0", "false", "no", "off", "default")
BINDING = ("OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY")
"""By them OpenMP binds the thread that loads torch to one core."""
SLOWING = ("CUDA_LAUNCH_BLOCKING", "PYTHONDEVMODE", "PYTORCH_NO_CUDA_MEMORY_CACHING", "TORCH_NCCL_BLOCKING_WAIT")
"""Help to find faults, and slow every step."""

SLOWS = message("{setting} is set: it helps to find faults and slows every step; unset {name}, and measure again")
MAY_END = message("{setting} is set: it slows every step, and torch 2.14 may end with SIGSEGV; unset {name}")
BINDS = message("{setting} is set: OpenMP binds all ranks to the core that torchrun itself runs on; unset {name}")


def command_line(world: World) -> str:
    """The command that started this run, as a person would type it."""
    starter = "python"
    if world.backend:
        nodes = f"--nnodes={world.nodes}" if world.nodes > 1 else "--standalone"
        starter = f"torchrun {nodes} --nproc_per_node={world.processes // world.nodes}"
    return startable(f"{starter} {shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])}")


def launched_by_campaign() -> Launch | None:
    """The place of this run in the campaign that has started it; None where a person has."""
    try:
        return Launch.model_validate_json(os.environ.get(LAUNCH_VARIABLE, ""))
    except ValueError:
        return None


def next_command(record: Record) -> str:
    """The step after this one, with the same model and per-device batch, on the devices that there are."""
    own = METHODS[record.method]
    later = (method for method in METHODS.values() if method.step > own.step)
    refused = any(one.not_with_replicas for one, _ in unusual_settings(record.config))
    following = next((method for method in later if not (refused and method.has_replicas)), None)
    if following is None:
        given, _ = _read("--results-dir", "--lang")
        arguments = ["--results-dir", given["results_dir"] or "results", "--generate-plots"]
        arguments += ["--lang", given["lang"]] if given["lang"] else []
        return f"python {shlex.join(['05_performance_comparison.py', *arguments])}"
    per_device = record.config.per_device_batch_size
    run_specific = ("--checkpoint-dir", "--checkpoint-every", "--resume")
    _, arguments = _read("--batch-size", "--gpus", "--threads", "--accumulation-steps", *run_specific)
    arguments = [argument for argument in arguments if argument != "--auto-accumulate"]  # it has done its work
    if record.config.accumulation_steps > 1:  # what was asked for, or what --auto-accumulate has found out
        arguments += ["--accumulation-steps", str(record.config.accumulation_steps)]
    devices = record.world.devices if own.is_parallel else default_count(record.environment)
    batch = per_device * devices if following.has_replicas else per_device
    return startable(following.command(shlex.join(["--batch-size", str(batch), *arguments]), devices))


def default_count(environment: Environment) -> int:
    """Devices that a first comparison uses: all GPUs; of CPU cores at most four, the published number of GPUs."""
    return len(environment.gpus) or min(environment.alike_cores, 4)


def _read(*names: str) -> tuple[dict[str, str | None], list[str]]:
    """The values of these options on the command line, and its other arguments: flags by the names they have now."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in names:
        parser.add_argument(name)
    given, others = parser.parse_known_args(sys.argv[1:])
    words = (word.partition("=") for word in others)
    return vars(given), [FORMER_FLAGS.get(flag, flag) + rest + value for flag, rest, value in words]


def startable(command: str) -> str:
    """A single-node command as it works on this host: where torchrun would not find the host by its name, with an
    address that it always has."""
    addressed = f"{STANDALONE} --local-addr={LOOPBACK}"
    if STANDALONE not in command or addressed in command or name_is_found():
        return command
    return command.replace(STANDALONE, addressed)


@cache
def name_is_found() -> bool:
    """Whether the host's own name leads to an address of this very host, in under two seconds."""
    addresses: list[object] = []

    def look() -> None:
        with suppress(OSError):  # no name service knows it
            for family, _, _, _, address in socket.getaddrinfo(socket.getfqdn(), 0):
                with suppress(OSError), socket.socket(family, socket.SOCK_STREAM) as server:
                    server.bind(address)
                    addresses.append(address)

    asking = threading.Thread(target=look, daemon=True)
    asking.start()
    asking.join(MAX_SECONDS)
    return bool(addresses)


def loopback_is_up() -> bool:
    """Whether processes of this host reach each other at 127.0.0.1, which all of torchrun's single-node runs need."""
    try:
        with socket.create_server((LOOPBACK, 0)) as server:
            socket.create_connection(server.getsockname(), timeout=MAX_SECONDS / 2).close()
    except OSError:
        return False
    return True


def check_interfaces(backend: str) -> None:
    """Raises `UsageError` where the backend is told to use a network interface that this host does not have.

    gloo takes names; NCCL takes beginnings of names, `=` before whole ones, `^` before those to leave alone.
    """
    variable = f"{backend.upper()}_SOCKET_IFNAME"
    value = os.environ.get(variable, "")
    wanted, here = value.removeprefix("="), [name for _, name in socket.if_nameindex()]
    if not value or (value.startswith("^") and backend == "nccl"):
        return
    names, by_beginning = tuple(filter(None, wanted.split(","))), backend == "nccl" and wanted == value
    if any(known in names or (by_beginning and known.startswith(names)) for known in here):
        return
    raise UsageError(
        f"{variable}={value} names no network interface of this host, which has {', '.join(here)}: correct or unset it"
    )


def steering_variables(environment: Mapping[str, str] = os.environ) -> str:
    """What is set of them, by name: `CUDA_LAUNCH_BLOCKING=1 ONEDNN_VERBOSE=0`."""
    names = sorted(name for name in environment if name.startswith(STEERING) and name not in OF_OTHERS)
    return " ".join(
        f"{name}={environment[name]}"
        for name in names
        # The lab sets the first for --deterministic; where compiled code lies changes no step.
        if (name, environment[name]) != ("CUBLAS_WORKSPACE_CONFIG", ":4096:8") and not name.endswith("_CACHE_DIR")
    )


def slowing_variables(in_ranks: bool, environment: Mapping[str, str] = os.environ) -> list[tuple[Message, str]]:
    """Those that spoil what is measured, as (what is said of it, `NAME=value`); `in_ranks`: under torchrun."""
    warnings = [(SLOWS, name) for name in SLOWING if environment.get(name, "").lower() not in OFF]
    level = environment.get("TORCH_DISTRIBUTED_DEBUG", "OFF").upper()
    if in_ranks and level != "OFF":  # of others that mean "off" elsewhere, "0" or nothing, torch itself ends
        warnings.append((MAY_END if level == "DETAIL" else SLOWS, "TORCH_DISTRIBUTED_DEBUG"))
    if in_ranks:
        warnings += [(BINDS, name) for name in BINDING if environment.get(name, "").lower() not in OFF]
    return [(warning, f"{name}={environment[name]}") for warning, name in warnings]
