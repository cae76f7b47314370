"""Every fault, by its id, in the order in which they are caused: what is quick to see comes first."""

from __future__ import annotations

from itertools import chain

from common.faults import of_checkpoints, of_data, of_machines, of_programs, of_ranks, of_starting
from common.faults.fault import Fault

ROOMS = (of_starting, of_programs, of_data, of_checkpoints, of_ranks, of_machines)
FAULTS: dict[str, Fault] = {fault.id: fault for fault in chain.from_iterable(room.FAULTS for room in ROOMS)}
