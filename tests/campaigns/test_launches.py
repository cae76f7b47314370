"""What the campaigns launch, as data."""

import json
import os
import re
import shlex
import subprocess
from collections import Counter
from itertools import islice

import pytest

from campaigns.conftest import ROOT, SCRIPTS
from common.campaigns.campaign import CAMPAIGNS as ALL
from common.campaigns.campaign import RoundCampaign
from common.campaigns.launches import Overrides, drawn_orders
from common.command_line import commands as typed
from common.command_line.options import training_parser
from common.records import Environment

CAMPAIGNS = {name: campaign for name, campaign in ALL.items() if isinstance(campaign, RoundCampaign)}
GPU = {"index": 0, "name": "GPU"}


def machine(gpus: int = 0, cores: int = 2, **changes) -> Environment:
    (example,) = (ROOT / "results/examples/h100x2").glob("01_*.json")
    example_host = json.loads(example.read_text())["environment"]
    return Environment.model_validate(example_host | {"gpus": [GPU] * gpus, "cpu_cores": cores} | changes)


def parsed(command: str):
    """What the script makes of a command's arguments."""
    words = shlex.split(command)
    (position,) = (index for index, word in enumerate(words) if word.endswith(".py"))
    method = {"02": "single", "03": "dp", "04": "ddp"}[words[position][:2]]
    return training_parser(method).parse_args(words[position + 1 :])


def test_the_lab_on_two_cores():
    commands = CAMPAIGNS["lab"].commands(machine(), Overrides())
    sizes = "--model resnet18 --batch-size {} --epochs 3 --samples-per-epoch 128"
    assert commands == [
        f"python 02_baseline_single_gpu.py {sizes.format(16)}",
        f"python 03_dataparallel_training.py {sizes.format(32)} --gpus 0,1",
        f"torchrun --standalone --nproc_per_node=2 04_ddp_training.py {sizes.format(16)}",
    ]
    first, second, third = islice(CAMPAIGNS["lab"].rounds(machine(), Overrides(), 0), 3)
    assert sorted(first) == sorted(f"{command} --quiet" for command in commands)
    assert sorted(second) == sorted(third) == sorted(f"{command} --anatomy-steps 0 --quiet" for command in commands)


@pytest.mark.parametrize("count", [2, 3, 4, 11])
def test_each_round_has_an_order_and_everyone_every_place_once(count):
    orders = list(islice(drawn_orders(count, 5), 3 * count))
    for square in (orders[:count], orders[count : 2 * count]):
        assert all(sorted(order) == list(range(count)) for order in [*square, *zip(*square, strict=True)])
    assert orders == list(islice(drawn_orders(count, 5), 3 * count))


def test_every_order_comes_as_often_as_every_other():
    drawn = Counter(tuple(order) for seed in range(2000) for order in islice(drawn_orders(3, seed), 2))
    assert len(drawn) == 6
    assert all(abs(times / 4000 - 1 / 6) < 0.03 for times in drawn.values())


@pytest.mark.parametrize("gpus", [1, 2, 4, 8])
def test_the_lab_on_gpus_measures_enough_steps(gpus):
    for command in CAMPAIGNS["lab"].commands(machine(gpus), Overrides()):
        args = parsed(command)
        batch = args.batch_size * (gpus if args.method == "ddp" else 1)
        assert args.epochs * (args.samples_per_epoch // batch) >= 40


def test_the_lab_on_two_h100s_is_quick():
    """By the rates and times of the records in results/examples/h100x2: what a launch takes outside of measuring."""
    args = parsed(CAMPAIGNS["lab"].commands(machine(2), Overrides())[0])
    training = sum(args.epochs * args.samples_per_epoch / rate for rate in (1690, 1045, 3282))
    first_page = 35 + (17 + 23 + 32) + training + 3
    assert first_page <= 150 - 20
    assert first_page + 2 * (20 + 22 + 27 + training + 3) <= 420 - 60


def test_the_exercise_is_the_published_one():
    exercise = CAMPAIGNS["exercise"]
    assert exercise.repeats == 1
    assert [*exercise.commands(machine(gpus=8), Overrides()), exercise.report] == [
        "python 02_baseline_single_gpu.py --model resnet50 --batch-size 64 --epochs 5",
        "python 03_dataparallel_training.py --model resnet50 --batch-size 256 --epochs 5 --gpus 0,1,2,3",
        "torchrun --standalone --nproc_per_node=4 04_ddp_training.py --model resnet50 --batch-size 64 --epochs 5",
        "python 05_performance_comparison.py --results-dir ./results --generate-plots "
        "--output-report comparison_report.html",
    ]


def test_the_command_line_overrides_every_campaign():
    overrides = Overrides(model="a b", batch=8, epochs=7, devices=3, samples=99, repeats=1)
    for campaign in CAMPAIGNS.values():
        for command in campaign.commands(machine(gpus=8), overrides):
            args = parsed(command)
            assert (args.model, args.epochs, args.samples_per_epoch) == ("a b", 7, 99)
            assert args.batch_size == (24 if args.method == "dp" else 8)
            assert args.method != "dp" or args.gpus == "0,1,2"
            assert args.method != "ddp" or "--nproc_per_node=3" in command


@pytest.mark.parametrize("here", [machine(gpus=2), machine()], ids=["GPUs", "cores"])
@pytest.mark.parametrize("name", CAMPAIGNS)
def test_every_command_is_one_that_its_script_takes(name, here):
    for commands in islice(CAMPAIGNS[name].rounds(here, Overrides(), 0), 2):
        for command in commands:
            parsed(command)
    assert all(word in SCRIPTS.values() for word in " ".join(commands).split() if word.endswith(".py"))


@pytest.mark.parametrize("here", [machine(gpus=2), machine()], ids=["GPUs", "cores"])
@pytest.mark.parametrize("name", ["crossover", "ladder"])
def test_every_command_of_an_adaptive_campaign_is_one_that_its_script_takes(name, here):
    commands = ALL[name].rehearsed(here, Overrides(), 0)
    runs = [parsed(command) for command in commands if " 05_" not in command]
    assert len({run.model for run in runs}) == 1
    assert min(run.epochs * (run.samples_per_epoch // run.batch_size) for run in runs if run.method == "single") >= 10


@pytest.mark.parametrize("name", ALL)
def test_every_launch_under_torchrun_works_where_the_host_does_not_find_itself(name, monkeypatch):
    """So that an adaptive campaign knows its own runs again: their records have the command as it was started."""
    monkeypatch.setattr(typed, "name_is_found", lambda: False)
    here = machine()
    campaign = ALL[name]
    commands = campaign.commands(here, Overrides()) if name in CAMPAIGNS else campaign.rehearsed(here, Overrides(), 0)
    started = [command for command in commands if command.startswith("torchrun")]
    assert all(command.startswith("torchrun --standalone --local-addr=127.0.0.1 ") for command in started)
    assert bool(started) == (name != "ladder")


def test_each_sweep_begins_with_the_default_options_and_sets_another_one_in_every_other_launch():
    first, *others = CAMPAIGNS["sweep"].commands(machine(gpus=2), Overrides())
    assert len(others) == len(set(others)) == 9
    assert all(command.startswith(f"{first} --") for command in others)
    cores = CAMPAIGNS["sweep"].commands(machine(), Overrides())
    assert not [command for command in cores if "--sync-bn" in command]  # needs GPUs


@pytest.mark.parametrize(("torch", "newer"), [("2.11.0+cu130", 0), ("2.12.1", 1), ("2.15.0", 2)])
def test_a_sweep_leaves_out_the_options_that_this_torch_lacks(torch, newer):
    commands = CAMPAIGNS["sweep"].commands(machine(torch=torch), Overrides())
    assert len([c for c in commands if "--batched-grad-copy" in c or "--lazy-bucket-allocation" in c]) == newer


@pytest.mark.parametrize("here", [machine(gpus=1), machine(gpus=2), machine(gpus=8), machine(), machine(cores=64)])
def test_no_two_campaigns_have_runs_that_would_be_pooled(here):
    work = {}
    for name, campaign in CAMPAIGNS.items():
        args = parsed(campaign.commands(here, Overrides())[-1])
        work[name] = (args.model, args.samples_per_epoch)
    assert len(set(work.values())) == len(work)


def test_dry_run_prints_the_commands_and_runs_none(fake_lab):
    (fake_lab.folder / "results/01_environment-new.json").write_text((fake_lab.folder / "environment.json").read_text())
    (fake_lab.folder / "results/01_zz.json").write_text("damaged, and the newest")
    os.mkfifo(fake_lab.folder / "results/01_a_pipe.json")
    done = fake_lab.run("lab", "--dry-run", "--repeats", "2")
    (seed,) = re.findall("SEED=([0-9]+)", done.stdout)
    first, second = islice(CAMPAIGNS["lab"].rounds(machine(), Overrides(), int(seed)), 2)
    check, drawn, *lines = done.stdout.splitlines()
    assert (check, drawn[0]) == ("python 01_environment_check.py --quiet", "#")
    report = CAMPAIGNS["lab"].report
    assert lines == ["# Round 1", *first, f"{report} --quiet", "# Round 2", *second, report]
    assert fake_lab.log == []
    assert fake_lab.run("lab", "--dry-run", "--repeats", "2", "--seed", seed).stdout == done.stdout


@pytest.mark.parametrize("target", ALL)
def test_variables_of_make_reach_the_runner(target, tmp_path):
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    python.chmod(0o755)
    values = {"MODEL": "resnet18", "BATCH": "8", "EPOCHS": "2", "SAMPLES": "64", "DEVICES": "3", "REPEATS": "1",
              "TOLERANCE": "2.5", "MINUTES": "4", "SEED": "9", "QUEUE": "no"}  # fmt: skip
    given = [f"{name}={value}" for name, value in values.items()]
    make = ["make", "--silent", "-C", str(ROOT), "--no-print-directory", f"PYTHON={python}", target]
    done = subprocess.run([*make, *given], capture_output=True, text=True, check=True)
    flags = [word for name, value in values.items() for word in (f"--{name.lower()}", value)]
    assert done.stdout.split() == ["-m", "common.setup", "-m", "common.campaigns", target, *flags]
    done = subprocess.run(make, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["-m", "common.setup", "-m", "common.campaigns", target]


@pytest.mark.parametrize("flag", ["--devices", "--repeats"])
def test_more_than_any_machine_could_run_is_refused(fake_lab, flag):
    process = fake_lab.run("lab", "--dry-run", flag, "99999")
    assert (process.returncode, process.stdout) == (2, "")
    assert f"argument {flag}: must be at most " in process.stderr


def test_pipes_named_like_records_are_passed_over(fake_lab):
    (fake_lab.folder / "results/01_whole.json").write_text((fake_lab.folder / "environment.json").read_text())
    for name in ("01_x.json", "02_x.json"):
        os.mkfifo(fake_lab.folder / "results" / name)
    assert fake_lab.run("lab", "--dry-run").returncode == 0
    assert fake_lab.run("crossover", "--dry-run").returncode == 0
