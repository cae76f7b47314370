"""What one device's record says for predictions."""

from conftest import FEW_LAYERS_PARAMETERS, records_in


def test_one_device_knows_its_gradients_a_replica_and_its_convolutions(small_lab):
    folder, _ = small_lab
    profiles = {record["step"]: record["anatomy"] for record in records_in(folder)}
    gradients = profiles["02"]["gradients"]
    assert sum(gradients["bytes"]) == 4 * FEW_LAYERS_PARAMETERS
    # Two convolutions, two batch norms and the last layer have two each.
    assert len(gradients["bytes"]) == len(gradients["ready_seconds"]) == 2 * 5
    assert gradients["bytes"][:2] == [4 * 1000, 4 * 16 * 5 * 5 * 1000]  # the last layer's are complete first
    assert sorted(gradients["bytes"][-2:]) == [4 * 16, 4 * 16 * 3 * 9]  # the first convolution's last
    assert gradients["ready_seconds"] == sorted(gradients["ready_seconds"])
    assert 0 < gradients["ready_seconds"][-1] <= gradients["backward_seconds"]
    assert profiles["02"]["different_convolutions"] == 2
    assert len(profiles["02"]["replicate_seconds"]) > 1
    assert profiles["03"]["gradients"] is profiles["04"]["gradients"] is None
