"""Copies of one record, whatever their names and run ids are: each run counts once."""

from __future__ import annotations

from hashlib import sha256

import numpy as np

from common.records import Record


def fingerprint(record: Record) -> str | None:
    """A hash of all ranks' step times: no two runs agree in these to the last tenth of a microsecond.

    None where all times are equal, or where there is one alone: that two clocks show the same is then no proof.
    """
    times = [np.asarray(rank.step_seconds) for rank in record.ranks]
    if len({time for of_rank in times for time in np.unique(of_rank)}) < 2:
        return None
    return sha256(b"|".join(of_rank.tobytes() for of_rank in times)).hexdigest()
