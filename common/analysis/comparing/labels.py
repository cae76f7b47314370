"""How rows are called: labels that are short and unique within their group, and what tells rows of one name apart."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from common.analysis.comparing.facts import OPTIONS, Facts, ddp_flags, differences, without_options
from common.records import Method

if TYPE_CHECKING:
    from common.analysis.comparing.groups import Row

METHOD_ORDER: dict[Method, int] = {"single": 0, "dp": 1, "ddp": 2}
SHORT_NAMES: dict[Method, str] = {"single": "One device", "dp": "DP", "ddp": "DDP"}
LONG_NAMES: dict[Method, str] = {"single": "One device", "dp": "DataParallel", "ddp": "DistributedDataParallel"}


def label_rows(rows: Iterable[Row]) -> None:
    """`DDP × 2`; `DDP × 2 (b)` where several have that name; with other options of DDP: `DDP × 2 with --one-bucket`."""
    alike: dict[str, list[Row]] = {}
    for row in rows:
        if row.standard is None:
            alike.setdefault(_name(row), []).append(row)
    for name, same in alike.items():
        told = [_told(row) for row in same]
        telling = sorted({key for facts in told for key in facts if len({other.get(key) for other in told}) > 1})
        for position, (row, facts) in enumerate(zip(same, told, strict=True)):
            row.label = name if len(same) == 1 else f"{name} ({_letters(position)})"
            row.variant = ", ".join(
                facts.get(key, "n/a") if key == OPTIONS else f"{key} {facts.get(key, 'n/a')}" for key in telling
            )
    for row in rows:
        if row.standard is not None:
            row.variant = ddp_flags(row.record.config.ddp)
            # A run that failed parity is not pooled with its repeats: there may be two rows of these options.
            row.label = f"{row.standard.label} with {row.variant}{'' if row.is_valid else ' (not valid)'}"


def named_differences(rows: Iterable[Row]) -> list[str]:
    """What differs between the rows although they are compared; options of DDP that were tried are told elsewhere."""
    return differences((row.label, _told(row)) for row in rows if row.standard is None)


def _name(row: Row) -> str:
    world = row.record.world
    where = f" on {world.nodes} nodes" if world.nodes > 1 else ""
    return SHORT_NAMES[row.method] + ("" if row.method == "single" else f" × {world.devices}{where}")


def _told(row: Row) -> Facts:
    """The row's facts, those on DDP's options as the flags that set them."""
    options = {OPTIONS: ddp_flags(row.record.config.ddp) or "the defaults"} if row.method == "ddp" else {}
    return without_options(row.facts) | options


def _letters(position: int) -> str:
    """0, 1, … 25, 26 -> a, b, … z, aa."""
    return (_letters(position // 26 - 1) if position >= 26 else "") + "abcdefghijklmnopqrstuvwxyz"[position % 26]
