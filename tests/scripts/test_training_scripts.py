"""Steps 02, 03 and 04 through the front door: real processes, real records."""

import re

import pytest
from conftest import FEW_LAYERS_PARAMETERS, SMALL, environment, records_in, run_script

from common.formats import FORMATS
from common.machine.before_torch import cpu_cores
from common.machine.devices import listed_devices
from common.records import Record

SCRIPTS = {
    "02": "02_baseline_single_gpu.py",
    "03": "03_dataparallel_training.py",
    "04": "04_ddp_training.py",
}


@pytest.fixture
def by_step(small_lab):
    folder, _ = small_lab
    return {record["step"]: Record.model_validate(record) for record in records_in(folder)}


def test_each_step_leaves_a_completed_record(by_step):
    assert {step: (r.method, r.status) for step, r in by_step.items()} == {
        "02": ("single", "completed"),
        "03": ("dp", "completed"),
        "04": ("ddp", "completed"),
    }


@pytest.mark.parametrize(("step", "total", "per_device"), [("02", 8, 8), ("03", 16, 8), ("04", 16, 8)])
def test_global_and_per_device_batch_are_recorded_and_printed(small_lab, by_step, step, total, per_device):
    _, done = small_lab
    config = by_step[step].config
    assert (config.global_batch_size, config.per_device_batch_size) == (total, per_device)
    assert f"{total} global, {per_device} per device" in done[step].stdout


def test_dataparallel_on_cores_is_said_to_be_emulated(small_lab, by_step):
    _, done = small_lab
    assert [by_step[step].world.emulated for step in ("02", "03", "04")] == [False, True, False]
    assert "emulated" in done["03"].stdout
    assert "emulated" not in done["04"].stdout


def test_every_method_saw_the_same_samples(by_step):
    epochs = {
        step: [sum(int(rank.checksums[e], 16) for rank in r.ranks) % 2**64 for e in range(2)]
        for step, r in by_step.items()
    }
    assert epochs["02"] == epochs["03"] == epochs["04"]
    assert epochs["02"] == [int(epoch.expected_checksum, 16) for epoch in by_step["02"].epochs]
    assert {tuple(sum(rank.samples[e] for rank in r.ranks) for e in range(2)) for r in by_step.values()} == {(64, 64)}


def test_ddp_ranks_share_the_samples_out(by_step):
    ranks = by_step["04"].ranks
    assert [rank.rank for rank in ranks] == [0, 1]
    assert [rank.samples for rank in ranks] == [[32, 32], [32, 32]]
    assert ranks[0].checksums != ranks[1].checksums


def test_order_changes_from_epoch_to_epoch_and_from_seed_to_seed(tmp_path):
    # Half the samples make an epoch of one step: which half tells the order.
    for seed in (0, 10):  # torch seeds an epoch by seed + epoch: neighbours would share orders
        arguments = [*SMALL, "--samples-per-epoch", 15, "--batch-size", 8, "--seed", seed, "--uncounted-steps", 0]
        assert run_script(SCRIPTS["02"], *arguments, "--results-dir", tmp_path).returncode == 0
    checksums = [record["ranks"][0]["checksums"] for record in records_in(tmp_path)]
    assert len({value for of_run in checksums for value in of_run}) == 4


def test_loss_falls_in_every_method(by_step):
    for record in by_step.values():
        first, last = (epoch.mean_loss for epoch in record.epochs)
        assert last < first


def test_parity_passes_and_is_printed(small_lab, by_step):
    _, done = small_lab
    assert by_step["02"].parity.outcome == "not applicable"
    for step in ("03", "04"):
        assert by_step[step].parity.outcome == "passed"
        assert by_step[step].parity.shards == 2
        assert "parity: passed" in done[step].stdout


def test_steps_add_up_to_the_host_clock(by_step):
    for record in by_step.values():
        host_seconds = [max(of_ranks) for of_ranks in zip(*(r.host_epoch_seconds for r in record.ranks), strict=True)]
        left = [host - steps for host, steps in zip(host_seconds, record.epoch_seconds, strict=True)]
        # Between the last step and the clock another program may have the core for a while: not in every epoch.
        assert -1e-5 < min(left) < 0.01
        assert sum(record.measured_steps) == pytest.approx(sum(record.epoch_seconds))


def test_memory_of_every_process_is_recorded(by_step):
    peaks = {step: [device.memory.peak_process_bytes for device in r.devices] for step, r in by_step.items()}
    assert peaks["03"][1] is None  # one process holds both replicas
    measured = [peaks["02"][0], peaks["03"][0], *peaks["04"]]
    assert all(peak > r.static_memory.parameter_bytes for peak, r in zip(measured, [by_step["02"]] * 4, strict=True))


def test_static_memory_is_that_of_the_model(by_step):
    for record in by_step.values():
        static = record.static_memory
        assert static.parameters == FEW_LAYERS_PARAMETERS
        assert static.parameter_bytes == static.gradient_bytes == static.optimizer_state_bytes == 4 * static.parameters


def test_summary_names_the_figures_the_record_and_the_next_step(small_lab, by_step):
    folder, done = small_lab
    following = {"02": SCRIPTS["03"], "03": SCRIPTS["04"], "04": "05_performance_comparison.py"}
    for step, process in done.items():
        assert f"{by_step[step].throughput:.1f} samples/s" in process.stdout
        assert by_step[step].run_id in process.stdout
        assert following[step] in process.stdout
        assert str(folder) in process.stdout


def test_03_and_04_say_at_once_how_fast_they_are_beside_the_steps_before(small_lab, by_step):
    _, done = small_lab
    assert "× step" not in done["02"].stdout
    for step, earlier in (("03", "02"), ("04", "02"), ("04", "03")):
        ratio = by_step[step].throughput / by_step[earlier].throughput
        assert f"{FORMATS['ratio'](ratio).number} × step {earlier} (" in done[step].stdout
    assert "(synthetic images)" in done["02"].stdout


def test_more_devices_than_cores_are_allowed_and_flagged(tmp_path):
    devices = cpu_cores() + 1
    samples = ["--batch-size", 2 * devices, "--samples-per-epoch", 2 * devices, "--epochs", 1, "--uncounted-steps", 0]
    arguments = [*SMALL, *samples, "--gpus", ",".join(map(str, range(devices)))]
    process = run_script(SCRIPTS["03"], *arguments, "--results-dir", tmp_path)
    (record,) = records_in(tmp_path)
    assert process.returncode == 0, process.stderr
    assert record["world"]["oversubscribed"]
    assert "oversubscribed" in process.stdout


def test_quiet_prints_nothing(tmp_path):
    arguments = [*SMALL, "--samples-per-epoch", 8, "--epochs", 1, "--batch-size", 8, "--quiet"]
    process = run_script(SCRIPTS["02"], *arguments, "--results-dir", tmp_path)
    assert (process.returncode, process.stdout, process.stderr) == (0, "", "")
    assert len(records_in(tmp_path)) == 1


@pytest.mark.parametrize("workers", [1])
def test_loader_workers_hand_over_the_same_samples(tmp_path, by_step, workers):
    arguments = [*SMALL, "--batch-size", 8, "--workers", workers, "--results-dir", tmp_path]
    assert run_script(SCRIPTS["02"], *arguments).returncode == 0
    (record,) = records_in(tmp_path)
    assert record["config"]["loader_workers"] == workers
    assert record["ranks"][0]["checksums"] == by_step["02"].ranks[0].checksums


def test_bf16_trains_on_cores(tmp_path):
    arguments = [*SMALL, "--samples-per-epoch", 32, "--batch-size", 16, "--precision", "bf16", "--gpus", "0,1"]
    arguments += ["--results-dir", tmp_path]  # few samples: cores without bf16 instructions take seconds for one
    assert run_script(SCRIPTS["03"], *arguments).returncode == 0
    (record,) = records_in(tmp_path)
    assert record["config"]["precision"] == "bf16"
    assert record["epochs"][1]["mean_loss"] < record["epochs"][0]["mean_loss"]


@pytest.mark.parametrize("script", [*SCRIPTS.values(), "01_environment_check.py", "05_performance_comparison.py"])
def test_help_does_not_wait_for_torch(script, tmp_path):
    for name in ("torch", "torchvision", "pandas", "matplotlib", "scipy"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('imported before the command line was read')")
    process = run_script(script, "--help", env=environment(PYTHONPATH=str(tmp_path)))
    assert process.returncode == 0, process.stderr
    assert "--results-dir" in process.stdout


def test_help_names_units_and_defaults():
    text = run_script(SCRIPTS["04"], "--help", new_interpreter=True).stdout
    for option in re.findall(r"^  (--[a-z-]+)", text, flags=re.MULTILINE):
        described = re.split(rf"^  {option}(?![\w-])", text, flags=re.MULTILINE)[1].split("\n  --", 1)[0]
        assert option in ("--quiet", "--model-template") or "default:" in " ".join(described.split()), option


@pytest.mark.parametrize("gpus", ["0", "0,1"])
def test_dataparallel_on_cores_is_emulated_on_one_core_as_on_several(gpus):
    assert listed_devices("cpu", gpus).world.emulated
