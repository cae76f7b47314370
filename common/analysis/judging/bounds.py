"""What binds a step: its data, the exchange of gradients, the host that launches its work, or the device's own work."""

from __future__ import annotations

from common.analysis.comparing.rows import Row
from common.analysis.comparing.utilisation import exchange_seconds
from common.analysis.statistics.medians import is_cost
from common.content import Message, message
from common.records import METHODS

MAX_WAIT, MAX_IDLE = 0.05, 0.10
"""Shares of a step: a longer wait for data, or a device with nothing to do for longer, is what binds the step."""
EXPOSED_LIMIT, COMPARABLE = 0.10, 0.5
"""Shares: of a step, that the exchange must add before it may be what binds it; and of what it adds, that its messages
must need by themselves, for less explains too little. docs/choosing.md gives the reasons."""

LEAST_SHOWN = 0.005
"""Shares below this are written as 0 %."""


def bound(row: Row) -> Message:
    """What a step waits for: its data, the exchange, the host that launches its work, or the device's own work.

    A device that has nothing to do is bound by launches only where the host needs about as long as a step takes.
    """
    profile = row.profile
    waiting, step = profile.slowest.phases.get("data wait"), profile.slowest.step.value
    # gloo makes the host wait for the exchange within the backward pass: its time is no time of launching.
    ranks = profile.ranks if row.record.world.backend != "gloo" else ()
    host = max((rank.host["step"].value for rank in ranks if "step" in rank.host), default=0.0)
    values = {"row": row.name, "idle": profile.idle_share, "busy": 1 - profile.idle_share, "host": host,
              "link": not_the_link(row)}  # fmt: skip
    if waiting and waiting.value > MAX_WAIT * step:
        return message("bound.data", **values)
    if is_bound_by_exchange(row):
        return message("bound.exchange", exposed=profile.exposed, **values)
    if profile.idle_share > MAX_IDLE:
        return message("bound.launches" if host > (1 - MAX_IDLE) * step else "bound.unknown", **values)
    if profile.idle_share < 0:
        return message("bound.device_longer", **values)
    return message("bound.device" if profile.idle_share >= LEAST_SHOWN else "bound.device_always", **values)


def is_bound_by_exchange(row: Row) -> bool:
    """Whether the exchange of gradients, and not what DDP does beside it, takes much of a step.

    Two measurements must agree: steps with an all-reduce against steps without one, and what the very messages need
    when nothing else is done. Ranks that wait for a late one lose time in the former alone.
    """
    profile = row.profile
    if not (profile and profile.wrapper_cost and is_cost(profile.exposed)):
        return False
    needed = exchange_alone(row)
    return profile.exposed_share > EXPOSED_LIMIT and (needed or 0.0) > COMPARABLE * profile.exposed.value


def exchange_alone(row: Row) -> float | None:
    """Seconds for the gradients' messages by step 01's all-reduce; where it has none for these ranks, what the last
    rank of a step waits for them."""
    if (known := _in_buckets(row)) is not None:
        return known
    return row.profile.last_wait.value if row.profile.last_wait else None


def _in_buckets(row: Row) -> float | None:
    known = exchange_seconds(row, row.profile.bucket_bytes) if row.profile.bucket_bytes else None
    return known if isinstance(known, float) else None


def not_the_link(row: Row) -> Message:
    """Under DDP: what the exchange needs by itself, where step 01 has measured that."""
    if not METHODS[row.method].synchronises_gradients or row.devices < 2:
        return message("nothing")
    known = _in_buckets(row)
    return message("bound.not_the_link", seconds=known) if known else message("nothing")
