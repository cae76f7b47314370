"""As many rounds of the same launches as the answer needs, and what they have shown so far."""

# Only mypy reads `Estimate`: its module takes numpy and scipy with it, which nothing else here needs.
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING, Any

from common.campaigns.adaptive import MIN_ROUNDS
from common.campaigns.campaign import RoundCampaign
from common.campaigns.launcher import in_minutes
from common.campaigns.launches import PUBLISHED, QUIET, RESULTS, paired_seconds, runs_in
from common.campaigns.pilot import with_epochs_that_fit
from common.campaigns.session import Session
from common.messages import Message, message
from common.records import Method, Record

if TYPE_CHECKING:
    from common.analysis.statistics.estimates import Estimate

RATIOS: dict[str, tuple[Method, Method]] = {
    "DP": ("dp", "single"),
    "DDP": ("ddp", "single"),
    "DDP / DP": ("ddp", "dp"),
}
"""Whose throughput is divided by whose."""


def seconds_by_round(runs: Sequence[Record]) -> list[tuple[float, ...]]:
    """Seconds per sample of `PUBLISHED`, in each round that has left all its records."""
    return paired_seconds(*([run for run in runs if run.method == method] for method in PUBLISHED))


def ratios_of(rounds: Sequence[Sequence[float]]) -> dict[str, Estimate]:
    """Throughput ratios by their names, from seconds per sample of `PUBLISHED` in each round; without intervals below
    `MIN_ROUNDS`, none before the first."""
    if not rounds:
        return {}
    from common.analysis.statistics.estimates import Estimate, paired_ratio

    seconds = dict(zip(PUBLISHED, zip(*rounds, strict=True), strict=True))
    if len(rounds) < MIN_ROUNDS:
        return {name: Estimate(fmean(seconds[slow]) / fmean(seconds[fast])) for name, (fast, slow) in RATIOS.items()}
    return {name: paired_ratio(seconds[slow], seconds[fast]) for name, (fast, slow) in RATIOS.items()}


def half_interval(ratio: Estimate) -> float:
    """How far the upper end of the 95 % interval lies above the value, as a share of it."""
    return ratio.bounds[1] / ratio.value - 1


def after_another(ratio: Estimate) -> float:
    """The half interval that one more round would leave, if it scatters like those before."""
    assert ratio.relative_error is not None
    rounds = ratio.degrees_of_freedom + 1
    error = ratio.relative_error * (rounds / (rounds + 1)) ** 0.5
    return half_interval(replace(ratio, relative_error=error, degrees_of_freedom=rounds))


class StoppingRule:
    """How many rounds there are to be, and why."""

    def __init__(self, session: Session, campaign: RoundCampaign) -> None:
        self.session, self.campaign = session, campaign
        given = session.overrides
        session.total = given.repeats or campaign.repeats
        minutes, tolerance = given.minutes or campaign.minutes, given.tolerance or campaign.tolerance
        self.tolerance = tolerance / 100 if tolerance and not given.repeats else None
        self.limit = 60 * minutes if not given.repeats and session.total > 1 else math.inf
        self.none_later = message("no new round after {time} (MINUTES)", time=in_minutes(60 * minutes))
        known = {"total": session.total, "none_later": self.none_later, "tolerance": _percent(self.tolerance or 0)}
        if self.tolerance:
            session.say(message(
                "{total} rounds or more, until each ratio is known to {tolerance} (TOLERANCE); {none_later}.", **known
            ), gap="\n")  # fmt: skip
        elif self.limit < math.inf:
            session.say(message("{total} rounds; {none_later}. REPEATS={total} runs them all.", **known), gap="\n")

    def run(self) -> None:
        """All rounds, with the page after the first. Raises `LaunchError` where a launch or the pilot fails."""
        session, pace, report = self.session, self.session.pace, self.campaign.report
        session.overrides = with_epochs_that_fit(session, self.campaign)
        for number, commands in enumerate(self.campaign.rounds(session.here, session.overrides, session.seed), 1):
            few, more = message("Round {number} of {total}"), message("Round {number} of {total} or more")
            heading = (more if self.tolerance else few).with_values(number=number, total=session.total)
            for place, command in enumerate(commands, 1):
                later = [*commands[place - 1 :], *commands * (session.total - number), report]
                session.launch(command, (number, place), heading, pace.progress(later))
            session.finished = number
            seconds = pace.of(commands) or 0
            is_another_to_come, why = self._another(self._so_far() if self.campaign.tolerance else [], seconds)
            if why:
                session.say(why)
            if not is_another_to_come:
                break
            if number == session.total:
                session.total += 1
                pace.allow(seconds)
            if number == 1:
                text = message("the first page, to open and to reload at the end: comparison_report.html")
                session.launch(report + QUIET, None, message("After the first round"), text)

    def _so_far(self) -> list[tuple[float, ...]]:
        """`seconds_by_round` of this session, after a line of what they say."""
        session = self.session
        rounds = seconds_by_round([run for run in runs_in(RESULTS) if run.launch and run.launch.id == session.id])
        ratios = _in_words(ratios_of(rounds), message("one GPU") if session.here.gpus else message("one core"))
        after = message("After {rounds}: {ratios}.", rounds=self._counted(session.finished), ratios=ratios)
        session.say(after, gap="\n")
        return rounds

    def _another(self, rounds: list[tuple[float, ...]], seconds: float) -> tuple[bool, Message | None]:
        """Whether there is another round, which takes about so many seconds, and why, where that is worth a line.
        `rounds`: what those before have shown; nothing in a campaign without a tolerance."""
        finished, total, tolerance = self.session.finished, self.session.total, self.tolerance
        known: dict[str, Any] = {"number": finished + 1, "total": total, "time": in_minutes(seconds), "effect": ""}
        half = math.inf
        if len(rounds) >= MIN_ROUNDS:
            name, ratio = max(ratios_of(rounds).items(), key=lambda pair: half_interval(pair[1]))
            half, after = half_interval(ratio), _percent(after_another(ratio))
            known |= {"name": name, "half": _percent(half), "tolerance": _percent(tolerance or 0), "after": after}
            known["effect"] = message("; the widest interval, {name} {half}, would become about {after}", **known)
        if finished < total and self.session.pace.elapsed > self.limit:
            known |= {"finished": finished, "none_later": self.none_later, "again": self.session.again()}
            return False, message("{finished} of {total} rounds: {none_later}. For the rest: {again}", **known)
        if finished < total:
            following = message("Next: round {number} of {total}, about {time}{effect}.", **known)
            return True, following if self.campaign.tolerance else None
        if tolerance is None:
            return False, None
        if len(rounds) < MIN_ROUNDS:
            lost = self._counted(finished - len(rounds))
            missing = message("Records of {lost} are missing: more rounds may not help, and none is added.", lost=lost)
            return False, missing
        if half <= tolerance:
            return False, message("Each ratio is known to {tolerance} (TOLERANCE): enough.", **known)
        lacking = message("{name} is known to {half} and not yet to {tolerance} (TOLERANCE)", **known)
        known |= {"lacking": lacking, "limit": in_minutes(self.limit)}
        page = self.session.pace.of([self.campaign.report]) or 0
        if self.session.pace.elapsed + seconds + page > self.limit:
            late = message("{lacking}, but another round, about {time}, would end after {limit} (MINUTES).", **known)
            return False, late
        return True, message("{lacking}: round {number} is added, about {time}{effect}.", **known)

    def _counted(self, rounds: int) -> str:
        return self.session.words.counted(rounds, "{count} round", "{count} rounds")


def _in_words(ratios: dict[str, Estimate], one_device: Message) -> Message:
    """All of them in one line."""
    if not ratios:
        return message("nothing yet, because a record is missing")
    lines = []
    for ratio in ratios.values():
        with_interval, alone = message("{value:.2f} × ({low:.2f}–{high:.2f})"), message("{value:.2f} ×")
        low, high = ratio.bounds
        lines.append((with_interval if ratio.interval else alone).with_values(value=ratio.value, low=low, high=high))
    dp, ddp, both = lines
    line = message("DP {dp}, DDP {ddp} {one_device}; DDP {both} DP", dp=dp, ddp=ddp, one_device=one_device, both=both)
    if ratios["DP"].interval:
        return line
    return message("{line}; intervals from {least} rounds on", line=line, least=MIN_ROUNDS)


def _percent(share: float) -> Message:
    percent = f"{100 * share:.{1 if share < 0.1 else 0}f}".removesuffix(".0")
    return message("± {percent} %", percent=percent)
