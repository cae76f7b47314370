"""What a fault is: two commands that a person could type, and how to know the sentence that names it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from common.faults.marked_processes import Processes
from common.records import FaultName, FaultNeed


@dataclass(frozen=True)
class Act:
    """What is done to a running command from outside."""

    after: str
    """A pattern: it is done once the output has a line with it."""
    do: Callable[[Processes], None]


class Changes(NamedTuple):
    """What is another where there are GPUs."""

    start: str
    cured: str
    named: str = ""
    """Nothing where it is the same."""


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
    cured_act: Act | None = None
    needs: tuple[FaultNeed, ...] = ()
    on_gpus: Changes | None = None
    limit: float = 120
    """Seconds after which either command is ended."""
