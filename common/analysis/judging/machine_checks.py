"""Self-checks of the machine: were the devices real and free, and did they keep their clocks?"""

from __future__ import annotations

from common.analysis.judging.run_checks import Check, answer
from common.analysis.reading.runs import CORE_WAIT_LIMIT, Run
from common.content import Message, message
from common.records import DeviceUse


def machine_checks(run: Run) -> list[Check]:
    """Those of the machine during one run."""
    return [question(run) for question in (_devices, _throttling, _other_processes, _load)]


def _devices(run: Run) -> Check:
    """Whether the devices were real ones, each for itself and enough of them."""
    world, cores = run.record.world, run.record.environment.cpu_cores
    parts = [message(f"devices.{flag}", devices=world.devices, cores=cores) for flag in world.flags]
    host = run.record.environment
    kinds = [kind for kind in host.core_kinds if any(model.endswith(f"({kind.name})") for model in world.models)]
    physical = sum(kind.physical_cores or kind.cores for kind in kinds) or host.physical_cores
    if world.device_kind == "cpu" and not world.oversubscribed and physical and world.devices > physical:
        parts.append(message("devices.siblings", devices=world.devices, cores=physical))
    if world.has_unlike_devices:
        parts.append(message("devices.unlike", models=world.models))
    if parts:
        return answer("devices", "warning", "parts", parts=parts)
    return answer("devices", "passed", "own", devices=world.devices)


def _throttling(run: Run) -> Check:
    """Whether power or heat held a GPU back, at times or in some runs: what holds in all of them parts none."""
    if run.record.world.device_kind == "cpu":
        return answer("throttling", "not applicable", "cpu")
    readings = [device.health for device in run.record.devices if device.health]
    if not readings:
        return answer("throttling", "not measured", "no_readings")
    if run.slowed_gpus:
        return answer("throttling", "warning", "parts", parts=[_slowed(device) for device in run.slowed_gpus])
    clocks = [health.sm_clock_mhz_median for health in readings if health.sm_clock_mhz_median is not None]
    heat = [health.temperature_celsius_max for health in readings if health.temperature_celsius_max is not None]
    parts = [message("clocks.range", low=min(clocks), high=max(clocks)) if clocks else message("clocks.none")]
    parts += [message("heat.most", celsius=max(heat))] if heat else []
    return answer("throttling", "passed", "parts", parts=parts)


def _slowed(device: DeviceUse) -> Message:
    health, reasons = device.health, device.health.throttle_reasons
    return message("slowed.with_reasons" if reasons else "slowed.without_reason", device=device.index,
                   low=health.sm_clock_mhz_min, high=health.sm_clock_mhz_max,
                   celsius=health.temperature_celsius_max, reasons=reasons)  # fmt: skip


def _other_processes(run: Run) -> Check:
    """Whether other programs used the GPUs of the run."""
    if run.record.world.device_kind == "cpu":
        return answer("other_processes", "not applicable", "cpu")
    count = run.other_processes
    if count is None:
        return answer("other_processes", "not measured", "no_list")
    return answer("other_processes", "warning" if count else "passed", "some" if count else "none", count=count)


def _load(run: Run) -> Check:
    """Was the host free, and was it whole: did other programs or other virtual machines have its cores?"""
    check, stolen = _other_programs(run), run.steal_share or 0.0
    if stolen <= CORE_WAIT_LIMIT:
        return check
    parts = [message("check.load.stolen", share=stolen, limit=CORE_WAIT_LIMIT)]
    return answer("load", "warning", "parts", parts=parts + [check.reason] * check.has_failed)


def _other_programs(run: Run) -> Check:
    """By what the run waited for a core; where nobody counted that, by the load that it met, less the lab's own run."""
    busy, host = run.met_other_programs, run.record.environment
    if run.core_wait_share is not None:
        values = {"share": run.core_wait_share, "limit": CORE_WAIT_LIMIT}
        if busy and run.times and run.times.throttled_periods:
            quota = host.cpu_quota or 0.0
            return answer("load", "warning", "throttled", periods=run.times.throttled_periods, quota=quota, **values)
        return answer("load", "warning" if busy else "passed", "waited" if busy else "hardly_waited", **values)
    if host.load_average_1min is None:
        return answer("load", "not measured", "no_average")
    own = run.devices_before
    reason = ("busy" if busy else "free") + ("_after_own_run" if own else "")
    return answer("load", "warning" if busy else "passed", reason, average=host.load_average_1min,
                  cores=host.cpu_cores, own=own)  # fmt: skip
