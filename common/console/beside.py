"""A run beside the newest one that did the same work here: the answer of 03 and 04, before step 05 is asked."""

from __future__ import annotations

from pathlib import Path

from common.records import Method, Record, RunConfig, machine_of, settings_of, throughput
from common.records.files import read_regular
from common.sentences import Sentences

ALIKE = [name for name, one in settings_of(RunConfig).items() if one.compared == "group" and not one.exempt]
"""Of the configuration: only runs that agree in these are compared, as in step 05."""
EARLIER: dict[Method, tuple[Method, ...]] = {"single": (), "dp": ("single",), "ddp": ("single", "dp")}
STEP: dict[Method, str] = {"single": "02", "dp": "03", "ddp": "04"}
MAX_READ = 20
"""Files that are looked into for each earlier step, the newest first: a folder may hold thousands."""


def ratios_to_earlier(record: Record, folder: Path, words: Sentences) -> list[str]:
    """`0.66 × step 02 (1,693 samples/s, same 64 per device)`, for each earlier step of which there is such a run."""
    return [line for method in EARLIER[record.method] if (line := _ratio(record, folder, method, words))]


def _ratio(record: Record, folder: Path, method: Method, words: Sentences) -> str | None:
    for field in ("per_device_batch_size", "global_batch_size"):
        other = _newest(record, folder, method, field)
        if other:
            speed, theirs = throughput(record) or 0.0, throughput(other) or 0.0
            values = {"step": STEP[method], "throughput": theirs, "batch": getattr(record.config, field)}
            return words.say(f"beside.{field}", ratio=speed / theirs, **values)
    return None


def _newest(record: Record, folder: Path, method: Method, field: str) -> Record | None:
    start = f"{STEP[method]}_{method}_{record.config.model}_"
    files = [path for path in folder.iterdir() if path.name.startswith(start) and path.suffix == ".json"]
    for path in sorted(files, key=lambda path: path.name.rpartition("_")[2], reverse=True)[:MAX_READ]:
        if (other := _read(path)) and _does_the_same(record, other, field):
            return other
    return None


def _read(path: Path) -> Record | None:
    try:
        return Record.model_validate_json(read_regular(path))
    except (ValueError, OSError):
        return None  # step 05 says what is wrong with it


def _does_the_same(one: Record, other: Record, field: str) -> bool:
    devices = one.world.devices if other.method != "single" else 1
    return (
        other.status == "completed"
        and bool(throughput(other))
        and other.world.devices == devices
        and other.world.device_model == one.world.device_model
        and machine_of(other.environment) == machine_of(one.environment)
        and all(getattr(one.config, name) == getattr(other.config, name) for name in (*ALIKE, field))
        and (other.parity is None or other.parity.outcome != "failed")
    )
