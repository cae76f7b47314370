"""Settings that only some models have."""

import pytest

from common.command_line.resolve import check_settings_of_model
from common.errors import UsageError


@pytest.mark.parametrize(
    ("model", "setting", "flag"),
    [
        ("resnet18", "sequence_length", "--sequence-length"),
        ("resnet18", "sample", "--sample"),
        ("resnet18", "data", "--data"),
        ("hf:gpt2", "image_size", "--image-size"),
        ("hf:gpt2", "num_classes", "--num-classes"),
        ("my_model.py:build", "sequence_length", "--sequence-length"),
    ],
)
def test_a_setting_that_a_model_does_not_have_is_refused(model, setting, flag):
    with pytest.raises(UsageError, match=f"{flag} does not go with --model {model}"):
        check_settings_of_model({"model": model, setting: "1"})


@pytest.mark.parametrize("model", ["resnet18", "timm:resnet18", "my_model.py:build"])
def test_one_that_it_has_is_not(model):
    check_settings_of_model({"model": model, "image_size": 64, "sequence_length": None, "epochs": 1})
