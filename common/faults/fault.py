"""What a fault is: two commands that a person could type, and how to know the sentence that names it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from common.faults import acts
from common.faults.acts import ACTS, Act
from common.records import FAULTS_TABLE, FaultName, FaultNeed

NAMESPACE = ("unshare", "--map-root-user", "--mount", "--net", "true")


@dataclass(frozen=True)
class Fault:
    """One fault that a learner can cause. Its title and its cure are sentences, `fault.<id>.title` and `.cure`."""

    id: FaultName
    start: str
    """Causes it: for a shell, in the lab's folder. `$SCRATCH` is an empty folder, `$PORT` a free port."""
    cured: str
    """The same, cured."""
    named: str
    """A pattern: the sentence that names the fault has it, and no line of the cured command."""
    prepare: Callable[[Path], None] | None = None
    """Puts into `$SCRATCH` what both commands need."""
    act: Act | None = None
    """What is done to the running command from outside."""
    cured_act: Act | None = None
    needs: tuple[FaultNeed, ...] = ()
    on_gpus: Mapping[str, Any] = field(default_factory=dict)
    """Fields that are others where there are GPUs."""
    limit: float = 120
    """Seconds after which either command is ended."""

    def for_this_machine(self) -> Fault:
        """The same, as it is caused here."""
        return replace(self, **self.on_gpus) if self.on_gpus and gpus() else self


@cache
def all_faults() -> dict[str, Fault]:
    """Every fault of `faults.toml`, by its id, in the order in which they are caused."""
    tables = tomllib.loads(FAULTS_TABLE.read_text(encoding="utf-8"))
    parts = {"core": str(min(getattr(os, "sched_getaffinity", lambda pid: [0])(0)))}
    for name, text in tables.pop("parts").items():
        parts[name] = text.format_map(parts)
    by_name: dict[str, Mapping[str, Any]] = {"prepare": vars(acts), "act": ACTS, "cured_act": ACTS}
    faults = {}
    for id, fields in tables.items():
        for commands in (fields, fields.get("on_gpus", {})):
            commands |= {name: commands[name].format_map(parts) for name in ("start", "cured") if name in commands}
        fields |= {name: objects[fields[name]] for name, objects in by_name.items() if name in fields}
        faults[id] = TypeAdapter(Fault).validate_python({"id": id, **fields})
    return faults


def missing(fault: Fault) -> FaultNeed | None:
    """The first thing that is not here; None where the fault can be caused."""
    return next((need for need in fault.for_this_machine().needs if not NEEDS[need]()), None)


@cache
def gpus() -> int:
    """GPUs that torch can use. Asked in a process of its own: torch takes seconds to import, and opens them."""
    code = "import torch; print(torch.cuda.device_count())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    return int(done.stdout) if done.returncode == 0 else 0


@cache
def _works(*command: str) -> bool:
    return shutil.which(command[0]) is not None and subprocess.run(command, capture_output=True).returncode == 0


NEEDS: dict[FaultNeed, Callable[[], bool]] = {
    "linux": lambda: sys.platform == "linux",
    "gpu": lambda: gpus() >= 1,
    "two_gpus": lambda: gpus() >= 2,
    "namespaces": lambda: _works(*NAMESPACE),
    "traffic_control": lambda: _works(*NAMESPACE) and shutil.which("tc") is not None,
    "prlimit": lambda: shutil.which("prlimit") is not None,
}
"""Whether each thing that a fault may need is here."""
