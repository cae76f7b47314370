"""What a reader must know before the numbers: stand-ins for devices, what differs, and what is not compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from common.analysis.comparing.facts import BATCH, USUAL, Facts
from common.analysis.comparing.groups import Group, varying_facts
from common.content.messages import Message, message


def group_title(group: Group) -> Message:
    """`Weak scaling: resnet18, 64 px, ieee-fp32, …, 32 per device`."""
    key, kind = group.key, group.scaling if group.scales else "plain"
    batch = message(f"title.batch_{group.scaling}", value=list(key.values())[-1])
    parts = [*unusual_parts(key), batch]
    return message(f"title.{kind}", model=key["model"], device=key["device_model"], parts=parts)


def unusual_parts(key: Facts) -> list[Message]:
    """Settings of a group, `64 px`, `bf16`, but for those that have their usual value, for model, device and batch."""
    left_out = ("model", "device_model", *BATCH.values())
    return [
        message(f"title.{fact}", value=value)
        for fact, value in key.items()
        if fact not in left_out and USUAL.get(fact) != value
    ]


def group_short(group: Group) -> Message:
    """`Weak scaling: resnet50, 64 samples per device`, for the contents."""
    batch = message(f"title.batch_{group.scaling}", value=list(group.key.values())[-1])
    kind = group.scaling if group.scales else "plain"
    return message(f"contents.{kind}", model=group.key["model"], batch=batch)


def scaling_meaning(group: Group) -> Message:
    """What weak or strong scaling means, for the line under a title; nothing where all rows have as many devices."""
    return message(f"scaling.{group.scaling}" if group.scales else "nothing")


def images_of(group: Group) -> Message:
    """What the rows were trained on: the same for all but for the number of images, for which the largest stands."""
    config = group.rows[0].record.config
    id = "images.synthetic" if config.data_source == "synthetic" else "images.folder"
    samples = max(row.record.config.samples_per_epoch for row in group.rows)
    return message(id, source=config.data_source, samples=samples)


def banners(groups: Sequence[Group]) -> list[Message]:
    """For every run that was emulated, shared or oversubscribed."""
    rows = [row for group in groups for row in group.rows]
    kinds = {row.record.world.device_kind for row in rows}
    found = []
    if "cpu" in kinds:
        found.append(message("banner.cpu_in_some_groups" if "cuda" in kinds else "banner.cpu"))
    for flag in ("emulated", "shared", "oversubscribed"):
        names = list(dict.fromkeys(row.name for row in rows if getattr(row.record.world, flag)))
        if names:
            found.append(message(f"banner.{flag}", rows=names))
    runs = {run.file: run for row in rows for run in row.runs}
    older = [run for run in runs.values() if run.times and run.times.steps_left_out]
    if older:
        found.append(message("banner.loader_anew", runs=len(older), of=len(runs)))
    return found


def unequal_terms(group: Group) -> list[Message]:
    """What differs between the rows of a group although they are compared."""
    return [
        _difference(fact, {value: [row.name for row in rows] for value, rows in by_value.items()})
        for fact, by_value in group.differences.items()
    ]


def why_separate(groups: Mapping[int, Group]) -> list[Message]:
    """What tells the groups apart, by their numbers, so that no ratio was formed across them."""
    found = []
    for scaling in ("weak", "strong"):
        numbered = {number: group.key for number, group in groups.items() if group.scaling == scaling}
        for fact, by_value in varying_facts(numbered).items():
            who = {value: [message("group.number", number=number) for number in numbers]
                   for value, numbers in by_value.items()}  # fmt: skip
            found.append(_difference(fact, who))
    return found


MAX_VALUES = 5


def _difference(fact: str, who: dict) -> Message:
    """`torch 2.11 (DP × 2) and 2.13 (DDP × 2)`."""
    values = [
        message("difference.value", value=message(f"fact_value.{fact}", value=value), who=names)
        for value, names in who.items()
    ]
    more = len(values) - MAX_VALUES
    id = "difference.and_more" if more > 0 else "difference.all"
    return message(id, fact=fact, values=values[:MAX_VALUES], more=more)
