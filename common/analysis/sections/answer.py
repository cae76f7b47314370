"""The answer at the head of the page: the methods of the headline beside one device, why, and what to tell others."""

from dataclasses import dataclass
from itertools import pairwise

from common.analysis.comparing.groups import Group
from common.analysis.comparing.rows import Row, RowName
from common.analysis.comparing.speedup import speedup
from common.analysis.judging.breakdown import breakdowns
from common.analysis.judging.verdicts import Decision, device_here, recommended, short_method
from common.analysis.judging.why import why
from common.analysis.predicting.forecast import GroupForecast
from common.analysis.reading.runs import TENTHS
from common.analysis.sections.comparison import doubts_about_speed
from common.analysis.sections.headline import batch_of, place
from common.analysis.sections.prediction import is_trusted
from common.content import CheckMark, Message, message
from common.records import method_order

SHARE_OF_TIME = {"data_wait": 1.0, "warm_up": 1 / TENTHS}
"""Checks whose share is one of the measured time, or of that of the first tenth of the steps."""


@dataclass(frozen=True)
class Answer:
    """What a reader sees first."""

    rows: list[Row]
    """One device, then one row of each method."""
    why: list[Message]
    """A sentence each; empty without steps that were profiled."""
    unsure: list[Message]
    """Pairs that could change places without what the marks name."""

    @property
    def because(self) -> Message | None:
        """The one reason that is given beside the verdict; the ideal is none by itself."""
        return next((part for part in self.why if "ideal" not in part.values), None)

    @property
    def doubts(self) -> dict[RowName, list[CheckMark]]:
        """What else the speeds contain, by row."""
        of_rows = {row.name: [check.mark for check in doubts_about_speed(row)] for row in self.rows}
        return {name: marks for name, marks in of_rows.items() if marks}


def answer_of(group: Group) -> Answer | None:
    """The methods of the headline's group; None where every speed is withheld."""
    rows = group.representatives
    if group.oversubscribed and not any(row.speed_up for row in rows):
        rows = [*(row for row in rows if not row.is_parallel), *group.oversubscribed]
    rows = sorted(rows, key=lambda row: method_order(row.method))
    return Answer(rows, why(rows, breakdowns(group)), _unsure(rows)) if rows else None


def _unsure(rows: list[Row]) -> list[Message]:
    """Rows and the next faster ones that they might overtake, were they free of all the time that their marks name."""
    fastest_first = sorted((row for row in rows if row.throughput), key=lambda row: row.seconds_per_sample.value)
    pairs = []
    for faster, slower in pairwise(fastest_first):
        interval, doubts = speedup(faster, slower).interval, doubts_about_speed(slower)
        marked = [SHARE_OF_TIME[doubt.id] * doubt.reason["share"] for doubt in doubts if doubt.id in SHARE_OF_TIME]
        has_other_doubts = len(marked) < len(doubts)
        if interval is None or has_other_doubts or interval[0] * (1 - sum(marked)) <= 1:
            one, other = (row.name if row.is_parallel else device_here(row) for row in (faster, slower))
            pairs.append(message("answer.pair", one=one, other=other))
    return pairs


def to_pass_on(decision: Decision, answer: Answer, group: Group, predicted: GroupForecast | None) -> list[Message]:
    """The decision in two sentences, to be copied, with numbers and conditions; nothing where nothing is decided."""
    best = recommended(decision)
    if decision.choice not in ("use_method", "tie", "use_single") or (best.speed_up and not best.speed_up.interval):
        return []
    one = device_here(best)
    where = {"place": place(answer.rows), "model": best.record.config.model,
             "batch": batch_of(group), "one": one, "runs": len(best.runs)}  # fmt: skip
    others = [message("pass_on.other", other=short_method(row), ratio=row.speed_up, one=one)
              for row in answer.rows if row is not best and row.speed_up and row.speed_up.interval]  # fmt: skip
    # Most of DP's loss is its host's work, in new threads and new replicas.
    is_host_bound = any(of_step.verdict == "host" for of_step in breakdowns(group))
    because = message("pass_on.because_host" if is_host_bound else "nothing")
    second = [message("pass_on.others", others=others, because=because)] if others else []
    if not best.speed_up:
        return [message("pass_on.use_single", **where), *second]
    first = message(f"pass_on.{decision.choice}", method=short_method(best), ratio=best.speed_up,
                    forecast=_forecast(best, predicted), **where)  # fmt: skip
    return [first, message("pass_on.advised")] if decision.choice == "tie" else [first, *second]


def _forecast(best: Row, predicted: GroupForecast | None) -> Message:
    """What the most devices are predicted to do that were asked for and not run."""
    of_method = [one for one in predicted.forecasts if one.method == best.method] if predicted else []
    most = max(of_method, key=lambda one: one.devices, default=None)
    if most is None or most.measured or most.devices <= best.devices or not is_trusted(predicted):
        return message("nothing")
    devices = message("place.gpus" if best.on_gpu else "place.cores", count=most.devices)
    low, high = most.speed_up_range
    return message("pass_on.forecast", devices=devices, low=low, high=high)
