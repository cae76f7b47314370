"""What each of DDP's options does here: a row against the one that differs in nothing but its default options."""

from __future__ import annotations

from dataclasses import dataclass

from common.analysis.comparing.groups import Group
from common.analysis.comparing.rows import Row
from common.analysis.comparing.speedup import speedup_beside
from common.analysis.judging.row_checks import pooled_checks, troubles
from common.analysis.statistics.estimates import Estimate, outcome_of_ratio
from common.content.messages import Message, message


@dataclass(frozen=True)
class Effect:
    """One row compared with another that differs from it in little: DDP's options, or any one fact."""

    row: Row
    other: Row
    quotient: Estimate | None
    """Its throughput over that of the other row; None where its speed is withheld."""
    bytes_more: int | None
    """Its peak on the device that holds most, less the other row's."""
    outcome: str
    """That of the ratio; `withheld` where there is none."""

    @property
    def sentence(self) -> Message:
        """One line: `--one-bucket: slower, 0.93 times as fast (95 % interval 0.90–0.96), memory +12.0 MiB`."""
        return self.told_of(self.row.name.options)

    def told_of(self, what: Message | str) -> Message:
        """The same line of whatever sets the row apart."""
        doubts = [check.id for check in troubles(pooled_checks(self.row), "speed")]
        missing = {"here": self.row.missing_runs, "there": self.other.missing_runs}
        more = message("effect.memory", bytes=self.bytes_more) if self.bytes_more is not None else message("nothing")
        return message(
            "effect.line",
            options=what,
            outcome=message(f"effect.{self.outcome}", ratio=self.quotient, **missing),
            memory=more,
            doubts=message("effect.doubts", checks=doubts) if doubts else message("nothing"),
        )


def effects(group: Group) -> list[Effect]:
    """One for each row that has a default row to be compared with, in the order of the rows."""
    return [effect_of(row, row.default_options_row) for row in group.rows if row.default_options_row is not None]


def by_standard(found: list[Effect]) -> dict[Row, list[Effect]]:
    """The effects under the row that they are compared with."""
    return {
        standard: [effect for effect in found if effect.row.default_options_row is standard]
        for standard in dict.fromkeys(effect.row.default_options_row for effect in found)
    }


def effect_of(row: Row, standard: Row) -> Effect:
    """What sets `row` apart from `standard`, in speed and in memory."""
    peaks = [max((device.peak_bytes for device in one.memory), default=None) for one in (row, standard)]
    more = None if None in peaks else peaks[0] - peaks[1]
    quotient = speedup_beside(row, standard) if row.is_valid else None
    return Effect(row, standard, quotient, more, outcome_of_ratio(quotient) if quotient else "withheld")


def without_default(group: Group) -> list[Message]:
    """A line for every set of rows that differ in DDP's options alone and lack the default ones."""
    alike: dict[tuple, list[Row]] = {}
    for row in group.main_rows:
        if row.options and row.is_valid:
            alike.setdefault(tuple(row.options_free_key.values()), []).append(row)
    return [message("effect.no_default", rows=[row.name for row in rows]) for rows in alike.values() if len(rows) > 1]
