"""Self-checks of the machine during one run: were the devices real and free, and did they keep their clocks?"""

from __future__ import annotations

from typing import Literal

from common.records import DeviceUse, Record

Outcome = Literal["passed", "warning", "failed", "not applicable", "not measured"]
Answer = tuple[Outcome, str]

CLOCK_DROP = 0.9
"""A GPU whose lowest SM clock falls below this share of its median slowed down during the run."""


def devices(record: Record) -> Answer:
    world, said = record.world, []
    if world.emulated:
        said.append("emulated: DataParallel's algorithm on CPU cores")
    if world.shared:
        said.append("shared: several replicas or ranks on one GPU")
    if world.oversubscribed:
        said.append(f"oversubscribed: {world.devices} devices on {record.environment.cpu_cores} cores")
    return ("warning", "; ".join(said)) if said else ("passed", f"each of {world.devices} is a device of its own")


def throttling(record: Record) -> Answer:
    if record.world.device_kind == "cpu":
        return "not applicable", "CPU cores"
    readings = [(device, device.health) for device in record.devices if device.health]
    if not readings:
        return "not measured", "NVML gave no readings"
    slow = [_slowed(device) for device, health in readings if health.throttle_reasons or _clock_fell(device)]
    if slow:
        return "warning", "; ".join(slow)
    clocks = [health.sm_clock_mhz_median for _, health in readings if health.sm_clock_mhz_median is not None]
    heat = [health.temperature_celsius_max for _, health in readings if health.temperature_celsius_max is not None]
    told = f"median SM clock {min(clocks)} to {max(clocks)} MHz" if clocks else "no clock readings"
    return "passed", told + (f", at most {max(heat)} °C" if heat else "")


def _clock_fell(device: DeviceUse) -> bool:
    health = device.health
    if health is None or health.sm_clock_mhz_min is None or health.sm_clock_mhz_median is None:
        return False
    return health.sm_clock_mhz_min < CLOCK_DROP * health.sm_clock_mhz_median


def _slowed(device: DeviceUse) -> str:
    health = device.health
    reasons = ", ".join(health.throttle_reasons) or "no reason given"
    clocks = f"SM clock {health.sm_clock_mhz_min}–{health.sm_clock_mhz_max} MHz"
    return f"device {device.index} slowed down ({reasons}; {clocks}; up to {health.temperature_celsius_max} °C)"


def other_processes(record: Record) -> Answer:
    if record.world.device_kind == "cpu":
        return "not applicable", "CPU cores"
    counts = [d.health.other_processes for d in record.devices if d.health and d.health.other_processes is not None]
    if not counts:
        return "not measured", "NVML gave no list of processes"
    if max(counts):
        return "warning", f"up to {max(counts)} other processes were on a GPU: free it and run again"
    return "passed", "no other process on the GPUs"


def load(record: Record) -> Answer:
    average, cores = record.environment.load_average_1min, record.environment.cpu_cores
    if average is None:
        return "not measured", "this platform has no load average"
    told = f"load average {average:.1f} on {cores} cores in the minute before"
    return (
        ("warning", f"{told}: other work was running (the run just before counts too)")
        if average > cores
        else ("passed", told)
    )
