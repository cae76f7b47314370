"""Sentences that console and page share: what a group is, what it is not, and why it stands apart."""

from __future__ import annotations

from collections.abc import Iterable

from common.analysis.comparing.facts import differences, shorten
from common.analysis.comparing.groups import Group

UNSAID = {
    "classes": "1000",
    "memory format": "channels_first",
    "compiled": "no",
    "micro-batches a step": "1",
    "deterministic": "no",
    "data": "synthetic",
}
"""Parts of the key that a title leaves out while they have their usual value."""
SAID = {
    "classes": "{} classes",
    "compiled": "compiled",
    "micro-batches a step": "{} micro-batches a step",
    "deterministic": "deterministic",
    "data": "data {}",
}
"""How a title words the others, where the value alone does not say what it is."""
SAID_BY_BANNERS = ("devices",)
"""Checks that a banner words already."""


def group_title(group: Group) -> str:
    """`Weak scaling: resnet18, 64 px, ieee-fp32, …, 32 per device`."""
    key = dict(group.key)
    model, device = key.pop("model"), key.pop("device")
    batch = key.pop("per-device batch", None)
    size = f"{batch} samples per device" if batch else f"{key.pop('global batch')} samples per step in all"
    rest = [SAID.get(name, "{}").format(value) for name, value in key.items() if UNSAID.get(name) != value]
    kind = {"": "", "weak": "Weak scaling: ", "strong": "Strong scaling: "}[_scaling(group)]
    return f"{kind}{model}, {', '.join(rest)}, {size}, on {device}"


def scaling_in_words(group: Group) -> str:
    """What weak or strong scaling means, for the line under a title; nothing where all rows have as many devices."""
    return {
        "": "",
        "weak": "Each device keeps its batch, so that more devices take a larger global batch.",
        "strong": "The global batch stays the same, so that each of more devices gets less of it.",
    }[_scaling(group)]


def _scaling(group: Group) -> str:
    return group.scaling if len({row.devices for row in group.rows}) > 1 else ""


def banners(groups: Iterable[Group]) -> list[str]:
    """Plain words for every run that was emulated, shared or oversubscribed."""
    rows = [row for group in groups for row in group.rows]
    found = []
    on_gpu = any(row.record.world.device_kind == "cuda" for row in rows)
    if any(row.record.world.device_kind == "cpu" for row in rows):
        where = "in some of these groups" if on_gpu else "here"
        found.append(
            f"CPU cores stand in for devices {where}. They share one memory and its bandwidth, so their speed-up shows "
            "how the methods work and says little about what GPUs would gain."
        )
    emulated = _labels(rows, "emulated")
    if emulated:
        found.append(
            f"Emulated: {emulated}. torch's DataParallel needs GPUs; its stages (scatter, replicate, parallel apply, "
            "gather) ran on CPU cores, in threads of one process that take turns at Python's interpreter lock."
        )
    shared = _labels(rows, "shared")
    if shared:
        found.append(f"Shared: {shared}. Several replicas or ranks took turns on one GPU, so this is no scaling.")
    oversubscribed = _labels(rows, "oversubscribed")
    if oversubscribed:
        found.append(
            f"Oversubscribed: {oversubscribed}. More devices were asked for than there are CPU cores, so that they "
            "took turns, and this is no scaling."
        )
    return found


def _labels(rows: list, flag: str) -> str:
    return shorten(row.label for row in rows if getattr(row.record.world, flag))


def why_separate(groups: list[Group]) -> list[str]:
    """What tells the groups apart, so that no ratio was formed across them."""
    numbered = [(f"group {position}", group) for position, group in enumerate(groups, start=1)]
    return [
        text
        for scaling in ("weak", "strong")
        for text in differences((label, group.key) for label, group in numbered if group.scaling == scaling)
    ]
