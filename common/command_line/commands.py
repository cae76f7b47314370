"""The command that started a run, and the one that comes after it."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path

from common.command_line.host_checks import startable
from common.records import METHODS, Environment, Launch, Record, RunConfig, World, settings_of, unusual_settings

LAUNCH_VARIABLE = "LAB_LAUNCH"
"""By it a campaign tells a run its place, so that the command stays the one that a person would type."""
FORMER_FLAGS = {f"--{one.formerly}": f"--{one.flag}" for one in settings_of(RunConfig).values() if one.formerly}


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
    refused = any(one.declared.not_with_replicas for one in unusual_settings(record.config))
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
