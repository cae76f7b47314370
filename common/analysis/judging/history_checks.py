"""Self-checks of a run's history: did it begin at its beginning, and could it read all of its images?"""

from __future__ import annotations

from common.analysis.comparing.facts import shorten
from common.analysis.judging.machine_checks import Answer
from common.records import Record

TIMES = {1: "once", 2: "twice"}


def start(record: Record) -> Answer:
    """Nothing of this can be wrong; it says what else belongs to this run."""
    resumed, restarts = record.resumed, record.world.restarts
    told = [f"restarted {TIMES.get(restarts, f'{restarts} times')} by torchrun"] if restarts else []
    if resumed:
        where = f"epoch {resumed.epoch}, after {resumed.steps_done:,} of its steps"
        told.append(f"goes on from {resumed.file} ({where}): what lies before is in another record")
        if resumed.skipped:
            told.append(f"newer checkpoints could not be read: {shorten(resumed.skipped)}")
    return "passed", "; ".join(told) or "from the first step on, without a restart"


def images(record: Record) -> Answer:
    if record.config.data_dir is None:
        return "not applicable", "synthetic images"
    names = record.unreadable_files
    if not names:
        return "passed", "every image could be read"
    told = f"{len(names):,} image{'s' if len(names) > 1 else ''} could not be read, and others took their place"
    return "warning", f"{told}: {shorten(names)}"
