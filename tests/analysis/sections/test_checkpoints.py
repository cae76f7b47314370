"""The five checkpoints: ticks follow from records, answers carry own numbers, commands make what is missing."""

from __future__ import annotations

import itertools
import re

import pytest

from analysis.factories import in_rounds, make_environment, make_record, typical_lab, write
from analysis.profile_factories import make_probed, make_probes, profiled_lab
from analysis.views import WORDS, said, without_marks
from common.analysis.judging.proposals import training_command
from common.analysis.reading.folder import read_folder
from common.analysis.sections.exercise import five_checkpoints
from common.analysis.sections.report import build_report
from common.content import Commands
from common.records import Copy, DeviceMemory, Failure, Launch, LaunchTimes, PredictionRecord
from common.step_01 import probe_tables

LAUNCHES = LaunchTimes(workers=2, alone_seconds=5e-6, threads_seconds=15e-6, processes_seconds=6e-6,
                       convolution_seconds=1e-5, first_convolution_seconds=2e-3)  # fmt: skip


def launches(threads, processes):
    """Step 01's, in microseconds; one alone takes 5."""
    return LAUNCHES.model_copy(update={"threads_seconds": threads * 1e-6, "processes_seconds": processes * 1e-6})


@pytest.fixture
def checked(tmp_path):
    """The checkpoints of these records, by their ids."""

    folders = (tmp_path / str(number) for number in itertools.count())

    def check(*records):
        report = build_report(read_folder(write(next(folders), *records)))
        return {one.id: one for one in five_checkpoints(report)}

    return check


def answers(checkpoint):
    return " ".join(said(line for _, answer in checkpoint.quizzes for line in answer))


def lost(kind, method="ddp", **changes):
    failure = Failure(kind=kind, rank=1, message="what happened", advice="what cures it")
    return make_record(method, 2, status="failed", failure=failure, **changes)


def commands_of(found):
    """All that the page proposes for what is missing."""
    return [command for part in found.section(1).contents if isinstance(part, Commands) for command in part.commands]


@pytest.mark.parametrize(
    ("threads", "processes", "begins"),
    [
        (15, 6, "From threads. With 2 threads"),
        (6, 5, "Not from threads, here"),  # a fifth more may be chance
        (15, 14, "Not from threads, here"),  # dearer than alone, and so are processes
        (15, 1.6, "Implausible: in step 01"),  # two processes three times faster than one alone
        (1.6, 5, "Implausible: in step 01"),
    ],
)
def test_the_lesson_of_threads_needs_numbers_that_can_be(checked, threads, processes, begins):
    probes = make_probes(launches=launches(threads, processes))
    checkpoint = checked(make_record(), make_probed(probes=probes))["difference"]
    assert answers(checkpoint).startswith(begins)
    is_implausible = begins.startswith("Implausible")
    assert said(checkpoint.figures)[0].startswith("Step 01's launches are implausible") is is_implausible
    (table,) = [table for table in probe_tables(probes) if table.id == "launches"]
    assert bool(table.hint) is is_implausible
    assert checkpoint.proofs[0].is_there is not is_implausible


def test_one_run_proves_little_and_gets_every_command(checked):
    checkpoints = checked(make_record(command="python 02"))
    assert [one.state for one in checkpoints.values()] == ["not_yet", "partly", "not_yet", "not_yet", "not_yet"]
    assert said([checkpoints["alone"].section(2).title[1].text]) == ["partly: 1 of 5 proven"]
    sizes = "--epochs 2 --samples-per-epoch 640 --image-size 64 --precision ieee-fp32"
    assert commands_of(checkpoints["alone"]) == [
        f"python 03_dataparallel_training.py --model resnet18 --batch-size 32 {sizes} --gpus 0,1",
        f"torchrun --standalone --nproc_per_node=2 04_ddp_training.py --model resnet18 --batch-size 16 {sizes}",
        f"python 03_dataparallel_training.py --model resnet18 --batch-size 16 {sizes} --gpus 0,1",
        f"torchrun --standalone --nproc_per_node=2 04_ddp_training.py --model resnet18 --batch-size 8 {sizes}",
    ]
    assert all(answer for one in checkpoints.values() for _, answer in one.quizzes)


def test_how_the_methods_differ(checked):
    probed = make_probed(probes=make_probes(launches=LAUNCHES))
    checkpoint = checked(*profiled_lab(), probed)["difference"]
    assert checkpoint.state == "done"
    assert "15.0 µs from each of 2 threads" in said(checkpoint.figures)[0]
    assert said(checkpoint.figures)[1:3] == [
        "DP × 2 copies 101 MB in a step from one part of the same memory to another: scatter 800 kB, replicate "
        "60.0 MB, gather 64.0 kB, reduce 40.0 MB.",
        "DDP × 2 sends only gradients: each rank gives 40.0 MB a step, in 2 all-reduces.",
    ]
    assert "each launch takes 3.00 times as long as from one alone; with 2 processes 1.20 times" in answers(checkpoint)


def test_threads_that_are_not_dearer_are_not_said_to_be(checked):
    quick = LAUNCHES.model_copy(update={"threads_seconds": 5.5e-6})
    checkpoint = checked(*profiled_lab(), make_probed(probes=make_probes(launches=quick)))["difference"]
    assert answers(checkpoint).startswith("Not from threads, here")


def test_weak_and_strong_scaling_stand_side_by_side(checked):
    strong = [make_record(method, 2, seconds, per_device_batch=8, noise=0)
              for method, seconds in (("dp", 0.5), ("ddp", 0.4))]  # fmt: skip
    checkpoint = checked(*typical_lab(noise=0), *strong)["alone"]
    assert checkpoint.state == "done"
    assert [[WORDS.cell(cell) for cell in line.cells] for line in checkpoint.table.lines] == [
        ["DP × 2", "1.25 ×", "1.00 ×"],
        ["DDP × 2", "1.67 ×", "1.25 ×"],
    ]
    assert "DP × 2 1.25 times in weak scaling, 1.00 times in strong; DDP × 2 1.67 times in" in answers(checkpoint)
    assert "03 gets 32: it is one process" in answers(checkpoint)


def test_what_a_campaign_ran_by_itself_proves_nothing_that_a_student_was_to_run(checked):
    """`make lab`, in three rounds that decide; then the same records as a person's own."""
    probed = make_probed(probes=make_probes(launches=LAUNCHES))
    lab = in_rounds(*profiled_lab())
    own = checked(*lab, probed)
    for number, record in enumerate(lab):
        record.launch = Launch(campaign="lab", id="a", seed=1, round=number // 3 + 1, place=number % 3 + 1)
    checkpoints = checked(*lab, probed)
    assert [own[id].state for id in ("difference", "alone", "choice")] == ["done", "partly", "partly"]
    assert [checkpoints[id].state for id in ("difference", "alone", "choice")] == ["done", "not_yet", "partly"]
    assert [proof.id for proof in checkpoints["choice"].proofs if proof.is_there] == ["chosen"]


def test_nothing_is_chosen_before_the_interval_says_so(checked):
    choice = checked(*profiled_lab(), make_probed())["choice"]
    chosen = next(proof for proof in choice.proofs if proof.id == "chosen")
    assert not chosen.is_there
    assert any("REPEATS=3" in command or "seq 3" in command for command in chosen.commands)


def test_a_run_of_a_campaign_that_was_stopped_is_no_recognised_fault(checked):
    launch = Launch(campaign="lab", id="a", seed=1, round=1, place=1)
    assert checked(lost("interrupted", launch=launch), make_record("ddp", 2))["faults"].state == "not_yet"


def test_step_03_is_not_asked_for_what_it_has_not():
    record = make_record(kind="cuda", config={"compile": True, "prefetch": True, "num_classes": 10})
    commands = [training_command(record, method, [], 2) for method in ("single", "dp", "ddp")]
    assert [flag in command for command in commands for flag in ("--compile", "--prefetch", "--num-classes 10")] == [
        True, True, True, False, False, True, True, True, True
    ]  # fmt: skip


def test_a_machine_that_does_not_find_itself_gets_an_address_for_torchrun():
    """As its newest step 01 says, and no other machine's."""
    record = make_record("ddp", 2)
    lost = make_probed(own_name_found=False)
    elsewhere = make_probed(environment=make_environment(hostname="elsewhere", machine="another"), own_name_found=False)
    address = "torchrun --standalone --local-addr=127.0.0.1 --nproc_per_node=2 04_"
    for checks, has_address in (
        ([], False), ([lost], True), ([lost, make_probed(own_name_found=True)], False), ([elsewhere], False),
    ):  # fmt: skip
        assert training_command(record, "ddp", checks, 2).startswith(address) is has_address
    assert training_command(record, "dp", [lost], 2).startswith("python 03_")


def test_the_checkpoints_commands_have_that_address(checked):
    lab = [*typical_lab(), make_probed(own_name_found=False)]
    starts = [command for found in checked(*lab).values() for command in commands_of(found) if "torchrun" in command]
    assert starts
    assert all("--local-addr=127.0.0.1" in command for command in starts)


def test_a_batch_that_cannot_be_split_is_scaled_up_on_one_device(checked):
    lab = [make_record(method, 2 if method == "ddp" else 1, per_device_batch=5) for method in ("single", "ddp")]
    (command,) = [command for command in commands_of(checked(*lab)["alone"]) if "02_" in command]
    assert "--batch-size 10" in command


def test_faults_count_where_a_record_names_them(checked):
    checkpoint = checked(*typical_lab(), lost("interrupted"), lost("hang"), lost("out_of_memory", "dp"))["faults"]
    assert {proof.id: proof.is_there for proof in checkpoint.proofs} == {
        "stopped": True,
        "lost_rank": True,
        "cured": False,
    }
    assert said(checkpoint.figures) == [
        "Runs whose record names a fault, by its kind: interrupted 1 ×, hang 1 ×, out of memory 1 ×."
    ]
    assert "Out of memory on rank 1: what happened What to do: what cures it" in answers(checkpoint)
    assert [command.split()[3:7] for command in commands_of(checkpoint)] == [
        ["04_ddp_training.py", "--model", "resnet18", "--batch-size"]
    ]


def test_a_fault_is_cured_by_a_later_run_of_the_same_step_and_model(checked):
    before, after = make_record("ddp", 2), make_record("dp", 2)
    assert checked(before, lost("hang"), after)["faults"].state == "partly"
    assert checked(lost("interrupted"), lost("hang"), make_record("ddp", 2))["faults"].state == "done"


def test_gpus_are_asked_for_a_batch_that_cannot_fit(checked):
    record = make_record(kind="cuda")
    record.devices[0].capacity_bytes = 10 * 2**30
    record.devices[0].memory = DeviceMemory(peak_allocated_bytes=2**30)
    assert "python 02_baseline_single_gpu.py --model resnet18 --batch-size 512" in commands_of(
        checked(record)["faults"]
    )


def test_what_was_predicted_and_what_bandwidth_leaves_out(checked):
    """Two GPUs: the ideal step takes 0.5 s, the bytes of DP 0.1 ms, and the step 0.8 s."""
    copies = [Copy(source=a, destination=b, bytes=10**9, seconds=1e-3) for a, b in ((0, 1), (1, 0))]
    probes = make_probes("Example GPU", backend="nccl", copies=copies, not_applicable={})
    checkpoint = checked(*in_rounds(*profiled_lab(kind="cuda")), make_probed(probes=probes))["choice"]
    assert [proof.id for proof in checkpoint.proofs if proof.is_there] == ["chosen"]  # nobody had asked before the runs
    assert re.match(r"DDP × 2, a step: predicted \d+ ms, measured 6\d\d ms, error [−+]", said(checkpoint.figures)[0])
    (off,) = re.findall(r"off by (−\d+) %", answers(checkpoint))
    assert -40 <= int(off.replace("−", "-")) <= -36
    assert "Use DDP. DDP × 2 is 1.3" in answers(checkpoint)


@pytest.mark.parametrize(
    ("predicted", "changes", "proven"),
    [
        ("2025-12-31", {}, ["ddp_error"]),
        ("2026-01-03", {}, []),  # after the run
        ("2025-12-31", {"devices": 4}, []),
        ("2025-12-31", {"per_device_batch_size": 8}, []),
        ("2025-12-31", {"method": "dp"}, ["dp_error"]),
    ],
)
def test_a_prediction_counts_that_was_asked_for_before_a_run_by_hand(checked, predicted, changes, proven):
    step = {"model": "resnet18", "method": "ddp", "devices": 2, "per_device_batch_size": 16, "seconds": 0.5} | changes
    asked = PredictionRecord(run_id="05_prediction-1", started_at=f"{predicted}T00:00:00+00:00", steps=[step])
    choice = checked(*typical_lab(), asked)["choice"]
    assert [proof.id for proof in choice.proofs if proof.is_there] == proven
    lab = typical_lab()
    for number, record in enumerate(lab):
        record.launch = Launch(campaign="lab", id="a", seed=1, round=1, place=number + 1)
    assert not any(proof.is_there for proof in checked(*lab, asked)["choice"].proofs)


def test_step_05_keeps_what_it_was_asked_to_predict(tmp_path, compare):
    """Asked, with numbers of devices, over links that are here: it leaves a record, which the next page takes."""
    results = write(tmp_path / "results", *profiled_lab()[:1], make_probed())
    assert compare(results).returncode == compare(results, "--predict", "2", "--link", "25GB/s,10us").returncode == 0
    assert not list(results.glob("05_*.json"))
    assert compare(results, "--predict", "2").returncode == 0
    (prediction,) = read_folder(results).predictions
    (step, *_) = prediction.steps
    assert (step.model, step.method, step.devices, step.per_device_batch_size) == ("resnet18", "ddp", 2, 16)
    assert not read_folder(results).skipped


def test_what_runs_of_much_noise_say_of_bandwidth_is_nothing_yet(checked):
    noisy = in_rounds(*profiled_lab(), scatter=0.4)
    assert "That says nothing yet" in answers(checked(*noisy)["choice"])


def test_a_switch_stays_where_its_interval_says_so(checked):
    rounds = [make_record(step_seconds=seconds * (1 + 0.002 * number), config=config)
              for number in range(3)
              for seconds, config in ((0.5, {}), (0.4, {"memory_format": "channels_last"}),
                                      (0.6, {"fused_optimizer": True}))]  # fmt: skip
    once = make_record(step_seconds=0.5, config={"compile": True}, seed=5)
    checkpoint = checked(*rounds, once)["optimising"]
    assert checkpoint.state == "done"
    assert "Keep memory format: channels_first → channels_last (One device)" in answers(checkpoint)
    assert "Drop fused optimizer: no → yes (One device)" in answers(checkpoint)
    assert "Open: compiled: no → yes (One device)" in answers(checkpoint)
    assert "--channels-last" not in commands_of(checked(*rounds, once)["alone"])[0]


def test_three_runs_beside_one_are_no_three_rounds_and_strong_scaling_is_no_switch(checked):
    plain = make_record("ddp", 2, 0.6)
    tried = [make_record("ddp", 2, 0.4, config={"memory_format": "channels_last"}) for _ in range(3)]
    smaller = make_record("ddp", 2, 0.5, per_device_batch=8)
    assert checked(plain, *tried, smaller)["optimising"].state == "partly"
    assert checked(plain, smaller)["optimising"].state == "not_yet"


def test_the_page_ticks_folds_and_names_commands(tmp_path, compare):
    write(tmp_path / "results", *typical_lab(), lost("hang"))
    assert compare(tmp_path / "results", "--quiet").returncode == 0
    page = without_marks((tmp_path / "checkpoints.html").read_text())
    section = page[page.index('<section id="checkpoints"') : page.index('id="published"')]
    assert re.findall(r'<span class="outcome (\w+)">', section) == [
        "missing",
        "warning",
        "warning",
        "missing",
        "missing",
    ]
    assert section.count('<li class="there">') == 5
    assert "<details>" in section
    assert "<details open" not in section
    assert "04_ddp_training.py --model resnet18 --batch-size 8 " in section
