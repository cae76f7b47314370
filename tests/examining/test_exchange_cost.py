"""Kinds of steps that tell DDP's exchange from its own work, in one process."""

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from common.examining.wrapper_costs import as_one_of_many


@pytest.fixture
def ddp(monkeypatch):
    """A model that copies buffers in its forward passes; `copied` counts how often."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    model, copied = DistributedDataParallel(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))), []
    monkeypatch.setattr(model, "_sync_buffers", lambda: copied.append(1))
    yield model, copied
    del model
    dist.destroy_process_group()


def test_each_step_copies_buffers_as_if_it_followed_one_of_its_own_kind(ddp):
    model, copied = ddp
    counts = []
    for under_no_sync in (False, True, True, False, False):
        before = len(copied)
        with as_one_of_many(model, under_no_sync):
            model(torch.ones(4, 2)).sum().backward()
        counts.append(len(copied) - before)
    assert counts == [1, 0, 0, 1, 1]
