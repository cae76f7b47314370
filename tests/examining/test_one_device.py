"""What one device's record says for predictions."""

import pytest
from conftest import records_in

RESNET18_BYTES = 4 * 11_689_512


def test_one_device_knows_its_gradients_a_replica_and_its_convolutions(small_lab):
    folder, _ = small_lab
    anatomies = {record["step"]: record["anatomy"] for record in records_in(folder)}
    gradients = anatomies["02"]["gradients"]
    assert sum(gradients["bytes"]) == RESNET18_BYTES
    assert (
        len(gradients["bytes"]) == len(gradients["ready_seconds"]) == 62
    )  # torchvision's resnet18 has so many tensors
    assert gradients["bytes"][:2] == [4 * 1000, 4 * 512 * 1000]  # the last layer's are complete first
    assert gradients["bytes"][-1] == pytest.approx(4 * 64 * 3 * 49)  # the first convolution's last
    assert gradients["ready_seconds"] == sorted(gradients["ready_seconds"])
    assert 0 < gradients["ready_seconds"][-1] <= gradients["backward_seconds"]
    # Of 20: the first; one in layer 1, four times; in each other layer one that halves, one beside it, one three times.
    assert anatomies["02"]["different_convolutions"] == 1 + 1 + 3 * 3
    assert len(anatomies["02"]["replicate_seconds"]) > 1
    assert anatomies["03"]["gradients"] is anatomies["04"]["gradients"] is None
