import copy
import threading

import pytest
import torch
from conftest import ROOT
from factories import make_config, small_classifier
from torch import nn

from common.training.data_parallel import EmulatedDataParallel, EmulatedKeptThreads


class Probe(nn.Module):
    """Passes its input on, and notes in which thread and with what it ran forward and backward."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __deepcopy__(self, memo):
        return self  # one list for all replicas

    def forward(self, x):
        forward = threading.current_thread().name
        if x.requires_grad:
            x.register_hook(
                lambda _: self.seen.append((forward, threading.current_thread().name, x.dtype, torch.get_num_threads()))
            )
        return x


def gradients(model, classifier, images, labels):
    classifier.zero_grad()
    classifier.loss(model(images), labels).backward()
    return [parameter.grad.clone() for parameter in classifier.parameters()]


def samples(count=12):
    torch.manual_seed(1)
    return torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8), torch.randint(0, 10, (count,))


@pytest.mark.parametrize("replicas", [1, 2, 3])
def test_gradient_is_that_of_one_device(replicas):
    classifier, batch = small_classifier(), samples()
    expected = gradients(classifier, classifier, *batch)
    parallel = gradients(EmulatedDataParallel(classifier, range(replicas)), classifier, *batch)
    for one, other in zip(parallel, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_a_batch_that_does_not_divide_evenly_still_gives_the_gradient_of_one_device():
    classifier, batch = small_classifier(), samples(10)
    expected = gradients(classifier, classifier, *batch)
    for one, other in zip(
        gradients(EmulatedDataParallel(classifier, range(4)), classifier, *batch), expected, strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_output_is_that_of_one_device_without_gradient_too():
    classifier, (images, _) = small_classifier(), samples()
    model = EmulatedDataParallel(classifier, range(3))
    with torch.no_grad():
        output = model(images)
        torch.testing.assert_close(output, classifier(images))
    assert not output.requires_grad


def test_replicas_run_forward_and_backward_in_threads_of_their_own():
    probe = Probe()
    classifier = small_classifier(None, probe)
    gradients(EmulatedDataParallel(classifier, range(2)), classifier, *samples())
    forward, backward, _, threads = zip(*probe.seen, strict=True)
    assert len(probe.seen) == 2
    assert threading.current_thread().name not in (*forward, *backward)
    assert threads == (1, 1)


@pytest.mark.parametrize(("kind", "kept"), [(EmulatedDataParallel, False), (EmulatedKeptThreads, True)])
def test_threads_are_new_in_every_forward_pass_or_each_devices_own(kind, kept):
    probe = Probe()
    classifier = small_classifier(None, probe)
    model = kind(classifier, range(2))
    names = set()
    for _ in range(3):
        expected = gradients(classifier, classifier, *samples())
        probe.seen.clear()
        parallel = gradients(model, classifier, *samples())
        names |= {name for name, *_ in probe.seen}
        torch.testing.assert_close(parallel, expected, rtol=1e-4, atol=1e-6)
    assert (len(names) == 2) is kept


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("ieee-fp32", torch.float32)])
def test_replicas_compute_in_the_precision_asked_for(precision, dtype):
    probe = Probe()
    classifier = small_classifier(make_config(precision=precision), probe)
    gradients(EmulatedDataParallel(classifier, range(2)), classifier, *samples())
    assert [entry[2] for entry in probe.seen] == [dtype, dtype]


def test_parameters_are_copied_every_forward():
    classifier, (images, _) = small_classifier(), samples()
    model = EmulatedDataParallel(classifier, range(2))
    before = model(images)
    with torch.no_grad():
        for parameter in classifier.parameters():
            parameter.mul_(2)
    after = model(images)
    torch.testing.assert_close(after, classifier(images))
    assert not torch.allclose(before, after)


def test_buffers_are_updated_by_replica_0_alone():
    classifier = small_classifier(None, nn.BatchNorm2d(4))
    images, _ = samples()
    expected = copy.deepcopy(classifier)
    expected(images[:6])  # the first replica's share
    EmulatedDataParallel(classifier, range(2))(images)
    for updated, wanted in zip(classifier.buffers(), expected.buffers(), strict=True):
        torch.testing.assert_close(updated, wanted)


def test_an_error_in_a_replica_reaches_the_caller():
    class Broken(nn.Module):
        def forward(self, x):
            raise ValueError("planted")

    with pytest.raises(ValueError, match="planted"):
        EmulatedDataParallel(small_classifier(None, Broken()), range(2))(samples()[0])


def test_outputs_without_a_gradient_give_the_parameters_none():
    class Detached(nn.Linear):
        def forward(self, x):
            return super().forward(x).detach()

    model = EmulatedDataParallel(Detached(3, 3), range(2))
    model(torch.ones(4, 3)).sum().backward()
    assert not model.module.weight.grad.any()


def test_the_snippet_of_kept_threads_is_the_labs_own_code():
    source = (ROOT / "common" / "training" / "data_parallel.py").read_text()
    classes = source[source.index("class DeviceThreads") : source.index("class Shard")].rstrip()
    assert f"\n\n\n{classes}\n```" in (ROOT / "docs" / "why.md").read_text()
