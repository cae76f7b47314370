"""A run beside the newest one that did the same work here: the answer of 03 and 04, before step 05 is asked."""

from __future__ import annotations

from pathlib import Path

from common.messages import message
from common.records import METHODS, Method, Record, RunConfig, machine_of, method_order, settings_of, throughput
from common.records.files import read_regular
from common.sentences import Sentences

ALIKE = [name for name, one in settings_of(RunConfig).items() if one.compared == "group" and not one.exempt]
"""Of the configuration: only runs that agree in these are compared, as in step 05."""
SAME_BATCH = {
    "per_device_batch_size": message("{ratio:ratio} × step {step} ({throughput}, same {batch} per device)"),
    "global_batch_size": message("{ratio:ratio} × step {step} ({throughput}, same {batch} in all)"),
}
"""How runs are compared, the better way first."""
MAX_READ = 20
"""Files that are looked into for each earlier step, the newest first: a folder may hold thousands."""


def ratios_to_earlier(record: Record, folder: Path, words: Sentences) -> list[str]:
    """`0.66 × step 02 (1,693 samples/s, same 64 per device)`, for each earlier step of which there is such a run."""
    earlier = list(METHODS)[: method_order(record.method)]
    return [line for method in earlier if (line := _ratio(record, folder, method, words))]


def _ratio(record: Record, folder: Path, method: Method, words: Sentences) -> str | None:
    for field, sentence in SAME_BATCH.items():
        other = _newest(record, folder, method, field)
        if other:
            speed, theirs = throughput(record) or 0.0, throughput(other) or 0.0
            form, each = record.config.rate
            values = {
                "step": METHODS[method].step,
                "throughput": words.number(form, each * theirs),
                "batch": getattr(record.config, field),
            }
            return words.text(sentence.with_values(ratio=speed / theirs, **values))
    return None


def _newest(record: Record, folder: Path, method: Method, field: str) -> Record | None:
    start = f"{METHODS[method].step}_{method}_{record.config.model}_"
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
    devices = one.world.devices if METHODS[other.method].is_parallel else 1
    return (
        other.status == "completed"
        and bool(throughput(other))
        and other.world.devices == devices
        and other.world.device_model == one.world.device_model
        and machine_of(other.environment) == machine_of(one.environment)
        and all(getattr(one.config, name) == getattr(other.config, name) for name in (*ALIKE, field))
        and (other.parity is None or other.parity.outcome != "failed")
    )
