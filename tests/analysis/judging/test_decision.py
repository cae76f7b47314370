"""What to use, of runs whose speeds are known; and what to run next."""

import pytest

from analysis.factories import in_rounds, make_record, typical_lab
from analysis.views import folder_of, groups_of, said
from common.analysis.judging.proposals import next_step, your_script
from common.analysis.judging.verdicts import decide, recommended
from common.analysis.sections.headline import verdict
from common.records import Failure


def lab(single, dp, ddp):
    return [make_record("single", 1, single), make_record("dp", 2, dp), make_record("ddp", 2, ddp)]


def decided(*records):
    rows = groups_of(*records)[0].representatives
    return decide(rows), rows


@pytest.mark.parametrize(
    ("times", "scatter", "choice", "method"),
    [
        ((0.50, 0.80, 0.60), 0.0005, "use_method", "ddp"),
        ((0.50, 0.60, 0.80), 0.0005, "use_method", "dp"),
        ((0.50, 1.50, 1.40), 0.0005, "use_single", "single"),
        ((0.50, 0.60, 0.603), 0.0005, "tie", "ddp"),
        ((0.50, 1.00, 1.004), 0.0005, "either", None),  # no parallel method pays
        ((0.50, 0.60, 0.602), 0.05, "measure_longer", None),
    ],
)
def test_what_to_use(times, scatter, choice, method):
    decision, _ = decided(*in_rounds(*lab(*times), scatter=scatter))
    assert decision.choice == choice
    assert method is None or recommended(decision).method == method


@pytest.mark.parametrize(
    ("records", "choice", "command"),
    [
        (lab(0.5, 0.8, 0.6), "more_rounds", "make lab MODEL=resnet18 BATCH=16 REPEATS=3"),
        (lab(0.5, 0.8, 0.6)[:1], "alone", "python 03_dataparallel_training.py "),
        (in_rounds(*lab(0.5, 0.8, 0.6)[1:]), "use_method", "python 02_baseline_single_gpu.py "),
        (in_rounds(*typical_lab()), "use_method", "make lab MODEL=my_model.py:build"),
        (
            in_rounds(*typical_lab(config={"model": "mine.py:build"})),
            "use_method",
            "make crossover MODEL=mine.py:build",
        ),
        ([make_record(environment={"cpu_cores": 1})], "one_device", "make ladder MODEL=resnet18 BATCH=16"),
    ],
)
def test_the_next_command_is_for_what_is_still_open(records, choice, command):
    decision, rows = decided(*records)
    assert decision.choice == choice
    assert next_step(decision, rows, []).command.startswith(command)


def test_next_removes_the_cause_of_a_warning_about_the_numbers():
    """Few steps: more epochs."""
    decision, rows = decided(*in_rounds(*typical_lab(epochs=2, steps=4)))
    step = next_step(decision, rows, [])
    assert said([step.why]) == ["A run measured only 8 steps: train 3 epochs. Measure again, 3 rounds:"]
    assert step.command == "make lab MODEL=resnet18 BATCH=16 EPOCHS=3 REPEATS=3"


def test_a_repetition_without_other_work_ends_the_warning():
    """The newest runs count: those before stay in the mean, and no more runs take their warning away."""
    steps = []
    for disturbed in (slice(9, 18), slice(9)):  # of six rounds of three runs
        records = in_rounds(*typical_lab(), rounds=6)
        for rank in (rank for record in records[disturbed] for rank in record.ranks):
            rank.core_wait_seconds = [0.3 * seconds for seconds in rank.host_epoch_seconds]
        decision, rows = decided(*records)
        assert decision.choice == "use_method"
        steps.append(next_step(decision, rows, []))
    newest, earlier = steps
    assert said([newest.why]) == [
        "Other work took time from these runs: end it, or use an idle machine. Measure again, 3 rounds:"]  # fmt: skip
    assert (newest.command, earlier.command) == (
        "make lab MODEL=resnet18 BATCH=16 REPEATS=3", "make lab MODEL=my_model.py:build")  # fmt: skip


@pytest.mark.parametrize(
    ("cores", "choice", "command"),
    [(1, "one_device", "make ladder "), (4, "alone", "python 03_dataparallel_training.py ")],
)
def test_what_took_turns_is_measured_on_devices_of_its_own_where_there_are_some(cores, choice, command):
    turns = [make_record(method, 8, 0.6, world={"oversubscribed": True}) for method in ("dp", "ddp")]
    records = [make_record("single", 1, 0.5), *turns]
    for record in records:
        record.environment.cpu_cores = cores
    group = groups_of(*in_rounds(*records))[0]
    decision = decide(group.representatives)
    assert (decision.choice, {row.method for row in group.rows}) == (choice, {"single", "dp", "ddp"})
    assert next_step(decision, group.rows, []).command.startswith(command)
    of_turns = groups_of(*turns)[0]  # without one device's run beside them
    assert (decide(of_turns.representatives).choice == "one_device") is (cores == 1)


def test_where_one_device_has_its_ladder_ones_own_model_is_next():
    decision, rows = decided(make_record(environment={"cpu_cores": 1}))
    assert next_step(decision, rows, ["ladder"]).command == "make ladder MODEL=my_model.py:build"


def test_a_method_that_failed_is_run_again_once_its_cause_is_gone():
    failure = Failure(kind="out_of_memory", rank=0, message="out of memory", advice="lower --batch-size.")
    failed = make_record("dp", 2, status="failed", failure=failure)
    rows = [row for group in groups_of(*in_rounds(*lab(0.5, 0.8, 0.6)[::2])) for row in group.representatives]
    decision = decide(rows, [failed])
    step = next_step(decision, rows, [])
    assert said([step.why]) == ["DP failed: out of memory. lower --batch-size. Run it again:"]
    assert step.command == failed.command
    assert next_step(decide([], [failed]), [], []).command == failed.command
    failure.advice = "--accumulation-steps 2 keeps the global batch; or lower --batch-size."
    assert next_step(decision, rows, []).command == f"{failed.command} --accumulation-steps 2"
    other = make_record("dp", 2, status="failed", failure=failure, config={"model": "vgg11"})
    command = next_step(decide(rows, [other]), rows, []).command
    assert command.startswith("python 03_dataparallel_training.py --model")


def test_a_method_that_failed_is_the_verdict_until_the_others_decide():
    failure = Failure(kind="exception", rank=0, message="a cache.\nof mine", advice="See the traceback.")
    failed = make_record("dp", 2, status="failed", failure=failure)
    for records, choice in ((lab(0.5, 0.8, 0.6)[::2], "failed"), (lab(0.5, 0.8, 0.6), "more_rounds")):
        [group] = groups_of(*records)
        assert decide(group.representatives, [failed]).choice == choice
    rows = groups_of(*in_rounds(*lab(0.5, 0.8, 0.6)[::2]))[0].representatives
    assert decide(rows, [failed]).choice == "use_method"
    assert said([verdict(decide([], [failed]))]) == ["DP failed: no comparison yet"]
    variant = failed.model_copy(update={"method": "dp_kept_threads"})
    assert decide(groups_of(*lab(0.5, 0.8, 0.6))[0].representatives, [variant]).failed is None


def test_a_run_that_was_interrupted_or_goes_on_has_not_failed():
    failure = Failure(kind="interrupted", rank=0, message="stopped", advice="Start it again.")
    stopped, failed = (make_record("dp", 2, status=status, failure=failure) for status in ("interrupted", "failed"))
    assert [run.status for run in folder_of(stopped, failed).failed] == ["failed"]


def test_without_a_speed_everything_is_still_to_be_measured():
    assert decide([]).choice == "nothing"
    assert next_step(decide([]), [], []).command == "make lab"


@pytest.mark.parametrize(
    ("times", "id"),
    [((0.50, 0.80, 0.60), "processes"), ((0.50, 0.60, 0.80), "replicas"), ((0.50, 1.50, 1.40), "single")],
)
def test_what_ones_own_script_becomes(times, id):
    decision, _ = decided(*in_rounds(*lab(*times), scatter=0.0005))
    message = your_script(decision)
    assert message.text == f"your_script.{id}"
    assert (message["batch"], message["whole"]) == (16, 16 if id == "single" else 32)


def test_nobodys_script_changes_by_runs_that_do_not_show_which_is_faster():
    decision, _ = decided(*lab(0.5, 0.8, 0.6))
    assert your_script(decision) is None


@pytest.mark.parametrize(
    ("config", "folder", "named"),
    [
        ({"image_size": 32}, "", "--image-size 32"),
        ({}, " --results-dir mine", "--results-dir mine"),
        ({}, " --results-dir=mine", "--results-dir mine"),
        ({}, " --results-dir=-mine", "--results-dir=-mine"),
    ],
)
def test_what_make_lab_would_not_measure_is_repeated_with_its_own_flags(config, folder, named):
    kinds = (("single", 1, 0.5), ("dp", 2, 0.8), ("ddp", 2, 0.6))
    records = [make_record(*kind, config=config) for kind in kinds]
    for record in records:
        record.command += folder
    decision, rows = decided(*records)
    command = next_step(decision, rows, []).command
    assert decision.choice == "more_rounds"
    assert command.startswith("for round in $(seq 3); do python 02_")
    assert all(word in command for word in ("; python 03_", "; torchrun ", named))
