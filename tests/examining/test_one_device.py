"""What one device's record says for predictions."""

from types import SimpleNamespace

import torch
from conftest import FEW_LAYERS_PARAMETERS, records_in
from torch import nn

from common.examining.one_device import gathered_bytes
from common.training.batch import Batch


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
    config = next(record for record in records_in(folder) if record["step"] == "02")["config"]
    assert profiles["02"]["gathered_bytes"] == config["per_device_batch_size"] * 1000 * 4 * 2  # logits, and back
    assert profiles["03"]["gradients"] is profiles["04"]["gradients"] is None


def test_outputs_that_the_loss_does_not_use_send_no_gradient_back():
    """A language model that computes its loss in `forward` hands out its logits as well."""

    class WithLoss(nn.Linear):
        def forward(self, inputs):
            logits = super().forward(inputs)
            return {"loss": logits.mean(), "logits": logits}

    batch = Batch(torch.ones(4, 3), None, torch.arange(4))
    training = SimpleNamespace(
        device=torch.device("cpu"), model=WithLoss(3, 5), loss=lambda outputs, targets: outputs["loss"]
    )
    assert gathered_bytes(training, batch) == 4 * (4 * 5) + 2 * 4  # logits; the loss and its gradient
