"""How rows are called: names that are short and unique within their group, and what tells rows of one name apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import pandas as pd

from common.analysis.comparing.facts import OPTIONS, Fact, Facts
from common.analysis.comparing.row_name import RowName
from common.analysis.comparing.rows import Row


def name_rows(rows: Iterable[Row]) -> None:
    """Give every row its name; with letters and the facts behind them where several would have the same one."""
    alike: dict[RowName, list[Row]] = {}
    for row in rows:
        if row.standard is None:
            world = row.record.world
            nodes = world.nodes if row.is_parallel else 1
            alike.setdefault(RowName(row.method, world.devices, nodes), []).append(row)
    for name, same in alike.items():
        told = readable_facts(same)
        telling = varying_facts(facts_table(told)) if len(same) > 1 else {}
        for position, (row, facts) in enumerate(zip(same, told, strict=True)):
            row.name = name if len(same) == 1 else replace(name, letter=_letters(position))
            row.variant = {fact: facts[fact] for fact in telling if fact in facts}
    for row in rows:
        if row.standard is not None:
            # A run that failed parity is not pooled with its repeats: there may be two rows of these options.
            row.name = replace(row.standard.name, options=row.options, is_valid=row.is_valid)
            row.variant = {OPTIONS: row.options}


def readable_facts(rows: Sequence[Row]) -> list[Facts]:
    """The facts of each row, machines by their hosts' names where these tell them apart, else by their hashes."""
    hosts = {row.facts["machine"]: row.record.environment.hostname for row in rows}
    if len(set(hosts.values())) < len(hosts):
        return [row.facts for row in rows]
    return [{**row.facts, "machine": hosts[row.facts["machine"]]} for row in rows]


def varying_facts(facts: pd.DataFrame) -> dict[str, dict[Fact, list]]:
    """Every fact (a column) on which the rows of a table disagree: fact -> value -> the rows that have it.

    A fact that one of them lacks (NCCL, for a run without it) is no difference.
    """
    varying = facts.columns[facts.nunique() > 1]
    return {fact: {value: list(rows) for value, rows in facts.groupby(fact, sort=False).groups.items()}
            for fact in varying}  # fmt: skip


def facts_table(facts: Iterable[Facts], index: Iterable | None = None) -> pd.DataFrame:
    """Facts as a table. Of Python's own objects, so that 4 does not become 4.0 where another row has none."""
    return pd.DataFrame(list(facts), index=index, dtype=object)


def _letters(position: int) -> str:
    """0, 1, … 25, 26 -> a, b, … z, aa."""
    return (_letters(position // 26 - 1) if position >= 26 else "") + "abcdefghijklmnopqrstuvwxyz"[position % 26]
