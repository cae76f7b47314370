"""The page's first words: each parallel method against one device, and what took turns instead of scaling."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from common.analysis.comparing.facts import GROUP_KEY, varying_facts
from common.analysis.comparing.groups import Group
from common.analysis.comparing.rows import Row
from common.analysis.comparing.speedup import speedup
from common.analysis.judging.verdicts import (
    Decision,
    clearly_fastest,
    compare,
    counted_as,
    decide,
    device_here,
    method_name,
    missing_runs_of,
    rate_of,
    recommended,
    short_method,
)
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


def headline(groups: list[Group], failed: Sequence[Record] = ()) -> Headline:
    """The outcome of the best measured group; `failed`: runs that did, the newest last."""
    rivals = groups[0].representatives if groups else []
    decision = decide(rivals, failed)
    if not rivals:
        return Headline(verdict(decision), message(f"headline.{'no_valid_run' if groups else 'no_run'}"), [])
    parallel, takers = _in_order(rivals), groups[0].oversubscribed
    alone = [message("headline.one_alone", one=device_here(row), throughput=rate_of(row))
             for row in rivals if not row.is_parallel]  # fmt: skip
    # What belongs to the same group first: after strong scaling it would be read as strong scaling's.
    details = [_turns(takers)] if takers else []
    if decision.choice == "one_device":
        return Headline(verdict(decision), _conditions(groups[0], rivals), alone + details)
    if takers and not parallel:
        outcome = message("headline.turns", model=groups[0].key["model"], turns=_turns(takers))
        return Headline(message("headline_verdict.turns"), outcome, alone)
    if varying_facts({row: row.facts for row in rivals}):
        details.append(message("headline.unequal_terms"))
    if rivals[0].record.config.unit == "tokens":
        length = rivals[0].record.config.units_per_sample
        speeds = [message("headline.tokens_of", method=short_or_one(row), rate=round(row.throughput.value * length))
                  for row in rivals]  # fmt: skip
        details.append(message("headline.tokens", speeds=speeds))
    # The first strong-scaling group of the headline's model, where the headline is of weak scaling.
    for group in groups if groups[0].scaling == "weak" else []:
        is_beside = group.scaling == "strong" and all(group.key[name] == groups[0].key[name] for name in GROUP_KEY)
        if is_beside and (others := _in_order(group.representatives)):
            batch = group.key["global_batch_size"]
            details.append(message("headline.strong", batch=batch, parts=_ratios(others)))
            break
    # Each parallel method with the next slower one; without one device the outcome itself compares them.
    ranked = sorted((row for row in rivals if row.is_parallel), key=lambda row: row.throughput.value, reverse=True)
    pairs = [compare(*pair, speedup(*pair)) for pair in pairwise(ranked)] if len(ranked) < len(rivals) else []
    conditions = _conditions(groups[0], rivals, pairs) if parallel else None
    return Headline(verdict(decision), _outcome(groups[0], rivals, parallel), details, conditions, pairs)


def _conditions(group: Group, rivals: list[Row], pairs: Sequence[Message] = ()) -> Message:
    """`Training resnet50 on 2 × H100: 64 images per GPU, tf32. DDP is 3.0 × as fast as DP.`"""
    parts = [Message("headline.precision", part.values) if part.text == "title.precision" else part
             for part in unusual_parts(group.key) if part.text != "title.model_source"]  # fmt: skip
    versus = message("nothing")
    if pairs and distinguishable(ratio := pairs[0]["ratio"]):
        versus = message("headline.versus", one=pairs[0]["one"].method, other=pairs[0]["other"].method, ratio=ratio)
    where, settings = place(max(rivals, key=lambda row: row.devices)), [batch_of(group), *parts]
    return message("headline.conditions", place=where, model=group.key["model"], settings=settings, versus=versus)


def verdict(decision: Decision) -> Message:
    """What to use, in at most eight words."""
    if decision.choice == "failed":
        return message("headline_verdict.failed", method=decision.failed.method)
    best, pair = recommended(decision), [row for row in (decision.fastest, decision.second) if row]
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
    return short_method(row) if row.is_parallel else device_here(row)


def _in_order(rows: list[Row]) -> list[Row]:
    """The rows that have a speed-up: the faster one first where that is certain, else DP before DDP, so that their
    order names no winner."""
    parallel = sorted((row for row in rows if row.speed_up), key=lambda row: method_order(row.method))
    surely = all(distinguishable(speedup(*pair)) for pair in pairwise(parallel))
    return sorted(parallel, key=lambda row: row.speed_up.value, reverse=True) if surely else parallel


def _ratios(parallel: list[Row]) -> list[Message]:
    """Every method against one device, and whether the methods themselves can be told apart."""
    one, parts = device_here(parallel[0]), []
    for row in parallel:
        tail = message(f"tail.{outcome_of_ratio(row.speed_up)}", ratio=row.speed_up, one=one)
        id = "headline.first_ratio" if row is parallel[0] else "headline.next_ratio"
        parts.append(message(id, ratio=row.speed_up, one=one, method=short_method(row), tail=tail))
    sentences = [message("headline.ratios", parts=parts)]
    if any(distinguishable(speedup(*pair)) is False for pair in pairwise(parallel)):
        sentences.append(message("headline.alike", methods=[message(f"short.{row.method}") for row in parallel]))
    unsettled = [row for row in parallel if row.missing_runs or row.baseline.missing_runs]
    if unsettled:
        of_one = (one, max(row.baseline.missing_runs for row in parallel))
        missing = missing_runs_of([of_one, *((short_method(row), row.missing_runs) for row in unsettled)])
        sentences.append(message("headline.missing", methods=list(map(short_method, unsettled)), missing=missing))
    return sentences


def _outcome(group: Group, rivals: list[Row], parallel: list[Row]) -> Message:
    at = {"place": place(max(rivals, key=lambda row: row.devices)), "model": group.key["model"]}
    if parallel:
        return message("headline.speed_ups", batch=batch_of(group), parts=_ratios(parallel), **at)
    first, *others = sorted(rivals, key=lambda row: row.throughput.value, reverse=True)
    if not others:
        return message("headline.alone", method=method_name(first), throughput=rate_of(first), **at)
    lead = speedup(first, others[0])
    outcome = outcome_of_ratio(lead)
    id = "fastest" if clearly_fastest(lead) else "nearly_equal" if distinguishable(lead) else outcome
    missing = missing_runs_of([(method_name(row), row.missing_runs) for row in (first, others[0])])
    names = {"first": method_name(first), "second": method_name(others[0])}
    return message(f"headline.{id}", ratio=lead, missing=missing, **names, **at)


def batch_of(group: Group) -> Message:
    """`64 images per GPU`, `16 sequences of 512 tokens per GPU`."""
    what = counted_as(group.rows[0].record)
    if group.scaling == "strong":
        return message("batch.in_all", count=group.key["global_batch_size"], what=what)
    id = "batch.per_gpu" if group.on_gpu else "batch.per_core"
    return message(id, count=group.key["per_device_batch_size"], what=what)


def _turns(takers: list[Row]) -> Message:
    """`4 devices took turns on 2 CPU cores: DP 2.01, DDP 1.89 times as fast as one CPU core; this is not scaling`."""
    record, on_gpu = takers[0].record, takers[0].on_gpu
    there = len({(device.host, device.index) for device in record.devices}) if on_gpu else record.environment.cpu_cores
    where = message(f"place.{'gpu' if on_gpu else 'core'}{'s' if there > 1 else ''}", count=there)
    ratios = [message("turns.ratio", method=row.method, ratio=row.speed_up) for row in takers if row.speed_up]
    id = f"turns.{'replicas' if on_gpu else 'devices'}{'' if ratios else '_without_ratio'}"
    counts = sorted({row.devices for row in takers})
    return message(id, counts=counts, where=where, ratios=ratios, one=device_here(takers[0]))


def place(row: Row) -> Message:
    """Which devices these are: `4 × NVIDIA H200`, `2 CPU cores (AMD EPYC)`."""
    world = row.record.world
    if world.device_kind == "cpu":
        id = "place.oversubscribed" if world.oversubscribed else "place.cores" if world.devices > 1 else "place.core"
        cores = message(id, count=world.devices, cores=row.record.environment.cpu_cores)
        return message("place.of_model", what=cores, model=world.device_model.removeprefix(CORE_OF))
    gpus = len({(device.host, device.index) for device in row.record.devices})
    # `H100` for `NVIDIA H100 80GB HBM3`: the full name stands in the groups' titles.
    short = JOINED.join(re.sub(r"^(NVIDIA )?(GeForce )?|[ -]\d+ ?GB.*$", "", name) or name for name in world.models)
    if world.has_unlike_devices:
        return message("place.of_model", what=message("place.gpus", count=gpus), model=short)
    id = "place.replicas" if world.shared else "place.models"
    return message(id, count=gpus, devices=world.devices, model=short)
