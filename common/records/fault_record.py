"""What `make faults` found about a fault that was caused on purpose."""

import tomllib
from functools import cache
from pathlib import Path
from typing import Literal

from common.records.fields import AnyRecord, Count, Seconds, Texts

FAULTS_TABLE = Path(__file__).parents[2] / "lessons" / "fault_lab" / "faults.toml"


@cache
def fault_names() -> tuple[str, ...]:
    """Every fault of the table, in the order in which they are caused. `fault.<name>.title` is its name on the page."""
    return tuple(name for name in tomllib.loads(FAULTS_TABLE.read_text(encoding="utf-8")) if name != "parts")


FaultNeed = Literal["linux", "gpu", "two_gpus", "namespaces", "traffic_control", "prlimit"]
"""What a machine may lack for a fault: Linux, one GPU or two, mounts or networks of one's own, `tc`, `prlimit`."""


class FaultRecord(AnyRecord):
    """What `make faults` writes of each fault that it has caused on purpose, or could not cause here: what it looked
    like, the sentence that named it, and whether its cure cured it."""

    kind: Literal["fault"] = "fault"
    fault: str
    started_at: str
    """UTC, ISO 8601."""
    hostname: str
    torch: str
    missing: FaultNeed | None = None
    """What this machine lacks for it; then it was not caused, and nothing below is known."""
    command: str
    """What was started, as one would type it; `$SCRATCH` is a folder of its own."""
    seconds: Seconds = 0.0
    seen: Texts = []
    """The last lines of its output."""
    named_by: Literal["record", "console"] | None = None
    """Where the sentence stood: in the run's record, or in what was printed. None where nothing named the fault."""
    sentence: str = ""
    cure_command: str
    cure_seconds: Seconds = 0.0
    cured: bool = False
    """Whether the cure's command ended well, without that sentence."""
    processes_left: Count = 0
    """Processes of the two commands that were still there some seconds after they had ended, and were killed."""

    @property
    def is_solved(self) -> bool:
        """Caused, named, cured, and nothing left behind."""
        return bool(self.named_by and self.cured and not self.processes_left)
