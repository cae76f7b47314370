"""`make crossover`: batches in rounds, a row that ends with the memory, a time that is kept, and going on."""

from __future__ import annotations

from campaigns.conftest import LEAVES_RECORDS


def batches(lab, step):
    words = [launch["arguments"] for launch in lab.log if launch["step"] == step]
    return [int(line[line.index("--batch-size") + 1]) for line in words]


def test_every_method_at_every_batch_in_drawn_orders_and_the_page_after_the_first_round_and_at_the_end(recording_lab):
    done = recording_lab.run("crossover", "--batch", "32", "--repeats", "2")
    assert done.returncode == 0, done.stderr
    steps = recording_lab.steps
    assert (steps[0], steps[10], steps[20:]) == ("01", "05", ["05"])
    runs = [launch for launch in recording_lab.log if launch["place"]]
    of_batches = [runs[start : start + 3] for start in range(0, 18, 3)]
    assert all({run["step"] for run in of_batch} == {"02", "03", "04"} for of_batch in of_batches)
    assert len({tuple(run["step"] for run in of_batch) for of_batch in of_batches}) > 1
    places = [(number, place) for number in (1, 2) for place in range(1, 10)]
    assert [(run["place"]["round"], run["place"]["place"]) for run in runs] == places
    assert batches(recording_lab, "02") == batches(recording_lab, "04") == [8, 32, 16] * 2
    assert batches(recording_lab, "03") == [16, 64, 32] * 2


def test_out_of_memory_ends_a_row_and_not_the_campaign(recording_lab):
    recording_lab.plant(f"too_large, faster = {{'03': 32}}, None{LEAVES_RECORDS}")
    done = recording_lab.run("crossover", "--repeats", "1")
    assert done.returncode == 0, done.stderr
    assert "Out of memory: recorded, and the campaign goes on." in done.stdout
    assert batches(recording_lab, "03") == [16, 64, 32]  # 64 per device is not tried after 32
    assert batches(recording_lab, "02") == [8, 32, 16, 64]
    recording_lab.run("crossover", "--repeats", "1")
    assert recording_lab.steps.count("03") == 3  # what did not fit is not tried again


def test_any_other_failure_ends_it_and_the_next_one_goes_on_where_it_was(recording_lab):
    fails = "if (step, launch) == ('04', 2): sys.exit(7)"
    recording_lab.plant(f"too_large, faster = {{}}, None\n{fails}\n{LEAVES_RECORDS}")
    done = recording_lab.run("crossover", "--batch", "16", "--repeats", "1")
    assert done.returncode == 7
    assert done.stderr.endswith("To go on: make crossover BATCH=16 REPEATS=1\n")
    assert (recording_lab.steps[-1], recording_lab.steps.count("04")) == ("04", 2)
    recording_lab.plant(f"too_large, faster = {{}}, None{LEAVES_RECORDS}")
    before = len(recording_lab.log)
    assert recording_lab.run("crossover", "--batch", "16", "--repeats", "1").returncode == 0
    *rest, page = recording_lab.steps[before + 1 :]
    assert (rest.count("04"), page) == (1, "05")
    assert sorted(recording_lab.steps[1:before] + rest) == sorted([*["02", "03", "04"] * 2, "04"])


def test_the_time_is_said_and_kept_and_the_page_is_written_all_the_same(recording_lab):
    done = recording_lab.run("crossover", "--minutes", "0.001")
    assert done.returncode == 0, done.stderr
    assert "Nothing starts that would end later than 0 s from the start" in done.stdout
    assert done.stdout.count("To go on: make crossover") == 1
    assert recording_lab.steps[:2] == ["01", "05"]


def test_one_device_has_nothing_to_catch_up_with(recording_lab):
    done = recording_lab.run("crossover", "--devices", "1")
    assert (done.returncode, recording_lab.steps) == (2, ["01"])
    assert done.stderr.startswith("error: crossover compares several devices with one")
    assert done.stderr.count("\n") == 1
