"""Rounds of the same launches: how long an epoch is, how many rounds the answer needs, and what they have shown so far.

`make lab` on GPUs begins with a pilot, a short run of 02. A launch of it takes 7.5 s on an H200 besides its measured
steps, whatever their number. So a longer epoch buys precision for less than another launch does; and on a slow GPU it
must not be so long that three rounds miss the time.
"""

import math
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from time import monotonic
from typing import TYPE_CHECKING, Any

from common.campaigns.adaptive import MIN_ROUNDS
from common.campaigns.campaign import RoundCampaign
from common.campaigns.launches import NO_PROFILE, PUBLISHED, QUIET, RESULTS, Sizes, paired_seconds, runs_in
from common.campaigns.session import Session, in_minutes
from common.messages import Message, message
from common.records import Method, Record

if TYPE_CHECKING:  # at run time it is imported late: it takes numpy and scipy with it, which nothing else here needs
    from common.analysis.statistics.estimates import Estimate

PILOT_STEPS = 20
"""Of the pilot; and of all devices in an epoch, the fewest that are worth a launch."""
MEASURED_PER_LAUNCH = 2.5
"""Seconds of measured steps in step 02 for each second that a launch costs besides. 04 on N GPUs measures an N-th of
it, and costs more."""
LAUNCH_GROWS = 1.2
"""What a launch of 02, 03 or 04 costs on average, in launches of 02."""
SHARE_OF_ROUNDS = 0.75
"""Of the campaign's time. Step 01, the pilot, the profile of the first round and the page take the rest."""
RATIOS: dict[str, tuple[Method, Method]] = {"DP": ("dp", "single"), "DDP": ("ddp", "single"), "DDP / DP": ("ddp", "dp")}
"""Whose throughput is divided by whose."""


def epoch_samples(rate: float, besides: float, sizes: Sizes, devices: int, seconds: float) -> int:
    """Samples of an epoch that is long enough for what a launch costs, and leaves three rounds within `seconds`.

    `rate` is one device's, in samples per second; `sizes.samples` is what an epoch has without a pilot.
    """
    steps_in = rate / sizes.epochs / sizes.batch  # of an epoch, for each second that 02 measures
    wanted = MEASURED_PER_LAUNCH * besides * steps_in
    # 03 may be no faster than 02; 04 is, about as many times as there are devices.
    fitting = (SHARE_OF_ROUNDS * seconds / 3 - 3 * LAUNCH_GROWS * besides) / (2 + 1 / devices) * steps_in
    # The next lower of 1, 2, 3, 4, 6, 8, 12, …: two campaigns on one machine are to choose the same.
    most = max(1, min(wanted, fitting))
    power = 2 ** math.floor(math.log2(most))
    coarse = power * 3 // 2 if most >= power * 1.5 and power > 1 else power
    usual = sizes.samples / sizes.batch
    steps = max(coarse, usual if usual <= fitting else PILOT_STEPS * devices)
    return math.ceil(steps / devices) * devices * sizes.batch


def seconds_by_round(runs: Sequence[Record]) -> list[tuple[float, ...]]:
    """Seconds per sample of `PUBLISHED`, in each round that has left all its records."""
    return paired_seconds(*([run for run in runs if run.method == method] for method in PUBLISHED))


def ratios_of(rounds: Sequence[Sequence[float]]) -> dict[str, "Estimate"]:
    """Throughput ratios by their names, from seconds per sample of `PUBLISHED` in each round; without intervals below
    `MIN_ROUNDS`, none before the first."""
    if not rounds:
        return {}
    from common.analysis.statistics.estimates import Estimate, paired_ratio

    seconds = dict(zip(PUBLISHED, zip(*rounds, strict=True), strict=True))
    if len(rounds) < MIN_ROUNDS:
        return {name: Estimate(fmean(seconds[slow]) / fmean(seconds[fast])) for name, (fast, slow) in RATIOS.items()}
    return {name: paired_ratio(seconds[slow], seconds[fast]) for name, (fast, slow) in RATIOS.items()}


def half_interval(ratio: "Estimate") -> float:
    """How far the upper end of the 95 % interval lies above the value, as a share of it."""
    return ratio.bounds[1] / ratio.value - 1


def after_another(ratio: "Estimate") -> float:
    """The half interval that one more round would leave, if it scatters like those before."""
    assert ratio.relative_error is not None
    rounds = ratio.degrees_of_freedom + 1
    error = ratio.relative_error * (rounds / (rounds + 1)) ** 0.5
    return half_interval(replace(ratio, relative_error=error, degrees_of_freedom=rounds))


class RoundRunner:
    """Runs them, one after another, and decides after each whether there is another one."""

    def __init__(self, session: Session, campaign: RoundCampaign) -> None:
        self.session, self.campaign = session, campaign
        given = session.overrides
        session.total = given.repeats or campaign.repeats
        self.seconds = 60 * (given.minutes or campaign.minutes)
        tolerance = given.tolerance or campaign.tolerance
        self.tolerance = tolerance / 100 if tolerance and not given.repeats else None
        self.limit = self.seconds if not given.repeats and session.total > 1 else math.inf
        self.none_later = message("no new round after {time} (MINUTES)", time=in_minutes(self.seconds))
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
        given, has_tolerance = session.overrides, self.campaign.tolerance is not None
        if session.here.gpus and has_tolerance and not (given.samples or given.epochs):
            self._choose_epoch()
        for number, commands in enumerate(self.campaign.rounds(session.here, session.overrides, session.seed), 1):
            few, more = message("Round {number} of {total}"), message("Round {number} of {total} or more")
            heading = (more if self.tolerance else few).with_values(number=number, total=session.total)
            for place, command in enumerate(commands, 1):
                later = [*commands[place - 1 :], *commands * (session.total - number), report]
                session.launch(command, (number, place), heading, pace.progress(later))
            session.finished = number
            seconds = pace.of(commands) or 0
            is_another_to_come, why = self._another(self._so_far() if has_tolerance else [], seconds)
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

    def _choose_epoch(self) -> None:
        """Run the pilot, and set the samples of an epoch by it; without a usable record they stay as they are."""
        session, given = self.session, self.session.overrides
        devices = self.campaign.devices(session.here, given)
        sizes = self.campaign.sizes["cuda"].chosen(given, devices)
        with TemporaryDirectory() as folder:
            few = replace(sizes, epochs=1, samples=PILOT_STEPS * sizes.batch)
            command = few.command("single", flags=f"{NO_PROFILE}{QUIET} --results-dir {shlex.quote(folder)}")
            session.say(message("A pilot, to choose how long an epoch is (SAMPLES):"), gap="\n")
            session.say(f"$ {command}")
            started = monotonic()
            session.launcher.run(command)
            seconds = monotonic() - started
            records = runs_in(Path(folder))
        if records and (rate := records[0].throughput):
            besides = seconds - sum(records[0].epoch_seconds)
            samples = epoch_samples(rate, besides, sizes, devices, self.seconds)
            text = message("{rate:samples/s}, and {besides:.0f} s for a launch besides: SAMPLES={samples}")
            session.say(text.with_values(rate=rate, besides=besides, samples=samples))
            session.overrides = replace(given, samples=samples)

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
            missing = message("Records of {lost} are missing: more rounds may not help, and none is added.")
            return False, missing.with_values(lost=self._counted(finished - len(rounds)))
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


def _in_words(ratios: dict[str, "Estimate"], one_device: Message) -> Message:
    """All of them in one line."""
    if not ratios:
        return message("nothing yet, because a record is missing")
    has_intervals = ratios["DP"].interval is not None
    form = message("{value:.2f} × ({low:.2f}–{high:.2f})") if has_intervals else message("{value:.2f} ×")
    dp, ddp, both = (
        form.with_values(value=ratio.value, low=ratio.bounds[0], high=ratio.bounds[1]) for ratio in ratios.values()
    )
    line = message("DP {dp}, DDP {ddp} {one_device}; DDP {both} DP", dp=dp, ddp=ddp, one_device=one_device, both=both)
    return line if has_intervals else message("{line}; intervals from {least} rounds on", line=line, least=MIN_ROUNDS)


def _percent(share: float) -> Message:
    percent = f"{100 * share:.{1 if share < 0.1 else 0}f}".removesuffix(".0")
    return message("± {percent} %", percent=percent)
