"""Commands that a reader is asked to run, so that their records land in the group of those that are there."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from common.records import (
    METHODS,
    EnvironmentRecord,
    Method,
    Record,
    machine_of,
    unusual_settings,
)


def torchrun(devices: int, record: Record, checks: Sequence[EnvironmentRecord]) -> str:
    """How torchrun starts so many ranks on the machine of a record: with an address where the newest of step 01's
    `checks` there says that the host does not find itself by its name, for which torchrun would wait for minutes."""
    here = machine_of(record.environment)
    found = [check.own_name_found for check in checks if machine_of(check.environment) == here]
    address = "--local-addr=127.0.0.1 " if found and found[-1] is False else ""
    return f"torchrun --standalone {address}--nproc_per_node={devices}"


def training_command(
    record: Record,
    method: Method,
    checks: Sequence[EnvironmentRecord],
    devices: int = 1,
    batch: int | None = None,
    epochs: int | None = None,
) -> str:
    """02, 03 or 04 with the settings of a record; `batch`, that of one device, and `epochs` as there where left out.

    `checks`: records of step 01, the newest last, which say what torchrun needs there.
    """
    config, host = record.config, record.environment
    batch = batch or config.per_device_batch_size
    has_replicas = METHODS[method].has_replicas
    sizes = {
        "--model": config.model,
        "--batch-size": batch * devices if has_replicas else batch,
        "--epochs": epochs or config.epochs,
        "--samples-per-epoch": config.samples_per_epoch,
        "--image-size": config.image_size,
        "--precision": config.precision,
    }
    unusual = [one for one in unusual_settings(config) if not (has_replicas and one.declared.not_with_replicas)]
    sizes |= {f"--{one.declared.flag}": one.value for one in unusual if not isinstance(one.value, bool)}
    if config.data_dir:
        sizes["--data-dir"] = config.data_dir
    if record.world.device_kind == "cpu" and host.gpus:
        sizes["--device"] = "cpu"
    if has_replicas:  # they share a GPU where there is one only
        one_gpu = record.world.device_kind == "cuda" and len(host.gpus) == 1
        sizes[METHODS[method].devices_flag] = ",".join(["0"] * devices if one_gpu else map(str, range(devices)))
    words = [str(part) for pair in sizes.items() for part in pair]
    words += [word for one in unusual if isinstance(one.value, bool) for word in one.words]
    words += METHODS[method].flags.split()
    starter = torchrun(devices, record, checks) if METHODS[method].launcher == "torchrun" else "python"
    return f"{starter} {METHODS[method].script} {shlex.join(words)}"
