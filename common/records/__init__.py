"""The contract between the two wings: what a run writes (02, 03, 04) and what step 05 reads.

Plain data, checked by pydantic; no torch, so that a record copied to a laptop can be read there. Every field carries
its unit in its name. Raw times are stored; the numbers derived from them (throughput, epoch time) are computed here, by
one function each, so that the table a script prints and the page of step 05 cannot disagree.
"""

from common.records.environment_record import *
from common.records.fault_record import *
from common.records.fields import *
from common.records.host import *
from common.records.methods import *
from common.records.outcome import *
from common.records.record import *
from common.records.settings import *
from common.records.step_phases import *
