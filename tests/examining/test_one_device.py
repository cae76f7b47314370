"""What one device's record says for predictions."""

from conftest import records_in

MODEL_BYTES = 4 * 1_366_792  # torchvision's documentation of shufflenet_v2_x0_5


def test_one_device_knows_its_gradients_a_replica_and_its_convolutions(small_lab):
    folder, _ = small_lab
    anatomies = {record["step"]: record["anatomy"] for record in records_in(folder)}
    gradients = anatomies["02"]["gradients"]
    assert sum(gradients["bytes"]) == MODEL_BYTES
    # 56 convolutions, each with a weight and its batch norm's two, and the last layer's two.
    assert len(gradients["bytes"]) == len(gradients["ready_seconds"]) == 3 * 56 + 2
    assert gradients["bytes"][:2] == [4 * 1000, 4 * 1024 * 1000]  # the last layer's are complete first
    assert gradients["bytes"][-1] == 4 * 24 * 3 * 9  # the first convolution's last
    assert gradients["ready_seconds"] == sorted(gradients["ready_seconds"])
    assert 0 < gradients["ready_seconds"][-1] <= gradients["backward_seconds"]
    # The first and the last; in each of three stages a depthwise one that halves and one that does not, and one by one
    # pixel before the halving and after it.
    assert anatomies["02"]["different_convolutions"] == 2 + 3 * 4
    assert len(anatomies["02"]["replicate_seconds"]) > 1
    assert anatomies["03"]["gradients"] is anatomies["04"]["gradients"] is None
