"""As many rounds of the same launches as the answer needs, and what they have shown so far."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING

from common.campaigns.adaptive import MIN_ROUNDS
from common.campaigns.campaign import RoundCampaign
from common.campaigns.launcher import in_minutes
from common.campaigns.launches import QUIET, RESULTS, Plan, PlannedLaunch, runs_in
from common.campaigns.session import Session, with_epochs_that_fit
from common.messages import Message, message
from common.records import METHODS, Record, Step, seconds_per_sample

if TYPE_CHECKING:
    from common.analysis.statistics.estimates import Estimate

RATIOS: dict[str, tuple[Step, Step]] = {"DP": ("03", "02"), "DDP": ("04", "02"), "DDP / DP": ("04", "03")}
"""Whose throughput is divided by whose, by step."""


class RoundRatios:
    """Throughput ratios over paired rounds. A round counts once all three of its runs are there."""

    def __init__(self) -> None:
        self._seconds: dict[Step, list[float]] = {"02": [], "03": [], "04": []}
        """Per sample, by step, one for each round."""

    @property
    def rounds(self) -> int:
        """How many count."""
        return len(self._seconds["02"])

    def add(self, records: Iterable[Record]) -> None:
        """Enter the runs of one round."""
        # A method with a flag of its own shares its step with another, which is the one that is compared.
        completed = (one for one in records if one.status == "completed" and not METHODS[one.method].flags)
        of_round = {record.step: seconds for record in completed if (seconds := seconds_per_sample(record))}
        if of_round.keys() == self._seconds.keys():
            for step, seconds in of_round.items():
                self._seconds[step].append(seconds)

    def ratio(self, name: str) -> Estimate:
        """One of `RATIOS`; without an interval below `MIN_ROUNDS`. ValueError before the first round."""
        # Imported this late: it takes numpy and scipy with it, which nothing else here needs.
        from common.analysis.statistics.estimates import Estimate, paired_ratio

        faster, slower = (self._seconds[step] for step in RATIOS[name])
        if self.rounds < MIN_ROUNDS:
            return Estimate(fmean(slower) / fmean(faster))
        return paired_ratio(slower, faster)

    def widest(self) -> tuple[str, float]:
        """The ratio that is known least well, and its half interval, from `MIN_ROUNDS` on."""
        return max(((name, half_interval(self.ratio(name))) for name in RATIOS), key=lambda pair: pair[1])

    def after_another(self) -> float:
        """The widest half interval that one more round would leave, if it scatters like those before."""
        now, rounds = self.ratio(self.widest()[0]), self.rounds
        assert now.relative_error is not None
        error = now.relative_error * (rounds / (rounds + 1)) ** 0.5
        return half_interval(replace(now, relative_error=error, degrees_of_freedom=rounds))

    def in_words(self, one_device: Message) -> Message:
        """All of it in one line."""
        if not self.rounds:
            return message("nothing yet, because a record is missing")
        dp, ddp, both = (_in_words(self.ratio(name)) for name in RATIOS)
        line = message(
            "DP {dp}, DDP {ddp} {one_device}; DDP {both} DP", dp=dp, ddp=ddp, one_device=one_device, both=both
        )
        if self.rounds >= MIN_ROUNDS:
            return line
        return message("{line}; intervals from {least} rounds on", line=line, least=MIN_ROUNDS)


def half_interval(ratio: Estimate) -> float:
    """How far the upper end of the 95 % interval lies above the value, as a share of it."""
    assert ratio.interval is not None
    return ratio.interval[1] / ratio.value - 1


def _in_words(ratio: Estimate) -> Message:
    if ratio.interval is None:
        return message("{value:.2f} ×", value=ratio.value)
    low, high = ratio.interval
    return message("{value:.2f} × ({low:.2f}–{high:.2f})", value=ratio.value, low=low, high=high)


def rounds_as_needed(session: Session, campaign: RoundCampaign) -> Plan:
    """All of them, with the page after the first. Raises `LaunchError` where the pilot fails."""
    rule = StoppingRule(session, campaign)
    session.overrides = with_epochs_that_fit(session, campaign)
    one_device = message("one GPU") if session.here.gpus else message("one core")
    for number, commands in enumerate(campaign.rounds(session.here, session.overrides, session.seed), 1):
        few, more = message("Round {number} of {total}"), message("Round {number} of {total} or more")
        heading = (more if rule.tolerance else few).with_values(number=number, total=session.total)
        for place, command in enumerate(commands, 1):
            later = [*commands[place - 1 :], *commands * (session.total - number), campaign.report]
            yield PlannedLaunch(command, (number, place), heading, session.pace.progress(later))
        session.finished = number
        if rule.ratios:
            launched = [(run.launch, run) for run in runs_in(RESULTS, session.files_before)]
            of_round = (run for launch, run in launched if launch and (launch.id, launch.round) == (session.id, number))
            rule.ratios.add(of_round)
            ratios = rule.ratios.in_words(one_device)
            session.say(message("After {rounds}: {ratios}.", rounds=_rounds(session, number), ratios=ratios), gap="\n")
        seconds = session.pace.of(commands) or 0
        is_another_to_come, why = rule.another(seconds)
        if why:
            session.say(why)
        if not is_another_to_come:
            break
        if number == session.total:
            session.total += 1
            session.pace.allow(seconds)
        if number == 1:
            text = message("the first page, to open and to reload at the end: comparison_report.html")
            yield PlannedLaunch(campaign.report + QUIET, None, message("After the first round"), text)


class StoppingRule:
    """How many rounds there are to be, and why."""

    def __init__(self, session: Session, campaign: RoundCampaign) -> None:
        self.session, self.campaign = session, campaign
        given = session.overrides
        session.total = given.repeats or campaign.repeats
        self.ratios = RoundRatios() if campaign.tolerance else None
        minutes, tolerance = given.minutes or campaign.minutes, given.tolerance or campaign.tolerance
        self.tolerance = tolerance / 100 if tolerance and not given.repeats else None
        self.limit = 60 * minutes if not given.repeats and session.total > 1 else None
        self.none_later = message("no new round after {time} (MINUTES)", time=in_minutes(60 * minutes))
        known = {"total": session.total, "none_later": self.none_later, "tolerance": _percent(self.tolerance or 0)}
        if self.tolerance:
            session.say(message(
                "{total} rounds or more, until each ratio is known to {tolerance} (TOLERANCE); {none_later}.", **known
            ), gap="\n")  # fmt: skip
        elif self.limit:
            session.say(message("{total} rounds; {none_later}. REPEATS={total} runs them all.", **known), gap="\n")

    def another(self, seconds: float) -> tuple[bool, str | Message]:
        """Whether there is another round, which takes about so many seconds, and why, where that is worth a line."""
        session, ratios, tolerance, limit = self.session, self.ratios, self.tolerance, self.limit
        finished, total = session.finished, session.total
        next_one = {"number": finished + 1, "total": total, "time": in_minutes(seconds), "effect": self._would_leave()}
        if finished < total:
            if limit is not None and session.pace.elapsed > limit:
                stop = message("{finished} of {total} rounds: {none_later}. For the rest: {again}")
                known = {"finished": finished, "total": total, "none_later": self.none_later}
                return False, stop.with_values(again=session.again(), **known)
            return True, message("Next: round {number} of {total}, about {time}{effect}.", **next_one) if ratios else ""
        if tolerance is None or ratios is None or limit is None:
            return False, ""
        if ratios.rounds < MIN_ROUNDS:
            lost = _rounds(session, finished - ratios.rounds)
            return False, message(
                "Records of {lost} are missing: more rounds may not help, and none is added.", lost=lost
            )
        name, half = ratios.widest()
        known = {"name": name, "half": _percent(half), "tolerance": _percent(tolerance)}
        if half <= tolerance:
            return False, message("Each ratio is known to {tolerance} (TOLERANCE): enough.", **known)
        lacking = message("{name} is known to {half} and not yet to {tolerance} (TOLERANCE)", **known)
        if session.pace.elapsed + seconds + (session.pace.of([self.campaign.report]) or 0) > limit:
            late = message("{lacking}, but another round, about {time}, would end after {limit} (MINUTES).")
            return False, late.with_values(lacking=lacking, limit=in_minutes(limit), **next_one)
        return True, message("{lacking}: round {number} is added, about {time}{effect}.", lacking=lacking, **next_one)

    def _would_leave(self) -> str | Message:
        if self.ratios is None or self.ratios.rounds < MIN_ROUNDS:
            return ""
        (name, half), after = self.ratios.widest(), self.ratios.after_another()
        would = message("; the widest interval, {name} {half}, would become about {after}")
        return would.with_values(name=name, half=_percent(half), after=_percent(after))


def _percent(share: float) -> Message:
    percent = f"{100 * share:.{1 if share < 0.1 else 0}f}".removesuffix(".0")
    return message("± {percent} %", percent=percent)


def _rounds(session: Session, number: int) -> str:
    return session.words.counted(number, "{count} round", "{count} rounds")
