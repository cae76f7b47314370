"""The next command that a run prints is one that works."""

import json
import shlex

import pytest
from conftest import ROOT

from common.command_line.commands import next_command
from common.command_line.options import read_options, training_parser
from common.errors import UsageError
from common.records import Record

EXAMPLE = ROOT / "results/examples/h100x2/02_single_resnet50_1x64_tf32_20261124T150056Z-7a25.json"


def record(**config) -> Record:
    """One of two GPUs, with another configuration."""
    known = json.loads(EXAMPLE.read_text())
    known["config"] |= config
    return Record.model_validate(known)


def following(monkeypatch, command: str, of: Record) -> list[str]:
    monkeypatch.setattr("sys.argv", shlex.split(command)[1:])
    return shlex.split(next_command(of))


def test_from_one_gpu_to_all_with_the_same_batch_on_each(monkeypatch):
    words = following(monkeypatch, "python 02_baseline_single_gpu.py --batch-size 64 --epochs 2", record())
    assert words[:2] == ["python", "03_dataparallel_training.py"]
    read = read_options(training_parser("dp"), words[2:])
    assert (read.batch_size, read.gpus, read.settings["epochs"]) == (128, "0,1", 2)


def test_what_auto_accumulate_found_out_is_carried_on_and_the_flag_is_not(monkeypatch):
    """Under torchrun the flag needs --max-restarts, which the printed command would lack."""
    command = "python 02_baseline_single_gpu.py --batch-size 64 --auto-accumulate --accumulation-steps 2"
    words = following(monkeypatch, command, record(accumulation_steps=4))
    assert "--auto-accumulate" not in words
    assert words[words.index("--accumulation-steps") + 1] == "4"
    assert words.count("--accumulation-steps") == 1


@pytest.mark.parametrize("switch", ["compile", "prefetch"])
def test_what_data_parallel_refuses_goes_on_with_step_04(monkeypatch, switch):
    words = following(monkeypatch, f"python 02_baseline_single_gpu.py --{switch}", record(**{switch: True}))
    assert "04_ddp_training.py" in words
    read = read_options(training_parser("ddp"), words[words.index("04_ddp_training.py") + 1 :])
    assert read.settings[switch]


@pytest.mark.parametrize("typed", ["--warmup-steps 3", "--warmup-steps=3"])
def test_a_flag_is_understood_by_its_former_name_and_proposed_by_the_one_it_has(monkeypatch, typed):
    assert read_options(training_parser("single"), typed.split()).settings["warmup_steps"] == 3
    proposed = " ".join(following(monkeypatch, f"python 02_baseline_single_gpu.py {typed} --lr 0.5", record()))
    assert typed.replace("warmup", "uncounted") in proposed
    assert "warmup" not in proposed


def test_abbreviated_flags_are_refused():
    with pytest.raises(UsageError, match="--batch"):
        read_options(training_parser("single"), ["--batch", "32"])
