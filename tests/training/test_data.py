from dataclasses import replace
from itertools import chain
from types import SimpleNamespace

import pytest
import torch
from factories import make_config, make_place
from torch.utils.data import DistributedSampler
from trainers import make_loader

from common.errors import UsageError
from common.training import loader
from common.training.batch import checksum, expected_indices
from common.training.data import SyntheticImageNet, bytes_of_sample, made_samples
from common.training.loader import create_loader


def dataset(**changes):
    return SyntheticImageNet(**{"samples": 1000, "image_size": 16, "num_classes": 50, "seed": 3} | changes)


def test_same_seed_and_index_give_the_same_sample():
    one, other, later = (dataset().__getitems__([(epoch, 7)]) for epoch in (1, 1, 2))
    for again in (other, later):  # nothing about these images is random
        assert torch.equal(one.inputs, again.inputs)
        assert torch.equal(one.targets, again.targets)
    assert not torch.equal(one.inputs, dataset(seed=4).__getitems__([(1, 7)]).inputs)


def test_a_batch_is_its_samples():
    images = dataset()
    batch = images.__getitems__([(1, 3), (1, 999), (1, 3)])
    assert batch.inputs.shape == (3, 3, 16, 16)
    assert batch.inputs.dtype == torch.uint8
    for position, index in enumerate([3, 999, 3]):
        alone = images.__getitems__([(1, index)])
        assert torch.equal(batch.inputs[position], alone.inputs[0])
        assert batch.targets[position] == alone.targets[0]
    assert batch.indices.tolist() == [3, 999, 3]


def test_labels_lie_within_the_classes_and_can_be_told_from_the_images():
    data = dataset(num_classes=5)
    batch = data.__getitems__([(1, index) for index in range(256)])
    assert set(batch.targets.tolist()) == set(range(5))
    means = torch.stack([batch.inputs[batch.targets == label].float().mean(0) for label in range(5)])
    nearest = torch.cdist(batch.inputs.float().flatten(1), means.flatten(1)).argmin(1)
    assert (nearest == batch.targets).float().mean() > 0.99


def batches(processes: int, epoch: int):
    """The indices of every step, over all ranks: as `processes` ranks draw them."""
    config = make_config(global_batch_size=12, samples_per_epoch=100)
    steps = []
    for rank in range(processes):
        devices = make_place()
        world = devices.world.model_copy(update={"processes": processes, "devices": processes})
        loader = make_loader(config, replace(devices, world=world, rank=rank))
        loader.sampler.set_epoch(epoch)
        steps.append([batch.indices.tolist() for batch in loader])
    return [[*chain.from_iterable(step)] for step in zip(*steps, strict=True)]


def test_ranks_together_draw_the_global_batches_of_one_process():
    alone = batches(1, epoch=2)
    for processes in (2, 3, 4):
        together = batches(processes, epoch=2)
        assert [sorted(step) for step in together] == [sorted(step) for step in alone[: len(together)]]
    assert len(alone) == 8
    assert len({index for step in alone for index in step}) == 96


def test_epochs_differ_and_the_expected_indices_are_those_drawn():
    assert batches(1, epoch=1) != batches(1, epoch=2)
    steps = batches(2, epoch=5)
    config = make_config(global_batch_size=12, samples_per_epoch=100)
    for first in (0, 3):  # from the beginning, and from a step in the middle on
        drawn = torch.tensor([*chain.from_iterable(steps[first:])])
        assert checksum(drawn) == checksum(expected_indices(config, 5, first * 12, (8 - first) * 12))


def test_checksum_sees_loss_and_overlap_but_not_order_or_split():
    right = torch.tensor([1, 2, 3, 4])
    assert checksum(right) == checksum(right.flip(0))
    assert checksum(right) == (checksum(right[:1]) + checksum(right[1:])) % 2**64
    assert checksum(right) != checksum(torch.tensor([1, 2, 4, 4]))
    assert checksum(right) != checksum(torch.tensor([1, 2, 3]))
    assert checksum(right) != checksum(torch.tensor([1, 2, 2, 5]))  # the same plain sum


def test_workers_without_room_for_their_batches_are_refused(monkeypatch):
    """torch would print an error in the worker, and wait for the batch without end."""
    room = 8 * 3 * 64**2 * (2 * 3 + 1)
    monkeypatch.setattr(loader.os.path, "isdir", lambda path: True)
    monkeypatch.setattr(loader.shutil, "disk_usage", lambda path: SimpleNamespace(free=room))
    loader._check_shared_memory(8 * 3 * 64**2, workers=3)
    with pytest.raises(UsageError, match=r"--workers 3: /dev/shm has .* --workers 0"):
        loader._check_shared_memory(8 * 3 * 64**2 + 1, workers=3)


def test_batches_are_as_large_as_their_own_samples(monkeypatch):
    """Those of a model of tokens have no pixels."""
    seen = []
    monkeypatch.setattr(loader, "_check_shared_memory", lambda size, workers: seen.append((size, workers)))
    config = make_config(image_size=0, loader_workers=2, global_batch_size=8)
    tokens = made_samples(lambda seed, index: {"input_ids": torch.zeros(128, dtype=torch.int64)}, 64, config)
    create_loader(tokens, DistributedSampler(tokens, num_replicas=1, rank=0, seed=0), config, make_place())
    assert seen == [(8 * 128 * 8, 2)]
    assert bytes_of_sample(SyntheticImageNet(64, 32, 10, seed=0)) == 3 * 32**2 + 8
