"""What torch's flight recorder knows of the exchanges of this rank: the one that has not ended, and since when."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import torch
import torch.distributed as dist


def open_since() -> float | None:
    """When the oldest exchange began that has not ended; seconds since 1970. None where all have, or none is known."""
    began = [entry["time_created_ns"] for entry in _entries(only_open=True) if not entry["retired"]]
    return min(began) / 1e9 if began else None


def pending_exchange() -> str:
    """The exchange that this rank waits in, and since when, in words."""
    entries = _entries(only_open=False)
    if not entries:
        return "an exchange that torch's flight recorder does not know"
    open_ones = [entry for entry in entries if not entry["retired"]]
    last = (open_ones or entries[-1:])[0]  # over gloo, the exchange that has failed counts as ended already
    began = datetime.fromtimestamp(last["time_created_ns"] / 1e9, UTC)
    waited = (datetime.now(UTC) - began).total_seconds()
    number = f"{last['profiling_name']} (exchange number {last['collective_seq_id']})"
    return f"{number} since {began:%H:%M:%S} UTC, {waited:.0f} s"


def _entries(only_open: bool) -> list[dict]:
    recorder = torch._C._distributed_c10d  # the only way to it; NCCL's exchanges are in a recorder of their own
    try:
        dump = recorder._dump_nccl_trace_json if dist.get_backend() == "nccl" else recorder._dump_fr_trace_json
        entries = json.loads(dump(onlyActive=only_open)).get("entries", [])
        return entries if all({"retired", "time_created_ns"} <= entry.keys() for entry in entries) else []
    except (AttributeError, RuntimeError, TypeError, ValueError):  # another version's
        return []
