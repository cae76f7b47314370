"""What must hold before a number is believed: every self-check of one run.

Each check is a small function that answers one question. What the table calls a warning does not make a number wrong;
it says what else the number may have measured.
"""

from __future__ import annotations

from dataclasses import replace

from common.analysis.judging import history_checks, machine_checks
from common.analysis.judging.checking import Check, answer
from common.analysis.reading.runs import CLOCK_TOLERANCE, IMPOSSIBLE_CLOCK, Run
from common.content.messages import message
from common.records import METHODS

DATA_WAIT_LIMIT = 0.05
WARM_UP_LIMIT = 0.05
MIN_STEPS = 10
STANDSTILL_SECONDS, STANDSTILL_TIMES = 5.0, 10
"""A step that takes so much longer than the typical one, and so many times as long, is no step of training alone."""
MAX_DISTURBANCE = 0.03
"""By how much steps may differ from the measured ones when they are taken apart."""


def check_run(run: Run) -> list[Check]:
    """Every self-check of one run; nothing where it finished no epoch."""
    return [question(run) for question in QUESTIONS] if run.times else []


def _parity(run: Run) -> Check:
    parity = run.record.parity
    if parity is None:
        alone = not METHODS[run.record.method].is_parallel
        return answer("parity", "not applicable" if alone else "not measured", "one_device" if alone else "missing")
    if parity.outcome == "not applicable":
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
    """Whether each device normalised its own images by themselves: BatchNorm's running statistics are buffers."""
    record, options = run.record, run.record.config.ddp
    has_buffers = record.static_memory is not None and record.static_memory.buffer_bytes > 0
    return record.world.devices > 1 and has_buffers and not (options and options.sync_bn)


def _anatomy(run: Run) -> Check:
    """Do the steps that were taken apart take as long as the measured ones? If not, their picture is another step's."""
    if run.anatomy is None:
        return answer("anatomy", "not measured", "missing")
    step, measured = run.anatomy.slowest.step, run.times.typical_step.value
    values = {"step": step.value, "measured": measured, "share": step.value / measured - 1, "limit": MAX_DISTURBANCE}
    low, high = step.bounds
    differs = low > (1 + MAX_DISTURBANCE) * measured or high < (1 - MAX_DISTURBANCE) * measured
    id = "longer" if values["share"] > 0 else "shorter"
    check = answer("anatomy", "warning" if differs else "passed", id if differs else "alike", **values)
    return replace(check, spoils="anatomy")


QUESTIONS = (
    _parity, _samples, _clock, _warm_up, _steps, _standstill, _data_wait, _loss, _anatomy,
    history_checks.check_epoch_start, history_checks.check_images, history_checks.check_start,
    machine_checks.check_devices, machine_checks.check_throttling, machine_checks.check_other_processes,
    machine_checks.check_load,
)  # fmt: skip
"""In the order of the page."""
