import sys

import pytest
import torch
from factories import make_place

from common import memory
from common.gpu_sampler import GpuSampler


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux resets the peak of a process")
def test_the_peak_is_that_since_the_reset():
    place, sampler = make_place(2), GpuSampler([])
    large = torch.ones(100 * 2**18)  # 100 MiB
    del large
    memory.reset_peaks(place)
    before = memory.peak_resident_bytes()
    held = torch.ones(50 * 2**18)
    first, second = memory.read_peaks(place, sampler)
    assert 40 * 2**20 < first.peak_process_bytes - before < 70 * 2**20
    assert second.peak_process_bytes is None  # both replicas live in one process
    assert held.sum() > 0


def test_static_memory_counts_what_stays():
    module = torch.nn.BatchNorm1d(8)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    module(torch.randn(4, 8)).sum().backward()
    optimizer.step()
    found = memory.static_memory(module, optimizer)
    assert found.parameters == 16
    assert found.parameter_bytes == found.gradient_bytes == found.optimizer_state_bytes == 64
    assert found.buffer_bytes == 8 * 4 * 2 + 8  # two running statistics and a counter
