"""The page's first words: each parallel method against one device, and what took turns instead of scaling."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from common.analysis.comparing.facts import GROUP_KEY, varying_facts
from common.analysis.comparing.groups import Group
from common.analysis.comparing.rows import Row
from common.analysis.comparing.speedup import speedup
from common.analysis.judging import verdicts
from common.analysis.judging.verdicts import Decision, device_here
from common.analysis.sections.comparison import unusual_parts
from common.analysis.statistics.estimates import distinguishable, outcome_of_ratio
from common.content import Message, message
from common.formats import CORE_OF
from common.records import JOINED, Record, method_order


@dataclass(frozen=True)
class Headline:
    """The verdict, the outcome that it rests on, and what belongs to it."""

    verdict: Message
    """In at most eight words."""
    outcome: Message
    """In one sentence: where, what, and how many times as fast."""
    details: list[Message]
    """What must be known beside it."""
    conditions: Message | None = None
    """Where and what, where a chart shows how many times as fast; else the outcome says all."""
    pairs: Sequence[Message] = ()
    """How methods compare with each other."""


def headline(groups: list[Group], decision: Decision) -> Headline:
    """The outcome of the best measured group, which comes first; `decision` is about its representative rows."""
    use = verdict(decision)
    if decision.fastest is None:
        return Headline(use, message(f"headline.{'no_valid_run' if groups else 'no_run'}"), [])
    best, rows, in_turns = groups[0], groups[0].representatives, groups[0].oversubscribed
    parallel, model = _in_order(rows), best.key["model"]
    alone = [message("headline.one_alone", one=device_here(row), throughput=verdicts.rate_of(row))
             for row in rows if not row.is_parallel]  # fmt: skip
    # What belongs to the same group first: after strong scaling it would be read as strong scaling's.
    details = [_turns(in_turns)] if in_turns else []
    if decision.choice == "one_device":
        return Headline(use, _conditions(best, []), alone + details)
    if in_turns and not parallel:
        outcome = message("headline.turns", model=model, turns=details[0])
        return Headline(message("headline_verdict.turns"), outcome, alone)
    if varying_facts({row: row.facts for row in rows}):
        details.append(message("headline.unequal_terms"))
    if (config := rows[0].record.config).unit == "tokens":
        speeds = [message("headline.tokens_of", method=short_or_one(row),
                          rate=round(row.throughput.value * config.units_per_sample)) for row in rows]  # fmt: skip
        details.append(message("headline.tokens", speeds=speeds))
    # The first strong-scaling group of the headline's model, where the headline is of weak scaling.
    for group in groups if best.scaling == "weak" else []:
        is_beside = group.scaling == "strong" and all(group.key[name] == best.key[name] for name in GROUP_KEY)
        if is_beside and (others := _in_order(group.representatives)):
            batch = group.key["global_batch_size"]
            details.append(message("headline.strong", batch=batch, parts=_ratios(others)))
            break
    at = {"place": place(rows), "model": model}
    if not parallel:
        return Headline(use, _without_one_device(rows, at), details)
    # Each parallel method with the next slower one.
    ranked = sorted((row for row in rows if row.is_parallel), key=lambda row: row.throughput.value, reverse=True)
    pairs = [verdicts.compare(*pair, speedup(*pair)) for pair in pairwise(ranked)]
    outcome = message("headline.speed_ups", batch=batch_of(best), parts=_ratios(parallel), **at)
    return Headline(use, outcome, details, _conditions(best, pairs), pairs)


def _conditions(group: Group, pairs: Sequence[Message]) -> Message:
    """`Training resnet50 on 2 × H100: 64 images per GPU, tf32. DDP is 3.0 × as fast as DP.`"""
    parts = [Message("headline.precision", part.values) if part.text == "title.precision" else part
             for part in unusual_parts(group.key) if part.text != "title.model_source"]  # fmt: skip
    versus = message("nothing")
    if pairs and distinguishable(ratio := pairs[0]["ratio"]):
        versus = message("headline.versus", one=pairs[0]["one"].method, other=pairs[0]["other"].method, ratio=ratio)
    return message("headline.conditions", place=place(group.representatives), model=group.key["model"],
                   settings=[batch_of(group), *parts], versus=versus)  # fmt: skip


def _without_one_device(rows: list[Row], at: dict) -> Message:
    """How the methods compare with each other, or how fast the only one is; `at`: on which devices, which model."""
    first, *others = sorted(rows, key=lambda row: row.throughput.value, reverse=True)
    name = verdicts.method_name
    if not others:
        return message("headline.alone", method=name(first), throughput=verdicts.rate_of(first), **at)
    second, lead = others[0], speedup(first, others[0])
    is_close = distinguishable(lead) and not verdicts.clearly_fastest(lead)
    id = "nearly_equal" if is_close else "fastest" if distinguishable(lead) else outcome_of_ratio(lead)
    missing = verdicts.missing_runs_of([(name(row), row.missing_runs) for row in (first, second)])
    return message(f"headline.{id}", ratio=lead, missing=missing, first=name(first), second=name(second), **at)


def verdict(decision: Decision) -> Message:
    """What to use, in at most eight words."""
    if decision.choice == "failed":
        return message("headline_verdict.failed", method=decision.failed.method)
    best, pair = verdicts.recommended(decision), [row for row in (decision.fastest, decision.second) if row]
    if best is None:
        return message("headline_verdict.nothing")
    if decision.choice in ("measure_longer", "tie", "either"):  # their order names no winner
        pair.sort(key=lambda row: method_order(row.method), reverse=True)
    one = device_here(best)
    values = {"method": short_or_one(best), "one": one, "ratio": best.speed_up or decision.lead}
    values |= dict(zip(("first", "second"), map(short_or_one, pair), strict=False))
    other = one if best.speed_up else values.get("second")
    return message(f"headline_verdict.{decision.choice}", other=other, **values)


def short_or_one(row: Row) -> Message:
    """`DDP`, or what one device is here."""
    return verdicts.short_method(row) if row.is_parallel else device_here(row)


def _in_order(rows: list[Row]) -> list[Row]:
    """Rows with a speed-up, the faster first where that is certain; else DP before DDP, which names no winner."""
    parallel = sorted((row for row in rows if row.speed_up), key=lambda row: method_order(row.method))
    surely = all(distinguishable(speedup(*pair)) for pair in pairwise(parallel))
    return sorted(parallel, key=lambda row: row.speed_up.value, reverse=True) if surely else parallel


def _ratios(parallel: list[Row]) -> list[Message]:
    """Every method against one device, and whether the methods themselves can be told apart."""
    one, parts = device_here(parallel[0]), []
    for row in parallel:
        tail = message(f"tail.{outcome_of_ratio(row.speed_up)}", ratio=row.speed_up, one=one)
        id = "headline.first_ratio" if row is parallel[0] else "headline.next_ratio"
        parts.append(message(id, ratio=row.speed_up, one=one, method=verdicts.short_method(row), tail=tail))
    sentences = [message("headline.ratios", parts=parts)]
    if any(distinguishable(speedup(*pair)) is False for pair in pairwise(parallel)):
        sentences.append(message("headline.alike", methods=[message(f"short.{row.method}") for row in parallel]))
    unsettled = {row: verdicts.short_method(row) for row in parallel if row.missing_runs or row.baseline.missing_runs}
    if unsettled:
        of_one = (one, max(row.baseline.missing_runs for row in parallel))
        missing = verdicts.missing_runs_of([of_one, *((name, row.missing_runs) for row, name in unsettled.items())])
        sentences.append(message("headline.missing", methods=list(unsettled.values()), missing=missing))
    return sentences


def batch_of(group: Group) -> Message:
    """`64 images per GPU`, `16 sequences of 512 tokens per GPU`."""
    what = verdicts.counted_as(group.rows[0].record)
    if group.scaling == "strong":
        return message("batch.in_all", count=group.key["global_batch_size"], what=what)
    id = "batch.per_gpu" if group.on_gpu else "batch.per_core"
    return message(id, count=group.key["per_device_batch_size"], what=what)


def _turns(rows: list[Row]) -> Message:
    """`4 devices took turns on 2 CPU cores: DP 2.01, DDP 1.89 times as fast as one CPU core; this is not scaling`"""
    record, on_gpu = rows[0].record, rows[0].on_gpu
    there = _gpus(record) if on_gpu else record.environment.cpu_cores
    where = message(f"place.{'gpu' if on_gpu else 'core'}{'s' if there > 1 else ''}", count=there)
    ratios = [message("turns.ratio", method=row.method, ratio=row.speed_up) for row in rows if row.speed_up]
    id = f"turns.{'replicas' if on_gpu else 'devices'}{'' if ratios else '_without_ratio'}"
    counts = sorted({row.devices for row in rows})
    return message(id, counts=counts, where=where, ratios=ratios, one=device_here(rows[0]))


def place(rows: list[Row]) -> Message:
    """On which devices the row on most devices ran: `4 × NVIDIA H200`, `2 CPU cores (AMD EPYC)`."""
    record = max(rows, key=lambda row: row.devices).record
    world = record.world
    if world.device_kind == "cpu":
        id = "place.oversubscribed" if world.oversubscribed else "place.cores" if world.devices > 1 else "place.core"
        cores = message(id, count=world.devices, cores=record.environment.cpu_cores)
        return message("place.of_model", what=cores, model=world.device_model.removeprefix(CORE_OF))
    # `H100` for `NVIDIA H100 80GB HBM3`: the full name is in the groups' titles.
    short = JOINED.join(re.sub(r"^(NVIDIA )?(GeForce )?|[ -]\d+ ?GB.*$", "", name) or name for name in world.models)
    if world.has_unlike_devices:
        return message("place.of_model", what=message("place.gpus", count=_gpus(record)), model=short)
    id = "place.replicas" if world.shared else "place.models"
    return message(id, count=_gpus(record), devices=world.devices, model=short)


def _gpus(record: Record) -> int:
    return len({(device.host, device.index) for device in record.devices})
