"""The figures of results/examples by the lab's own code, in its own number formats, as documents quote them."""

from collections.abc import Callable, Iterator
from functools import cache, partial

from conftest import ROOT

from common.analysis.comparing.rows import Row
from common.analysis.comparing.speedup import speedup
from common.analysis.comparing.utilisation import copy_seconds
from common.analysis.judging.breakdown import Breakdown
from common.analysis.reading.folder import read_folder, read_record
from common.analysis.reading.runs import Run
from common.analysis.sections.report import build_report
from common.analysis.statistics.estimates import Estimate
from common.analysis.statistics.medians import Median
from common.formats import FORMATS
from common.records import RankProfile

EXAMPLES = ROOT / "results" / "examples"
Claims = Iterator[tuple[str, str]]
"""Documents, each with a sentence that must stand in it."""
CLAIMS: list[tuple[tuple[str, ...], Callable[..., Claims]]] = []


def of(*folders: str) -> Callable:
    """The claims of a function rest on these folders of records; it is given an `Example` of each."""
    return lambda claims: CLAIMS.append((folders, claims)) or claims


class Example:
    """One folder of records, as step 05 reports it."""

    def __init__(self, name: str) -> None:
        self.name, folder = name, read_folder(EXAMPLES / name)
        self.report = build_report(folder)
        self.probes = folder.probed[-1].probes if folder.probed else None
        self.probed_at = folder.probed[-1].started_at if folder.probed else None
        self.runs = sorted((run.record for run in folder.runs), key=lambda record: record.started_at)
        self.launches = self.probes and self.probes.launches
        self.one, self.dp, self.ddp = map(self.row, ("single", "dp", "ddp"))

    def rows(self, **facts: object) -> list[Row]:
        """In the order of the page; `facts` are fields of a run's configuration."""
        every = [row for part in self.report.groups for row in part.group.rows]
        return [row for row in every if all(getattr(row.record.config, name) == fact for name, fact in facts.items())]

    def row(self, method: str, **facts: object) -> Row | None:
        """The first that fits."""
        return next((row for row in self.rows(**facts) if row.method == method), None)

    def breakdown(self, method: str) -> Breakdown:
        """From the ideal step to the measured one, in the first group."""
        return next(breakdown for breakdown in self.report.groups[0].breakdowns if breakdown.row.method == method)

    def item(self, method: str, id: str):
        """One of its items."""
        return self.breakdown(method).items[id]

    def changed(self, fact: str):
        """The page's comparison of two configurations that differ in one fact."""
        return next(change for change in self.report.changes if change.fact == fact)

    @property
    def bytes_alone(self) -> float:
        """Seconds for the bytes that a step of DP moves, at the rate of step 01."""
        return copy_seconds(self.dp)

    @property
    def steps_of_dp(self) -> RankProfile:
        """The raw steps that DP's run took apart."""
        return read_record(EXAMPLES / self.name / self.apart(self.dp).file).anatomy.ranks[0]

    @staticmethod
    def apart(row: Row) -> Run:
        """The run whose steps were profiled."""
        return next(run for run in reversed(row.runs) if run.profile)

    def pair(self, row: Row, decimals: int) -> str:
        """Milliseconds of a median step that was profiled, and of one of the same run's measured steps."""
        both = (row.profile.slowest.step, self.apart(row).times.typical_step)
        return " and ".join(f"{1e3 * step.value:.{decimals}f}" for step in both)

    @property
    def turns(self) -> Median:
        """A step in kept threads less one from one thread."""
        return self.dp.profile.replicated.turns


def says(document: str, *parts: str) -> tuple[str, str]:
    """A claim: the document has this text."""
    return document, "".join(parts)


example = cache(Example)
ratio_of: Callable[[Row, Row], Estimate] = speedup


def _value(form: str, estimate) -> str:
    return FORMATS[form](getattr(estimate, "value", getattr(estimate, "seconds", estimate))).number


def _ends(form: str, estimate) -> str:
    return FORMATS[form](*estimate.interval).number


def _both(form: str, estimate) -> str:
    return f"{_value(form, estimate)} ({_ends(form, estimate)})"


times, times_ends, times_both = (partial(write, "ratio") for write in (_value, _ends, _both))
ms, ms_ends, ms_both = (partial(write, "ms") for write in (_value, _ends, _both))
rate, percent, whole, number = (partial(_value, form) for form in ("samples/s", "%", "count", "number"))
us = lambda seconds: number(1e6 * seconds)  # noqa: E731
gib = lambda size: FORMATS["GiB"](size).number  # noqa: E731
gb = lambda size: FORMATS["B"](size)  # noqa: E731
