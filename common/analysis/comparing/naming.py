"""How rows are called: names that are short and unique within their group, and what tells rows of one name apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from common.analysis.comparing.facts import OPTIONS, Fact, Facts
from common.analysis.comparing.rows import Row, RowName
from common.analysis.comparing.tables import grouped

T = TypeVar("T")


def name_rows(rows: Sequence[Row]) -> None:
    """Give every row its name; with letters and the facts behind them where several would have the same one."""
    for name, same in grouped((row for row in rows if row.standard is None), _plain_name).items():
        readable = readable_facts(same)
        varying = varying_facts(readable)
        for position, (row, facts) in enumerate(readable.items()):
            row.name = name if len(same) == 1 else replace(name, letter=_letters(position))
            row.variant = {fact: facts[fact] for fact in varying if fact in facts}
    for row in rows:
        if row.standard is not None:
            # A run that failed parity is not pooled with its repeats: there may be two rows of these options.
            row.name = replace(row.standard.name, options=row.options, is_valid=row.is_valid)
            row.variant = {OPTIONS: row.options}


def _plain_name(row: Row) -> RowName:
    return RowName(row.method, row.devices, row.record.world.nodes if row.is_parallel else 1)


def readable_facts(rows: Sequence[Row]) -> dict[Row, Facts]:
    """The facts of each row, machines by their hosts' names where these tell them apart, else by their hashes."""
    hosts = {row.facts["machine"]: row.record.environment.hostname for row in rows}
    if len(set(hosts.values())) < len(hosts):
        return {row: row.facts for row in rows}
    return {row: {**row.facts, "machine": hosts[row.facts["machine"]]} for row in rows}


def values_of_facts(facts: Mapping[T, Facts]) -> dict[str, dict[Fact, list[T]]]:
    """Fact -> value -> those that have it; some may lack a fact (NCCL, for a run without it)."""
    values: dict[str, dict[Fact, list[T]]] = {}
    for who, own in facts.items():
        for name, value in own.items():
            values.setdefault(name, {}).setdefault(value, []).append(who)
    return values


def varying_facts(facts: Mapping[T, Facts]) -> dict[str, dict[Fact, list[T]]]:
    """The same of every fact on which some disagree; that one lacks it is no difference."""
    return {fact: by_value for fact, by_value in values_of_facts(facts).items() if len(by_value) > 1}


def _letters(position: int) -> str:
    """0, 1, … 25, 26 -> a, b, … z, aa."""
    return (_letters(position // 26 - 1) if position >= 26 else "") + "abcdefghijklmnopqrstuvwxyz"[position % 26]
