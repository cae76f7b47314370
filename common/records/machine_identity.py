"""Which machine: an anonymous identity, told by what the machine has and not by what it is called.

Two machines may share one host name, and a container gets a new one each time it starts.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

from common.records.host import Environment

SALT = "DataParallel lab, which machine: "
"""So that a hash of this lab can be compared with no other list of hashes."""
DIGITS = 12
BY_NAME = "by-name-"
"""Begins an identity that rests on the host's name."""


def machine_of_gpus(uuids: Iterable[str]) -> str:
    """By all of its GPUs, in whatever order."""
    return _hash("gpus", *sorted(uuids))


def machine_of_host(id: str, cpu_model: str) -> str:
    """By an id of the system, and by its CPU: copies of one virtual machine may have one id."""
    return _hash("host", id, cpu_model)


def machine_of(environment: Environment) -> str:
    """The identity that a record has. Of an older one that has none, the same is computed by the UUIDs of its GPUs;
    without these by its name, processor and GPU models, and begins with `BY_NAME`."""
    if environment.machine:
        return environment.machine
    uuids = [gpu.uuid for gpu in environment.gpus]
    if uuids and all(uuids):
        return machine_of_gpus(filter(None, uuids))
    names = (gpu.name for gpu in environment.gpus)
    return BY_NAME + _hash(
        "name", environment.hostname, environment.cpu_model, str(environment.cpu_cores), *sorted(names)
    )


def _hash(*parts: str) -> str:
    return sha256((SALT + "\n".join(parts)).encode(errors="surrogatepass")).hexdigest()[:DIGITS]
