"""What a reader must know before the numbers: stand-ins for devices, what differs, and what is not compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from common.analysis.comparing.facts import BATCH, USUAL, Facts, varying_facts
from common.analysis.comparing.groups import Group
from common.analysis.reading.folder import Skipped
from common.analysis.reading.runs import Run
from common.content import Inline, Lines, Message, Paragraph, Section, lead, message

MAX_VALUES, MAX_LISTED = 5, 100


def group_title(group: Group) -> Message:
    """`Weak scaling: resnet18, 64 px, ieee-fp32, …, 32 per device`."""
    key, kind = group.key, group.scaling if group.scales else "plain"
    parts = [*unusual_parts(key), _batch(group)]
    return message(f"title.{kind}", model=key["model"], device=key["device_model"], parts=parts)


def unusual_parts(key: Facts) -> list[Message]:
    """Settings of a group, `64 px`, `bf16`, but for those that have their usual value, for model, device and batch."""
    left_out = ("model", "device_model", *BATCH.values())
    return [
        message(f"title.{fact}", value=value)
        for fact, value in key.items()
        if fact not in left_out and USUAL.get(fact) != value and value not in (0, "")
    ]


def group_short(group: Group) -> Message:
    """`Weak scaling: resnet50, 64 samples per device`, for the contents."""
    kind = group.scaling if group.scales else "plain"
    return message(f"contents.{kind}", model=group.key["model"], batch=_batch(group))


def _batch(group: Group) -> Message:
    return message(f"title.batch_{group.scaling}", value=group.key[BATCH[group.scaling]])


def scaling_meaning(group: Group) -> Message:
    """What weak or strong scaling means, for the line under a title; nothing where all rows have as many devices."""
    return message(f"scaling.{group.scaling}" if group.scales else "nothing")


def images_of(group: Group) -> Message:
    """What the rows were trained on: the same for all but for the number of images, for which the largest stands."""
    config = group.rows[0].record.config
    source = config.data_source
    samples = max(row.record.config.samples_per_epoch for row in group.rows)
    made = "synthetic" if config.image_size else "made_on_the_fly"
    return message(f"images.{made}" if source == "synthetic" else "images.folder", source=source, samples=samples)


def banners(groups: Sequence[Group]) -> list[Message]:
    """For every run that was emulated, shared or oversubscribed."""
    rows = [row for group in groups for row in group.rows]
    kinds = {row.record.world.device_kind for row in rows}
    lines = []
    if "cpu" in kinds:
        lines.append(message("banner.cpu_in_some_groups" if "cuda" in kinds else "banner.cpu"))
    for flag in ("emulated", "shared", "oversubscribed"):
        names = list(dict.fromkeys(row.name for row in rows if flag in row.record.world.flags))
        if names:
            lines.append(message(f"banner.{flag}", rows=names))
    return lines


def unequal_terms(group: Group) -> list[Message]:
    """What differs between the rows of a group although they are compared."""
    return [
        _difference(fact, {value: [row.name for row in rows] for value, rows in by_value.items()})
        for fact, by_value in group.differences.items()
    ]


def why_separate(groups: Mapping[int, Group]) -> list[Message]:
    """What tells the groups apart, by their numbers, so that no ratio was formed across them."""
    lines = []
    for scaling in ("weak", "strong"):
        numbered = {number: group.key for number, group in groups.items() if group.scaling == scaling}
        for fact, by_value in varying_facts(numbered).items():
            if fact != "model" and not _varies_within_a_model(fact, numbered.values()):
                continue  # other models are trained otherwise: that they are others says it
            who = {value: [message("group.number", number=number) for number in numbers]
                   for value, numbers in by_value.items()}  # fmt: skip
            lines.append(_difference(fact, who))
    return lines


def _varies_within_a_model(fact: str, keys: Iterable[Facts]) -> bool:
    values: dict[object, set] = {}
    for key in keys:
        values.setdefault(key["model"], set()).add(key.get(fact))
    return any(len(of_model) > 1 for of_model in values.values())


def _difference(fact: str, who: dict) -> Message:
    """`torch 2.11 (DP × 2) and 2.13 (DDP × 2)`."""
    values = [
        message("difference.value", value=message(f"fact_value.{fact}", value=value), who=names)
        for value, names in who.items()
    ]
    more = len(values) - MAX_VALUES
    id = "difference.and_more" if more > 0 else "difference.all"
    return message(id, fact=fact, values=values[:MAX_VALUES], more=more)


def separate_section(groups: Mapping[int, Group]) -> Section | None:
    """Why some runs are not compared."""
    lines = why_separate(groups)
    if not lines:
        return None
    contents = [lead(message("page.separate_lead")), Lines(lines)]
    brief = [message("console.not_compared", difference=line) for line in lines]
    return Section("separate", message("page.separate"), contents, brief=brief, colour="default")


def unfinished_banner(runs: Sequence[Run]) -> Message:
    """`3 runs did not complete, and are not compared: DP (out of memory).`"""
    kinds = dict.fromkeys((run.record.method, run.record.failure.kind if run.record.failure else "") for run in runs)
    whose = [
        message("banner.unfinished_run", method=message(f"short.{method}"), kind=kind)
        if kind
        else message(f"short.{method}")
        for method, kind in kinds
    ]
    return message("banner.unfinished", count=len(runs), whose=whose)


def unfinished_section(runs: Sequence[Run]) -> Section | None:
    """Runs that did not complete, the newest last, and what to do about each."""
    if not runs:
        return None
    notes = [_unfinished(run) for run in runs[-MAX_LISTED:]]
    brief = [_in_brief(run) for run in runs]
    return Section("unfinished", message("page.unfinished"), notes, brief=brief, colour="yellow")


def _unfinished(run: Run) -> Section:
    record, failure = run.record, run.record.failure
    contents = []
    if failure:
        what = message("page.failure", kind=failure.kind, rank=failure.rank, message=failure.message)
        to_do = [Inline(message("page.what_to_do")), message("quoted.text", text=failure.advice)]
        contents = [Paragraph([what]), Paragraph(to_do)]
    finished = message("page.epochs_finished", done=len(record.epochs), of=record.config.epochs)
    title = message("console.unfinished", file=run.file, status=record.status)
    return Section(title=title, contents=[*contents, Paragraph([finished])], style="note")


def _in_brief(run: Run) -> Message:
    failure, at = run.record.failure, {"file": run.file, "status": run.record.status}
    if failure is None:
        return message("console.unfinished", **at)
    return message("console.failed", kind=failure.kind, rank=failure.rank, message=failure.message,
                   advice=failure.advice, **at)  # fmt: skip


def skipped_section(skipped: Sequence[Skipped], left_out: int = 0) -> Section | None:
    """Files that could not be read, or that a mistake in this program kept out; `left_out` stand nowhere."""
    if not skipped:
        return None
    ours = Inline(message("page.our_fault"), outcome="failed")
    lines = [
        (message("skipped.file", file=item.file), *([ours] if item.is_our_fault else []),
         message("quoted.text", text=item.reason))
        for item in skipped[:MAX_LISTED]
    ]  # fmt: skip
    more = [Paragraph([message("page.and_more", count=left_out)])] if left_out else []
    brief = [message("console.our_fault" if item.is_our_fault else "console.skipped", file=item.file,
                     reason=item.reason) for item in sorted(skipped, key=lambda item: item.is_our_fault)]  # fmt: skip
    colour = "bold red" if any(item.is_our_fault for item in skipped) else "yellow"
    return Section("skipped", message("page.skipped"), [Lines(lines), *more], brief=brief, colour=colour)
