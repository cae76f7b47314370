import mmap
import sys

import pytest
import torch
from factories import make_place

from common.measuring import device_use
from common.measuring.device_use import DeviceMeter


def resident(mebibytes: int) -> mmap.mmap:
    """So much memory from the kernel itself: an allocator might hand out what an earlier test has given back to it."""
    held = mmap.mmap(-1, mebibytes * 2**20)
    for _ in range(mebibytes):
        held.write(bytes([1]) * 2**20)
    return held


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux resets the peak of a process")
def test_the_peak_is_that_since_the_reset():
    meter = DeviceMeter(make_place(2))
    resident(100).close()
    meter.start(keep_peaks=False)
    before = device_use.peak_resident_bytes()
    held = resident(50)
    first, second = meter.peaks()
    assert 40 * 2**20 < first.peak_process_bytes - before < 70 * 2**20
    assert second.peak_process_bytes is None  # both replicas live in one process
    held.close()


def test_static_memory_counts_what_stays():
    module = torch.nn.BatchNorm1d(8)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    module(torch.randn(4, 8)).sum().backward()
    optimizer.step()
    held = device_use.static_memory(module, optimizer)
    assert held.parameters == 16
    assert held.parameter_bytes == held.gradient_bytes == held.optimizer_state_bytes == 64
    assert held.buffer_bytes == 8 * 4 * 2 + 8  # two running statistics and a counter
