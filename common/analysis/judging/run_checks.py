"""What must hold before a number is believed: what a self-check is, and those of how a run trained.

Each check is a small function that answers one question. What the table calls a warning does not make a number wrong;
it says what else the number may have measured.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from common.analysis.reading.runs import CLOCK_TOLERANCE, IMPOSSIBLE_CLOCK, Run
from common.content import Mark, Message, message
from common.records import METHODS

DATA_WAIT_LIMIT = 0.05
WARM_UP_LIMIT = 0.05
MIN_STEPS = 10
STANDSTILL_SECONDS, STANDSTILL_TIMES = 5.0, 10
"""A step that takes so much longer than the typical one, and so many times as long, is no step of training alone."""
MAX_DISTURBANCE = 0.03
"""By how much steps may differ from the measured ones when they are taken apart."""
IMAGENET_IMAGES = 1_281_167
"""Of ILSVRC 2012's training set."""

Outcome = Literal["passed", "warning", "failed", "not applicable", "not measured"]
Affected = Literal["speed", "profile"]


@dataclass(frozen=True)
class Check:
    """One answered question about one run, or one row of the table."""

    id: str
    outcome: Outcome
    reason: Message
    affects: Affected = "speed"
    """The number that a failure is about, so that the page can put the warning beside it."""
    share: float | None = None
    """How much of that number it is about."""

    @property
    def has_failed(self) -> bool:
        """Whether it must stand beside that number."""
        return self.outcome in ("failed", "warning")

    @property
    def mark(self) -> Mark:
        """What stands there."""
        if self.id in ("warm_up", "steps"):
            text = message(f"mark.{self.id}", **self.reason.values)
        else:
            text = message("mark.plain" if self.share is None else "mark.share", check=self.id, share=self.share)
        return Mark(text, self.outcome, self.reason)


def answer(id: str, outcome: Outcome, reason: str, **values: Any) -> Check:
    """A check whose reason is the sentence `check.<id>.<reason>`."""
    return Check(id, outcome, Message(f"check.{id}.{reason}", values), share=values.get("share"))


def training_checks(run: Run) -> list[Check]:
    """What a run's own record says of its training; the run has finished an epoch."""
    of_images = [_images] if run.record.config.unit == "images" else []
    questions = (_parity, _samples, _clock, _warm_up, _steps, _standstill, _data_wait, _loss, _profile, _epoch_start,
                 *of_images, _start)  # fmt: skip
    return [question(run) for question in questions]


def _parity(run: Run) -> Check:
    parity = run.record.parity
    if parity is None and METHODS[run.record.method].is_parallel:
        return answer("parity", "not measured", "missing")
    if parity is not None and parity.outcome == "not applicable" and parity.shards > 1:
        return answer("parity", "not applicable", "not_comparable", note=parity.note)
    if parity is None or parity.outcome == "not applicable":
        return answer("parity", "not applicable", "one_device")
    options = run.record.config.ddp
    hook = options.comm_hook if options else "none"
    values = {
        "error": parity.max_relative_error,
        "tolerance": parity.tolerance or 0.0,
        "parameter": parity.worst_parameter,
        "note": message("quoted.text", text=parity.note) if hook == "none" else message(f"parity_note.{hook}"),
    }
    if parity.outcome == "failed":
        reason = "not_finite" if parity.max_relative_error is None else "failed"
        return answer("parity", "failed", reason, **values)
    return answer("parity", "passed", "passed_with_note" if parity.note else "passed", **values)


def _samples(run: Run) -> Check:
    wrong = run.times.unexpected_samples
    if wrong is None:
        counts = list(dict.fromkeys(epoch.samples for epoch in run.record.epochs))
        return answer("samples", "passed", "passed", counts=counts)
    if wrong.seen != wrong.expected:
        return answer("samples", "failed", "count", epoch=wrong.epoch, seen=wrong.seen, expected=wrong.expected)
    return answer("samples", "failed", "checksum", epoch=wrong.epoch)


def _clock(run: Run) -> Check:
    """The host's clock compared with the devices', epoch by epoch."""
    share = run.times.clock_difference_share
    if run.failed_check == "clock":
        return answer("clock", "failed", "impossible", share=share, limit=IMPOSSIBLE_CLOCK)
    exact = share <= CLOCK_TOLERANCE
    return answer("clock", "passed" if exact else "warning", "differs", share=share, limit=CLOCK_TOLERANCE)


def _warm_up(run: Run) -> Check:
    """Are the first tenth of the steps slower than a batch of as many later steps would be by chance (99 %)?"""
    first = run.times.first_steps
    if first is None:
        return answer("warm_up", "not measured", "too_few", steps=run.times.steps, least=MIN_STEPS)
    slow = first.slower_share > max(WARM_UP_LIMIT, first.chance_share)
    values = {"steps": first.steps, "share": first.slower_share}
    return answer("warm_up", "warning" if slow else "passed", "slower" if slow else "passed", **values)


def _steps(run: Run) -> Check:
    few = run.times.steps < MIN_STEPS
    return answer("steps", "warning" if few else "passed", "too_few" if few else "passed", steps=run.times.steps)


def _standstill(run: Run) -> Check:
    """Did the machine, or the whole run, stand still in the middle of a measured step?"""
    longest, typical = run.times.longest_step, run.times.typical_step.value
    stood = longest > max(typical + STANDSTILL_SECONDS, STANDSTILL_TIMES * typical)
    values = {"longest": longest, "times": longest / max(typical, 1e-12)}
    return answer("standstill", "warning" if stood else "passed", "stood" if stood else "passed", **values)


def _data_wait(run: Run) -> Check:
    share = run.times.data_wait_share
    long = share > DATA_WAIT_LIMIT
    values = {"share": share, "limit": DATA_WAIT_LIMIT}
    return answer("data_wait", "warning" if long else "passed", "long" if long else "short", **values)


def _loss(run: Run) -> Check:
    epochs = run.record.epochs
    losses = [epoch.mean_loss for epoch in epochs]
    if None in losses:
        return answer("loss", "failed", "not_finite", epoch=epochs[losses.index(None)].epoch)
    if len(losses) > 1 and losses[-1] >= losses[0]:
        return answer("loss", "warning", "did_not_fall", first=losses[0], last=losses[-1])
    apart = _normalises_apart(run)
    return answer("loss", "passed", "fell_apart" if apart else "fell", first=losses[0], last=losses[-1])


def _normalises_apart(run: Run) -> bool:
    """Whether each device normalised its own samples by themselves: BatchNorm's running statistics are buffers, and
    models of tokens have none."""
    record, options = run.record, run.record.config.ddp
    has_buffers = record.static_memory is not None and record.static_memory.buffer_bytes > 0
    may_have = has_buffers and record.config.unit != "tokens"
    return record.world.devices > 1 and may_have and not (options and options.sync_bn)


def _profile(run: Run) -> Check:
    """Do the steps that were taken apart take as long as the measured ones? If not, their picture is another step's."""
    if run.profile is None:
        return answer("profile", "not measured", "missing")
    step, measured = run.profile.slowest.step, run.times.typical_step.value
    values = {"step": step.value, "measured": measured, "share": step.value / measured - 1, "limit": MAX_DISTURBANCE}
    low, high = step.bounds
    differs = low > (1 + MAX_DISTURBANCE) * measured or high < (1 - MAX_DISTURBANCE) * measured
    longer = "longer" if step.value > measured else "shorter"
    check = answer("profile", "warning" if differs else "passed", longer if differs else "alike", **values)
    return replace(check, affects="profile")


def _epoch_start(run: Run) -> Check:
    """What a plain loader, which starts anew with each epoch, costs. Worth knowing, and in none of the speeds."""
    seconds, excess = run.times.loader_start_seconds, run.times.first_step_excess_seconds
    if seconds is None and excess is None:
        return answer("epoch_start", "not measured", "missing")
    if seconds is None:
        return answer("epoch_start", "not measured", "left_out", seconds=excess, steps=run.times.steps_left_out)
    epoch = sum(run.epoch_seconds) / len(run.epoch_seconds)
    if run.record.config.unit != "images":
        return answer("epoch_start", "passed", "takes_of_epoch", seconds=seconds, share=seconds / epoch)
    imagenet = IMAGENET_IMAGES * run.seconds_per_sample.value
    return answer("epoch_start", "passed", "takes", seconds=seconds, images=IMAGENET_IMAGES,
                  share=seconds / epoch, of_imagenet=seconds / imagenet)  # fmt: skip


def _images(run: Run) -> Check:
    """Files of `--data-dir` that could not be read."""
    if run.record.config.data_dir is None:
        return answer("images", "not applicable", "synthetic")
    names = run.record.unreadable_files
    if not names:
        return answer("images", "passed", "all")
    reason = "unreadable" if len(names) > 1 else "one_unreadable"
    return answer("images", "warning", reason, count=len(names), files=names)


def _start(run: Run) -> Check:
    """Nothing of this can be wrong; it says what else belongs to this run."""
    resumed, restarts = run.record.resumed, run.record.world.restarts
    parts = [message("start.restarted", times=restarts)] if restarts else []
    if resumed:
        parts.append(message("start.resumed", file=resumed.file, epoch=resumed.epoch, steps=resumed.steps_done))
        if resumed.skipped:
            parts.append(message("start.unreadable", files=resumed.skipped))
    return answer("start", "passed", "parts" if parts else "plain", parts=parts)
