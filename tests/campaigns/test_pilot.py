"""How long epochs of `make lab` are on GPUs, after a short run has told how fast they are."""

import re

import pytest

from campaigns.conftest import LEAVES_RECORDS
from common.campaigns.campaign import CAMPAIGNS
from common.campaigns.launches import Overrides
from common.campaigns.rounds import epoch_samples

# An example's run of 02 has 36 steps of 16 samples; here each takes `seconds` of the record, and the launch no time.
MEASURED = """
too_large, faster = {{}}, None
if step == "02" and "--results-dir" in sys.argv:
    time.sleep(0.2)
    record = json.loads(Path("example.json").read_text())
    for rank in record["ranks"]:
        rank["step_seconds"] = [{seconds}] * len(rank["step_seconds"])
    Path("example.json").write_text(json.dumps(record))
"""
LAB = CAMPAIGNS["lab"]


def samples_of(rate: float, besides: float, gpus: int, minutes: float = 5) -> int:
    return epoch_samples(rate, besides, LAB.sizes["cuda"].chosen(Overrides(), gpus), gpus, 60 * minutes)


@pytest.mark.parametrize("gpus", [1, 2, 4, 8])
@pytest.mark.parametrize(("rate", "besides"), [(1950, 7.5), (1690, 12)])
def test_on_quick_gpus_half_of_a_round_is_measured_and_three_rounds_fit(rate, besides, gpus):
    measured_by_02 = 2 * samples_of(rate, besides, gpus) / rate
    measured, launches = measured_by_02 * (2 + 1 / gpus), 3.6 * besides
    assert besides > 10 or measured >= launches
    assert 3 * (measured + launches) <= 0.75 * 300


@pytest.mark.parametrize("gpus", [1, 3])
def test_an_epoch_has_whole_steps_for_all_devices_and_what_it_always_had_where_time_allows(gpus):
    samples = samples_of(700, 5, gpus)
    assert samples % (64 * gpus) == 0
    assert samples >= max(5120, 40 * 64 * gpus)


def test_a_slow_gpu_gets_shorter_epochs_so_that_there_are_three_rounds():
    assert samples_of(150, 15, 1) == 20 * 64  # as long as always, one launch would train for 68 s
    assert samples_of(150, 15, 1, minutes=30) >= 5120


def test_two_pilots_that_differ_a_little_choose_the_same():
    assert len({samples_of(rate, besides, 4) for rate in (1900, 1950, 2000) for besides in (7.4, 7.6)}) == 1


def test_a_pilot_comes_first_and_all_rounds_have_its_epochs(recording_lab):
    recording_lab.environment(gpus=[{"index": 0, "name": "GPU"}, {"index": 1, "name": "GPU"}])
    recording_lab.plant(MEASURED.format(seconds=0.0001) + LEAVES_RECORDS)
    done = recording_lab.run("lab", "--repeats", "2")
    assert done.returncode == 0, done.stderr
    check, pilot, *launches = recording_lab.log
    assert (check["step"], pilot["step"], pilot["place"]) == ("01", "02", None)
    arguments = " ".join(pilot["arguments"])
    assert arguments.startswith(
        "--model resnet50 --batch-size 64 --epochs 1 --samples-per-epoch 1280 --anatomy-steps 0 "
    )
    assert "--quiet --results-dir /" in arguments
    (said,) = re.findall(r"^([\d,]+) samples/s, and \d+ s for a launch besides: SAMPLES=(\d+)$", done.stdout, re.M)
    assert said[0] == "160,000"
    sizes = {
        launch["arguments"][launch["arguments"].index("--samples-per-epoch") + 1]
        for launch in launches
        if launch["place"]
    }
    assert sizes == {said[1]}
    results = (recording_lab.folder / "results").glob("0[234]_*")
    assert len(list(results)) == 2 * 4  # the pilot's is not among them


@pytest.mark.parametrize("given", [["--samples", "640"], ["--epochs", "3"]])
def test_no_pilot_where_the_sizes_are_chosen(recording_lab, given):
    recording_lab.environment(gpus=[{"index": 0, "name": "GPU"}])
    recording_lab.run("lab", "--repeats", "1", *given)
    assert len(recording_lab.steps) == 5
    assert all(launch["place"] for launch in recording_lab.log[1:4])


def test_a_rest_has_the_epochs_of_the_rounds_before(recording_lab):
    recording_lab.environment(gpus=[{"index": 0, "name": "GPU"}])
    recording_lab.plant(f"if (step, launch) == ('03', 2): sys.exit(9)\n{MEASURED.format(seconds=0.1)}{LEAVES_RECORDS}")
    done = recording_lab.run("lab")
    (samples,) = re.findall(r"besides: SAMPLES=(\d+)$", done.stdout, re.M)
    assert done.stderr.endswith(f"To go on: make lab SAMPLES={samples} REPEATS=2\n")


def test_a_pilot_that_fails_ends_the_campaign_with_its_code(recording_lab):
    recording_lab.environment(gpus=[{"index": 0, "name": "GPU"}])
    recording_lab.plant("if step == '02': print('out of memory', file=sys.stderr); sys.exit(4)")
    done = recording_lab.run("lab")
    assert (done.returncode, recording_lab.steps) == (4, ["01", "02"])
    assert done.stderr.startswith("out of memory\n")
