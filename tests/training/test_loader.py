"""The loader's workers run on from one epoch to the next."""

from itertools import islice
from time import monotonic, sleep

import pytest
from torch.utils.data import DataLoader, DistributedSampler

from common.training.batch import Batch
from common.training.data import SyntheticImageNet
from common.training.loader import ContinuousLoader, _as_it_is

SAMPLES, BATCH = 100, 12


class Noting(SyntheticImageNet):
    """Leaves the epoch of each batch that is loaded in a file."""

    def __init__(self, path, **more):
        super().__init__(samples=SAMPLES, image_size=8, num_classes=10, seed=3)
        self.path = path

    def __getitems__(self, samples):
        with open(self.path, "a") as file:
            file.write(f"{samples[0][0]}\n")
        return super().__getitems__(samples)


@pytest.fixture
def noted(tmp_path):
    """What `Noting` has left so far: the epochs of the batches that were loaded."""
    path = tmp_path / "noted"
    path.touch()
    return lambda: [int(line) for line in path.read_text().split()]


@pytest.fixture
def make(tmp_path):
    def made(workers=0):
        dataset = Noting(tmp_path / "noted")
        sampler = DistributedSampler(dataset, num_replicas=1, rank=0, seed=5, drop_last=True)
        return ContinuousLoader(dataset, sampler, BATCH, None, collate_fn=_as_it_is, num_workers=workers,
                                persistent_workers=workers > 0)  # fmt: skip

    return made


def plain(epoch):
    """The samples of an epoch's batches as torch's own loader and sampler give them."""
    sampler = DistributedSampler(range(SAMPLES), num_replicas=1, rank=0, seed=5)
    sampler.set_epoch(epoch)
    return [batch.tolist() for batch in DataLoader(range(SAMPLES), BATCH, sampler=sampler, drop_last=True)]


def indices(batches: list[Batch]):
    return [batch.indices.tolist() for batch in batches]


def epoch_of(loader, epoch):
    loader.sampler.set_epoch(epoch)
    return indices(loader)


@pytest.mark.parametrize("workers", [0, 2])
def test_epochs_are_those_of_a_plain_loader(make, workers):
    loader = make(workers)
    assert [epoch_of(loader, epoch) for epoch in (1, 2, 3)] == [plain(epoch) for epoch in (1, 2, 3)]
    assert len(loader) == len(plain(1)) == 8


@pytest.mark.parametrize("workers", [0, 2])
def test_after_the_uncounted_batches_comes_what_a_checkpoint_has_left_of_its_epoch(make, workers):
    loader = make(workers)
    loader.begin(4, batch=3, uncounted=10)  # more than an epoch has
    uncounted = indices(loader.next_batch() for _ in range(10))
    assert uncounted == [*plain(0), *plain(0)[:2]]
    loader.wait()
    assert epoch_of(loader, 4) == plain(4)[3:]
    assert epoch_of(loader, 5) == plain(5)


@pytest.mark.parametrize("workers", [0, 2])
def test_another_epoch_than_the_next_is_what_the_sampler_says(make, workers):
    loader = make(workers)
    assert epoch_of(loader, 1) == plain(1)
    assert epoch_of(loader, 1) == plain(1)  # set_epoch left out
    loader.sampler.set_epoch(2)
    assert indices(islice(iter(loader), 3)) == plain(2)[:3]  # and left in the middle
    assert epoch_of(loader, 2) == plain(2)
    assert epoch_of(loader, 7) == plain(7)


def test_the_next_epoch_is_loaded_before_anybody_asks_for_it(make, noted):
    loader = make(workers=2)
    epoch_of(loader, 1)
    until = monotonic() + 60
    while 2 not in noted() and monotonic() < until:
        sleep(0.01)
    assert 2 in noted()
    epoch_of(loader, 2)
    assert noted().count(1) == noted().count(2) == 8  # no batch is loaded twice


def test_a_new_start_is_timed_with_workers_that_have_nothing_to_do(make, noted):
    loader = make(workers=2)
    epoch_of(loader, 1)
    seconds = loader.start_seconds()
    assert 0 < seconds < 60
    assert noted().count(1) == 8
    assert epoch_of(loader, 2) == plain(2)  # and it goes on
