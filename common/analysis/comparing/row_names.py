"""What the rows of a group are called, by what tells them apart: their facts, or the options of DDP that they try."""

from collections.abc import Sequence
from dataclasses import replace
from string import ascii_lowercase

from common.analysis.comparing.facts import MAX_CANDIDATES, OPTIONS, Facts, configuration, grouped, varying_facts
from common.analysis.comparing.rows import Row


def link_default_options(rows: Sequence[Row]) -> None:
    """Each row that tries options to one that differs in nothing else: of the same campaign where there is one, else to
    the last of `rows`, which come by their first runs.

    Two rows of the same options are linked to two rows or to none: they would be called the same.
    """

    def without_options(row: Row) -> tuple:
        return tuple({**configuration(row.record), OPTIONS: None, "campaign": None}.values())

    defaults = grouped((row for row in rows if not row.options and row.is_valid), without_options)
    pairs = [(row, closest(row.facts, defaults.get(without_options(row), []))) for row in rows if row.options]
    known = [(row, default) for row, default in pairs if default]
    known.sort(key=lambda pair: pair[0].facts["campaign"] != pair[1].facts["campaign"])
    tried: dict[tuple, Row] = {}
    for row, default in known:
        tried.setdefault((default, row.options, row.is_valid), row)
    for (default, *_), row in tried.items():
        row.default_options_row = default


def closest(own: Facts, candidates: Sequence[Row]) -> Row | None:
    """The candidate that differs from `own` in the fewest facts; of equals, the last (the newest).

    Only the last hundred are looked at, so that thousands of configurations do not take the square of their number.
    """
    newest = candidates[: -MAX_CANDIDATES - 1 : -1]
    return min(newest, default=None, key=lambda one: sum(one.facts.get(name, own[name]) != own[name] for name in own))


def name_rows(rows: Sequence[Row]) -> None:
    """Give every row its name; with letters and the facts behind them where several would have the same one."""
    main = [row for row in rows if row.default_options_row is None]
    for name, same in grouped(main, lambda row: replace(row.name, options="", is_valid=True)).items():
        readable = readable_facts(same)
        varying = varying_facts(readable)
        for position, (row, facts) in enumerate(readable.items()):
            row.name = name if len(same) == 1 else replace(name, letter=_letters(position))
            row.variant = {fact: facts[fact] for fact in varying if fact in facts}
    for row in rows:
        if row.default_options_row is not None:
            # A run that failed parity is not pooled with its repeats: there may be two rows of these options.
            row.name = replace(row.default_options_row.name, options=row.options, is_valid=row.is_valid)
            row.variant = {OPTIONS: row.options}


def _letters(position: int) -> str:
    """0, 1, … 25, 26 -> a, b, … z, aa."""
    return (_letters(position // 26 - 1) if position >= 26 else "") + ascii_lowercase[position % 26]


def readable_facts(rows: Sequence[Row]) -> dict[Row, Facts]:
    """The facts of each row, machines by their hosts' names where these tell them apart, else by their hashes."""
    hosts = {row.facts["machine"]: row.record.environment.hostname for row in rows}
    if len(set(hosts.values())) < len(hosts):
        return {row: row.facts for row in rows}
    return {row: {**row.facts, "machine": hosts[row.facts["machine"]]} for row in rows}
