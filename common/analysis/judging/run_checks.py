"""What must hold before a number is believed: what a self-check is, and those of one run, of its training and machine.

Each check is a small function that answers one question. What the table calls a warning does not make a number wrong;
it says what else the number may have measured.
"""

from dataclasses import dataclass
from typing import Any, Literal

from common.analysis.reading.runs import CORE_WAIT_LIMIT, IMPOSSIBLE_CLOCK, Run
from common.content import CheckMark, Message, message
from common.records import METHODS

DATA_WAIT_LIMIT = 0.05
WARM_UP_LIMIT = 0.05
CLOCK_TOLERANCE = 0.01
"""Share of an epoch by which the host's clock and the devices' may differ: 200 recorded runs differ by 0.06 % at most.
Epochs of half a second on a host with three jobs for each core were seen to differ by 1.2 %."""
MIN_STEPS = 10
STANDSTILL_SECONDS, STANDSTILL_TIMES = 5.0, 10
"""A step that takes so much longer than the typical one, and so many times as long, is no step of training alone."""
MAX_DISTURBANCE = 0.03
"""By how much steps may differ from the measured ones when they are profiled."""

Outcome = Literal["failed", "warning", "not measured", "passed", "not applicable"]
"""The worst first."""


@dataclass(frozen=True)
class Check:
    """One answered question about one run, or one row of the table."""

    id: str
    outcome: Outcome
    reason: Message | None = None
    """What is wrong; None where nothing is."""
    alike: int = 1
    """Of a row's runs: how many have this outcome."""
    runs: int = 1

    @property
    def has_failed(self) -> bool:
        """Whether it must stand beside the number that it is about."""
        return self.outcome in ("failed", "warning")

    @property
    def mark(self) -> CheckMark:
        """What stands there."""
        return CheckMark(message(f"check_name.{self.id}"), self.outcome, self.reason)


def not_passed(id: str, outcome: Literal["failed", "warning"], reason: str, **values: Any) -> Check:
    """A check that failed or warns; its reason is the sentence `check.<id>.<reason>`."""
    return Check(id, outcome, Message(f"check.{id}.{reason}", values))


def warning_if(is_wrong: bool, id: str, reason: str, **values: Any) -> Check:
    """A check that warns, or passed."""
    return not_passed(id, "warning", reason, **values) if is_wrong else Check(id, "passed")


def check_run(run: Run) -> list[Check]:
    """Every self-check of one run; nothing where it finished no epoch."""
    of_training = (_parity, _samples, _clock, _warm_up, _steps, _standstill, _data_wait, _loss, _profile, _images)
    of_machine = (_devices, _throttling, _other_processes, _load)
    return [question(run) for question in of_training + of_machine] if run.times else []


def _parity(run: Run) -> Check:
    parity = run.record.parity
    if parity is None:
        return Check("parity", "not measured" if METHODS[run.record.method].is_parallel else "not applicable")
    if parity.outcome != "failed":
        return Check("parity", parity.outcome)
    reason = "not_finite" if parity.max_relative_error is None else "failed"
    return not_passed("parity", "failed", reason, error=parity.max_relative_error, tolerance=parity.tolerance or 0.0,
                 parameter=parity.worst_parameter)  # fmt: skip


def _samples(run: Run) -> Check:
    if run.times.unexpected_samples is None:
        return Check("samples", "passed")
    epoch, seen, expected = run.times.unexpected_samples
    reason = "count" if seen != expected else "checksum"
    return not_passed("samples", "failed", reason, epoch=epoch, seen=seen, expected=expected)


def _clock(run: Run) -> Check:
    """The host's clock compared with the devices', epoch by epoch."""
    share = run.times.clock_difference_share
    if run.failed_check == "clock":
        return not_passed("clock", "failed", "impossible", share=share, limit=IMPOSSIBLE_CLOCK)
    return warning_if(share > CLOCK_TOLERANCE, "clock", "differs", share=share, limit=CLOCK_TOLERANCE)


def _warm_up(run: Run) -> Check:
    """Are the first tenth of the steps slower than a batch of as many later steps would be by chance (99 %)?"""
    if run.times.first_steps is None:
        return Check("warm_up", "not measured")
    steps, slower, by_chance = run.times.first_steps
    return warning_if(slower > max(WARM_UP_LIMIT, by_chance), "warm_up", "slower", steps=steps, share=slower)


def _steps(run: Run) -> Check:
    return warning_if(run.times.steps < MIN_STEPS, "steps", "too_few", steps=run.times.steps)


def _standstill(run: Run) -> Check:
    """Did the machine, or the whole run, stand still in the middle of a measured step?"""
    longest, typical = run.times.longest_step, run.times.typical_step.value
    stood = longest > max(typical + STANDSTILL_SECONDS, STANDSTILL_TIMES * typical)
    return warning_if(stood, "standstill", "stood", longest=longest, times=longest / max(typical, 1e-12))


def _data_wait(run: Run) -> Check:
    share = run.times.data_wait_share
    return warning_if(share > DATA_WAIT_LIMIT, "data_wait", "long", share=share, limit=DATA_WAIT_LIMIT)


def _loss(run: Run) -> Check:
    epochs = run.record.epochs
    losses = [epoch.mean_loss for epoch in epochs]
    if None in losses:
        return not_passed("loss", "failed", "not_finite", epoch=epochs[losses.index(None)].epoch)
    did_not_fall = len(losses) > 1 and losses[-1] >= losses[0]
    return warning_if(did_not_fall, "loss", "did_not_fall", first=losses[0], last=losses[-1])


def _profile(run: Run) -> Check:
    """Do the steps that were profiled take as long as the measured ones? If not, their picture is another
    step's."""
    if run.profile is None:
        return Check("profile", "not measured")
    step, measured = run.profile.slowest.step, run.times.typical_step.value
    low, high = step.bounds
    if low <= (1 + MAX_DISTURBANCE) * measured and high >= (1 - MAX_DISTURBANCE) * measured:
        return Check("profile", "passed")
    reason = "longer" if step.value > measured else "shorter"
    return not_passed("profile", "warning", reason, step=step.value, measured=measured, share=step.value / measured - 1)


def _images(run: Run) -> Check:
    """Files of `--data-dir` that could not be read."""
    if run.record.config.data_dir is None:
        return Check("images", "not applicable")
    names = run.record.unreadable_files
    reason = "unreadable" if len(names) > 1 else "one_unreadable"
    return warning_if(bool(names), "images", reason, count=len(names), files=names)


def _devices(run: Run) -> Check:
    """Whether the devices were real ones, each for itself and enough of them."""
    world, host = run.record.world, run.record.environment
    parts = [message(f"devices.{flag}", devices=world.devices, cores=host.cpu_cores) for flag in world.flags]
    kinds = [kind for kind in host.core_kinds if any(model.endswith(f"({kind.name})") for model in world.models)]
    physical = sum(kind.physical_cores or kind.cores for kind in kinds) or host.physical_cores
    if world.device_kind == "cpu" and not world.oversubscribed and physical and world.devices > physical:
        parts.append(message("devices.siblings", devices=world.devices, cores=physical))
    if world.has_unlike_devices:
        parts.append(message("devices.unlike", models=world.models))
    return warning_if(bool(parts), "devices", "parts", parts=parts)


def _throttling(run: Run) -> Check:
    """Whether power or heat held a GPU back, at times or in some runs: what holds in all of them parts none."""
    if run.record.world.device_kind == "cpu":
        return Check("throttling", "not applicable")
    if not any(device.health for device in run.record.devices):
        return Check("throttling", "not measured")
    slowed = [
        message("slowed.with_reasons" if device.health.throttle_reasons else "slowed.without_reason",
                device=device.index, low=device.health.sm_clock_mhz_min, high=device.health.sm_clock_mhz_max,
                celsius=device.health.temperature_celsius_max, reasons=device.health.throttle_reasons)
        for device in run.slowed_gpus
    ]  # fmt: skip
    return warning_if(bool(slowed), "throttling", "parts", parts=slowed)


def _other_processes(run: Run) -> Check:
    """Whether other programs used the GPUs of the run."""
    if run.record.world.device_kind == "cpu":
        return Check("other_processes", "not applicable")
    count = run.other_processes
    if count is None:
        return Check("other_processes", "not measured")
    return warning_if(count > 0, "other_processes", "some", count=count)


def _load(run: Run) -> Check:
    """Was the host free, and was it whole: did other programs or other virtual machines have its cores?

    By what the run waited for a core; where nobody counted that, by the load that it met, less the lab's own run.
    """
    host, share, stolen = run.record.environment, run.times.core_wait_share, run.times.steal_share or 0.0
    average, cores, own = host.load_average_1min, host.cpu_cores, run.devices_before
    reasons = [message("check.load.stolen", share=stolen, limit=CORE_WAIT_LIMIT)] if stolen > CORE_WAIT_LIMIT else []
    has_waited = share is not None and share > CORE_WAIT_LIMIT
    if has_waited and run.times.throttled_periods:
        periods, quota = run.times.throttled_periods, host.cpu_quota or 0.0
        reasons.append(message("check.load.throttled", share=share, periods=periods, quota=quota))
    elif has_waited:
        reasons.append(message("check.load.waited", share=share, limit=CORE_WAIT_LIMIT))
    elif share is None and average is not None and average - own > cores:
        reason = "busy_after_own_run" if own else "busy"
        reasons.append(message(f"check.load.{reason}", average=average, cores=cores, own=own))
    if not reasons and share is None and average is None:
        return Check("load", "not measured")
    return warning_if(bool(reasons), "load", "parts", parts=reasons)
