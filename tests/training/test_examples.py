"""The worked examples, and models of timm's and transformers', through the scripts."""

import importlib.util

import pytest
from conftest import ROOT, records_in, run_script
from factories import make_config, make_model, make_place

from common.command_line.model_names import source_of
from common.errors import UsageError

SINGLE, DP, DDP = "02_baseline_single_gpu.py", "03_dataparallel_training.py", "04_ddp_training.py"
SHORT = ["--epochs", 1, "--samples-per-epoch", 4, "--uncounted-steps", 0, "--anatomy-steps", 0]
EXAMPLES = {"text_classifier": ("tokens", 128), "unet": ("images", 1), "small_gpt": ("tokens", 128)}
needs_timm, needs_transformers = (
    pytest.mark.skipif(importlib.util.find_spec(name) is None, reason=f"{name} is not installed")
    for name in ("timm", "transformers")
)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_goes_through_all_three_methods(name, tmp_path):
    model = ["--model", ROOT / "examples" / f"{name}.py:build", *SHORT, "--results-dir", tmp_path]
    for script, *more in ((SINGLE, 2), (DP, 4, "--gpus", "0,1"), (DDP, 2)):
        process = run_script(script, "--batch-size", *more, *model, ranks=2 if script == DDP else 0)
        assert process.returncode == 0, process.stderr
    single, *parallel = records_in(tmp_path)
    assert [record["parity"]["outcome"] for record in parallel] == ["passed", "passed"]
    assert max(record["parity"]["max_relative_error"] for record in parallel) < 1e-5
    config = single["config"]
    assert (config["unit"], config["units_per_sample"]) == EXAMPLES[name]
    assert config["model_source"] == source_of(str(ROOT / "examples" / f"{name}.py"))
    assert single["flops_per_sample"] > 0
    assert single["static_memory"]["parameters"] > 0
    if name == "small_gpt":
        assert single["optimizer"].startswith("AdamW lr=0.0003")


def test_a_data_set_of_ones_own(tmp_path):
    file = ROOT / "examples" / "small_gpt.py"
    arguments = ["--model", file, "--data", f"{file}:dataset", *SHORT, "--batch-size", 2, "--workers", 1]
    process = run_script(SINGLE, *arguments, "--results-dir", tmp_path)
    assert process.returncode == 0, process.stderr
    (record,) = records_in(tmp_path)
    assert record["config"]["data_source"].startswith(f"{file}:dataset sha256:")
    assert record["epochs"][0]["samples"] == 4


def test_adamw_is_in_the_record_and_its_checkpoint_goes_on(tmp_path):
    arguments = ["--model", ROOT / "examples" / "my_model.py", *SHORT[2:], "--batch-size", 2, "--lr", 0.01]
    arguments += ["--checkpoint-dir", tmp_path / "checkpoints", "--results-dir", tmp_path / "results"]
    assert run_script(SINGLE, *arguments, "--optimizer", "adamw", "--epochs", 1).returncode == 0
    again = run_script(SINGLE, *arguments, "--optimizer", "adamw", "--epochs", 2, "--resume", "auto")
    assert again.returncode == 0, again.stderr
    record = records_in(tmp_path / "results")[-1]
    assert record["optimizer"].startswith("AdamW lr=")
    assert record["resumed"]["epoch"] == 2
    other = run_script(SINGLE, *arguments, "--optimizer", "sgd", "--epochs", 3, "--resume", "auto")
    assert (other.returncode, "optimizer adamw" in other.stderr) == (2, True)


@needs_timm
def test_models_of_timm_are_built_for_images_of_any_size():
    model = make_model(make_config(model="timm:vit_tiny_patch16_224", image_size=32), make_place())
    assert model.flops_by_kind["matmul"] > 0
    with pytest.raises(UsageError, match=r"no model called 'convnext_atom'; close: convnext_atto"):
        make_model(make_config(model="timm:convnext_atom"), make_place())


def transformer(model, length=16):
    return make_model(make_config(model=model, sequence_length=length, image_size=0, num_classes=0), make_place())


@needs_transformers
def test_models_of_transformers_compute_their_own_loss():
    """Operations by hand: six a weight of the matrix products and token, and attention's two products, three passes."""
    model = transformer("hf:gpt2?n_layer=2,n_embd=64,n_head=2,vocab_size=100")
    weights, attention = 2 * 12 * 64 * 64 + 64 * 100, 2 * 2 * 2 * 16 * 64
    assert model.flops_by_kind["matmul"] == 16 * (6 * weights + 3 * attention)


@needs_transformers
@pytest.mark.parametrize(
    ("model", "length", "said"),
    [
        ("hf:bert-base-uncased", 16, r"no architecture called 'bert-base-uncased'; close: bert, "),
        ("hf:gpt2?n_layers=2", 16, r"gpt2 has no setting n_layers; close: n_layer"),
        ("hf:gpt2?12", 16, r"give values by name"),
        ("hf:gpt2", 2000, r"takes at most 1024 tokens"),
        ("hf:vit", 16, r"vit is no language model"),
    ],
)
def test_what_transformers_lacks_is_said(model, length, said):
    with pytest.raises(UsageError, match=said):
        transformer(model, length)
