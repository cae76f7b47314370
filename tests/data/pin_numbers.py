"""Writes `pinned_numbers.json`: what step 05 says of some example records, from this very tree.

    python tests/data/pin_numbers.py

A change that moves none of these numbers needs no new file. One that does is made on purpose, and `git diff` of the
file shows what it has moved. That the throughputs are right, and not only as before, the test that reads it checks by a
formula of its own.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from analysis.views import WORDS, label  # noqa: E402

from common.analysis.comparing.rows import Row  # noqa: E402
from common.analysis.comparing.utilisation import mfu_of  # noqa: E402
from common.analysis.judging.verdicts import group_verdicts  # noqa: E402
from common.analysis.reading.folder import read_folder  # noqa: E402
from common.analysis.sections.comparison import group_title  # noqa: E402
from common.analysis.sections.group import GroupResults  # noqa: E402
from common.analysis.sections.report import build_report  # noqa: E402
from common.analysis.statistics.estimates import Estimate  # noqa: E402

FILE = ROOT / "tests" / "data" / "pinned_numbers.json"
EXAMPLES = ("cpu", "h100x2", "h200", "h200-practice", "h200x2-batch256", "h200x4")


def main() -> None:
    """Write the file anew."""
    pinned = {name: _example(ROOT / "results" / "examples" / name) for name in EXAMPLES}
    FILE.write_text(json.dumps(pinned, indent=1, ensure_ascii=False) + "\n")


def _example(folder: Path) -> list[dict]:
    parts = build_report(read_folder(folder)).groups
    return [_row(part, row) for part in parts for row in part.group.rows]


def _row(part: GroupResults, row: Row) -> dict:
    profile, energy, mfu = row.profile, row.energy, mfu_of(row)
    pinned = {
        "group": WORDS.text(group_title(part.group)),
        "label": label(row),
        "devices": row.devices,
        "runs": [run.file for run in row.runs],
        "baseline": label(row.baseline) if row.baseline else None,
        **{name: _ends(getattr(row, name)) for name in ("throughput", "epoch_time", "speed_up", "efficiency")},
        "peak_bytes": [peak.peak_bytes for peak in row.memory],
        "static_bytes": [peak.static_bytes for peak in row.memory],
        "joules_per_thousand_samples": energy.per_thousand.value if energy else None,
        "mfu": _ends(mfu) if isinstance(mfu, Estimate) else None,
        "data_wait_share": row.data_wait_share,
        "step": _ends(profile.slowest.step if profile else None),
        "phases": {name: _ends(phase) for name, phase in profile.slowest.phases.items()} if profile else None,
        **{cost: _ends(getattr(profile, cost) if profile else None)
           for cost in ("exposed", "overlap_gain", "whole_exchange")},
    }  # fmt: skip
    if row is part.group.rows[0]:
        pinned["verdicts_of_group"] = [
            [WORDS.text(verdict["one"]), WORDS.text(verdict["other"]), *_ends(verdict["ratio"])]
            for verdict in group_verdicts(part.group)
        ]
    return pinned


def _ends(estimate) -> list | None:
    """The value, and both ends of its interval."""
    return [estimate.value, *(estimate.interval or (None, None))] if estimate else None


if __name__ == "__main__":
    main()
