"""Predictions by hand-made numbers, and at the front door of step 05."""

from pathlib import Path

import pandas as pd
import pytest

from analysis.factories import make_record, write
from analysis.profile_factories import make_probed, make_probes, make_profile
from analysis.views import groups_of
from common.analysis.comparing.groups import compare_runs
from common.analysis.predicting.forecast import Forecast, forecast
from common.analysis.predicting.inputs import Link, Question, fill_buckets
from common.analysis.predicting.parallel_steps import Network, ring_seconds, table_seconds
from common.analysis.reading.folder import read_folder
from common.analysis.sections.prediction import prediction_advice, prediction_notes
from common.analysis.sections.report import build_report
from common.records import Gradients, Together

ROOT = Path(__file__).parents[3]
MB = 10**6
STATIC = {"parameters": 10 * MB, "parameter_bytes": 40 * MB, "buffer_bytes": 0, "gradient_bytes": 40 * MB,
          "optimizer_state_bytes": 40 * MB}  # fmt: skip
TWO = Question((2,))
IDLE = Together(workers=2, alone_seconds=1.0, together_seconds=1.0)


def single(kind="cuda", **profile):
    """One device: a step of 322 ms, of which the backward pass takes 200; its gradients are 30 MB, then 10 MB."""
    gradients = Gradients(bytes=[30 * MB, 10 * MB], ready_seconds=[0.05, 0.1], backward_seconds=0.1)
    record_profile = make_profile("single", gradients=gradients, **profile)
    return make_record("single", 1, 0.322, noise=0, kind=kind, anatomy=record_profile, static_memory=STATIC)


def ddp_step_over(link: Link, devices=2, together=IDLE):
    probes = make_probes("Example GPU", together=together, memory=[])
    (group,) = groups_of(single(), probes=[probes])
    (predicted,) = forecast(group, Question((devices,), link)).forecasts
    return predicted.step.seconds - 2 * 2.5e-6  # two small kernels copy the gradients into their buckets


def test_a_ring_sends_what_nccl_tests_says():
    """doc/PERFORMANCE.md: S / B · 2 (n − 1) / n, and a latency for each of 2 (n − 1) messages."""
    assert ring_seconds(Link(1e9), 100 * MB, 4) == pytest.approx(0.15)
    assert ring_seconds(Link(1e9, 1e-3), 100 * MB, 4) == pytest.approx(0.15 + 6e-3)
    assert ring_seconds(Link(1e9, 1e-3), 100 * MB, 1) == 0


def test_a_measured_table_holds_for_its_ranks_and_is_carried_on_beyond():
    """1 MB takes 1 ms and 100 MB 100 ms on two ranks: the first is latency, and grows with the messages in turn."""
    table = make_probes().all_reduce
    assert table_seconds(table, 10 * MB, 2) == pytest.approx(0.010)
    assert table_seconds(table, 1000 * MB, 2) == pytest.approx(1.0)
    assert table_seconds(table, 100 * MB, 4) == pytest.approx(0.001 * 3 + 0.099 * 1.5)
    assert (Network(table).is_measured(2), Network(table).is_measured(4)) == (True, False)


def test_nodes_add_a_ring_of_their_own():
    nodes = Network(Link(10e9), Link(1e9), per_node=8)
    assert nodes.seconds(80 * MB, 8) == pytest.approx(0.008 * 1.75)
    assert nodes.seconds(80 * MB, 1024) == pytest.approx(0.008 * 1.75 + 0.08 * 2 * 127 / 128)


def test_buckets_are_torchs():
    """resnet50's, in MiB, as torch logs them: a bucket is closed when it has 1 MiB, the others when they have 25."""
    sizes = [4000, 8192000, 30 * 2**20, 24 * 2**20, 2**20, 9 * 2**20]
    ready = [0.05, 0.1, 0.15, 0.25, 0.3, 0.5]
    assert fill_buckets(zip(sizes, ready, strict=True)) == [
        (8196000, 0.1), (30 * 2**20, 0.15), (25 * 2**20, 0.3), (9 * 2**20, 0.5)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("bytes_per_second", "expected"),
    [
        # 30 MB are ready 100 ms into the backward pass of 200 ms, 10 MB at its end: the first is hidden, the other not.
        (1e9, 0.322 + 0.010),
        # 30 MB take 150 ms: the second message waits for the first, not for the backward pass.
        (0.2e9, 0.322 - 0.1 + 0.150 + 0.050),
    ],
)
def test_buckets_overlap_with_the_backward_pass_and_queue_for_the_link(bytes_per_second, expected):
    assert ddp_step_over(Link(bytes_per_second)) == pytest.approx(expected, rel=1e-3)


def test_devices_that_slow_each_other_down_do_so_in_the_prediction():
    slow = Together(workers=2, alone_seconds=1.0, together_seconds=1.1)
    assert ddp_step_over(Link(1e12)) == pytest.approx(0.322, rel=1e-3)
    assert ddp_step_over(Link(1e12), together=slow) == pytest.approx(1.1 * 0.322, rel=1e-3)
    assert ddp_step_over(Link(1e12), 8, slow) == pytest.approx(1.1 * 0.322, rel=1e-3)  # as far as it was measured


def test_cores_that_train_carry_the_exchange_too():
    """40 MB over a table of 1 GB/s: its 40 ms are added to the backward pass, whatever overlaps."""
    probes = make_probes(together=IDLE, memory=[])
    (group,) = groups_of(single("cpu"), probes=[probes])
    (predicted,) = forecast(group, Question((2,))).forecasts
    # The second message begins when both the pass and the work of the exchange are done.
    assert predicted.step.seconds == pytest.approx(0.322 + 0.040 + 0.010, rel=1e-3)


def dp_step(first_convolution: float, host: dict[str, float], replica: float) -> float:
    return dp_forecast(first_convolution, host, replica).step.seconds


def dp_forecast(
    first_convolution: float, host: dict[str, float], replica: float, gathered=0, question=TWO, **changes
) -> Forecast:
    """DataParallel's on two GPUs that are joined by 80 GB/s."""
    launches = {"workers": 2, "alone_seconds": 1e-5, "threads_seconds": 2e-5, "processes_seconds": 1e-5,
                "convolution_seconds": 0.001, "first_convolution_seconds": first_convolution}  # fmt: skip
    copies = [{"source": gpu, "destination": 1 - gpu, "bytes": MB, "seconds": MB / 80e9} for gpu in (0, 1)]
    probes = make_probes("Example GPU", together=IDLE, launches=launches, copies=copies, all_reduce=None,
                         not_applicable={})  # fmt: skip
    record = single(replicate_seconds=[replica] * 3, different_convolutions=20, gathered_bytes=gathered)
    record = record.model_copy(update=changes)
    record.anatomy.ranks[0].host_seconds = {name: [seconds] * 9 for name, seconds in host.items()}
    (group,) = groups_of(record, probes=[probes])
    (predicted,) = [one for one in forecast(group, question).forecasts if one.method == "dp"]
    return predicted


def test_device_0_holds_the_samples_of_all_devices_under_dataparallel():
    """16 a device, of as many bytes as the record says; in older records images."""
    host = {"step": 0.1, "forward": 0.03, "backward": 0.05}
    held = {each: dp_forecast(0.001, host, 0.005, bytes_per_sample=each).memory_bytes for each in (0, 1000, None)}
    assert held[1000] - held[0] == 16 * 1000
    assert held[None] - held[0] == 16 * 3 * 64**2


def test_outputs_are_gathered_on_device_0_under_dataparallel():
    """80 MB of outputs and their gradients take 1 ms more over 80 GB/s, and as much of device 0's memory."""
    host = {"step": 0.1, "forward": 0.03, "backward": 0.05}
    without, gathered = (dp_forecast(0.001, host, 0.005, size) for size in (0, 80 * MB))
    assert gathered.step.seconds - without.step.seconds == pytest.approx(0.001)
    assert gathered.memory_bytes - without.memory_bytes == 80 * MB


def test_dataparallel_over_a_link_that_is_not_here():
    """80 MB of model and gradients to each other device over 8 GB/s: 10 ms each. Not over links between nodes."""
    host = {"step": 0.1, "forward": 0.03, "backward": 0.05}
    link = Link(8e9, name="8GB/s")
    for devices in (2, 8):
        predicted = dp_forecast(0.001, host, 0.005, question=Question((devices,), link))
        longest = max(0.322, 0.1 + (devices - 1) * (0.03 + 0.05) + devices * 0.005)
        assert predicted.step.seconds == pytest.approx(longest + (devices - 1) * 0.01)
        assert (predicted.is_measured_link, predicted.measured) == (False, None)
        assert predicted.rests_on["link"] == "8GB/s"
    for question in (Question((16,), link), Question((2,), link, Link(1e9)), Question((2,), None, Link(1e9))):
        with pytest.raises(ValueError, match="not enough values"):
            dp_forecast(0.001, host, 0.005, question=question)


def test_dataparallel_plans_its_convolutions_in_new_threads():
    found = dp_step(0.011, {"step": 0.1, "forward": 0.03, "backward": 0.05}, replica=0.005)
    # The host: its 100 ms, 20 plans of 10 ms, another backward pass, two replicas; longer than the device's 322 ms.
    assert found == pytest.approx(0.100 + 0.200 + 0.050 + 0.010 + 0.001, rel=1e-3)


def test_devices_that_work_longer_than_the_host_set_dataparallels_pace():
    found = dp_step(0.001, {"step": 0.1, "forward": 0.03, "backward": 0.05}, replica=0.005)
    assert found == pytest.approx(0.322 + 0.001, rel=1e-3)


def test_a_host_that_is_late_under_dataparallel_sets_the_pace():
    found = dp_step(0.001, {"step": 0.3, "forward": 0.12, "backward": 0.1}, replica=0.02)
    # Two forward passes launched in turn, two backward passes, two replicas. 80 MB moved.
    assert found == pytest.approx(0.300 + 0.120 + 0.100 + 0.040 + 0.001, rel=1e-3)


def test_a_host_that_is_late_under_ddp_sets_the_pace():
    """One device's 322 ms are the host's; DDP adds four launches of 10 ms for each of two gradients. Two processes
    that launch at once take half as long again in step 01: so may they here."""
    launches = {"workers": 2, "alone_seconds": 0.01, "threads_seconds": 1, "processes_seconds": 0.015,
                "convolution_seconds": 1, "first_convolution_seconds": 1}  # fmt: skip
    record = single()
    record.anatomy.ranks[0].host_seconds = {"step": [0.4] * 9}
    (group,) = groups_of(record, probes=[make_probes("Example GPU", together=IDLE, launches=launches, memory=[])])
    (predicted,) = forecast(group, Question((2,), Link(1e12))).forecasts
    assert predicted.step.seconds == pytest.approx(0.322 + 0.080, rel=1e-3)
    assert predicted.step.low < 0.322 + 0.041
    assert predicted.step.high == pytest.approx(1.5 * 0.402 + 0.040, abs=0.01)


def test_nothing_rests_on_launches_that_cannot_be(compare, tmp_path):
    """One launch alone was slowed, so that each of two at once looks faster: it says what the host needs at most."""
    launches = {"workers": 2, "alone_seconds": 0.03, "threads_seconds": 0.02, "processes_seconds": 0.02,
                "convolution_seconds": 0.001, "first_convolution_seconds": 0.011}  # fmt: skip
    copies = [{"source": gpu, "destination": 1 - gpu, "bytes": MB, "seconds": MB / 80e9} for gpu in (0, 1)]
    record = single(replicate_seconds=[0.005] * 3, different_convolutions=20)
    record.anatomy.ranks[0].host_seconds = {"step": [0.3] * 9, "forward": [0.1] * 9, "backward": [0.1] * 9}
    probes = make_probes("Example GPU", together=IDLE, launches=launches, copies=copies, memory=[], not_applicable={})
    (group,) = groups_of(record, probes=[probes])
    (found,) = forecast(group, Question((2,))).forecasts
    assert found.method == "ddp"
    assert found.step.seconds < 0.4
    assert found.step.high >= 0.3 + 2 * 4 * 0.03
    write(tmp_path, record, make_probed(probes=probes))
    assert "Step 01's launches are implausible here: DataParallel is not predicted" in " ".join(
        compare(tmp_path, "--predict", "2").stdout.split()
    )


@pytest.mark.parametrize(
    ("name", "limit"), [("h100x2", 0.03), ("h100x2-lab", 0.05), ("h100x2-ledger", 0.03), ("cpu", 0.05)]
)
def test_the_recorded_examples_are_predicted_within_a_few_percent(name, limit):
    folder = read_folder(ROOT / "results" / "examples" / name)
    predicted = [forecast(group, Question()) for group in compare_runs(folder).groups]
    (ddp,) = [one for of_group in predicted if of_group for one in of_group.forecasts if one.measured]
    assert (ddp.method, ddp.devices, ddp.is_covered) == ("ddp", 2, True)
    assert abs(ddp.error) < limit
    peaks = [peak.peak_bytes for peak in ddp.measured.memory]
    assert ddp.memory_bytes == pytest.approx(max(peaks), rel=0.03)


def test_step_05_predicts_scores_and_writes_them_down(compare, tmp_path):
    folder = write(tmp_path / "r", single("cpu"), make_record("ddp", 2, 0.372, noise=0), make_probed())
    process = compare(folder, "--predict", "1,2,8")
    assert process.returncode == 0, process.stderr
    assert "DDP × 8" in process.stdout
    assert "a link of at least" not in process.stdout  # the cores of a machine are joined already
    assert compare(folder, "--link", "25GB/s,10us").returncode == 0
    assert "Give DDP × 2 a link of at least" in (tmp_path / "report.html").read_text().replace("\u00a0", " ")
    assert compare(folder, "--predict", "1,2,8").returncode == 0
    page = (tmp_path / "report.html").read_text()
    assert "What N devices would do" in page
    assert "extrapolated" in page
    table = pd.read_csv(folder / "predictions.csv").set_index("devices")
    assert list(table.index) == [1, 2, 8]
    assert table.loc[2, "error"] == pytest.approx(table.loc[2, "predicted_step_seconds"] / 0.372 - 1)
    assert abs(table.loc[2, "error"]) < 0.05
    assert table.loc[2, "naive_error"] == pytest.approx(0.322 / 0.372 - 1)
    assert "as on one device: " in page
    assert table["measured_step_seconds"].isna().tolist() == [True, False, True]
    assert table["is_measured_link"].tolist() == [True, True, False]


def advice_on(*records, probes):
    (group,) = groups_of(*records, probes=[probes])
    return [line.what.text for line in prediction_advice(group, Question(), forecast(group, Question()))]


def test_no_advice_from_a_prediction_that_the_measured_row_contradicts():
    sentence, contradicted = (
        advice_on(single("cpu"), make_record("ddp", 2, seconds), probes=make_probes()) for seconds in (0.372, 0.45)
    )
    assert sentence
    assert contradicted == []


def test_what_is_expected_of_more_devices_is_a_range_as_wide_as_the_predictions():
    """h100x2-lab: runs of one GPU differ by much, and so may eight. No efficiency above 100 % is expected."""
    (part, *_) = build_report(read_folder(ROOT / "results" / "examples" / "h100x2-lab")).groups
    (expected,) = [line.what for line in part.advice if line.what.text == "advice.reach"]
    farthest = max((one for one in part.prediction.forecasts if one.method == "ddp"), key=lambda one: one.devices)
    assert (farthest.devices, expected["high"]) == (8, 1.0)
    assert expected["low"] == pytest.approx(farthest.speed_up_range[0] / 8)
    assert 0.7 < expected["low"] < 0.8


def test_no_advice_where_the_host_is_late():
    """There the formula has missed most by far."""
    (part, *_) = build_report(read_folder(ROOT / "results" / "examples" / "h100x2-launch-bound")).groups
    assert any(one.step.is_late_host for one in part.prediction.forecasts)
    assert list(prediction_advice(part.group, Question(), part.prediction)) == []
    assert "forecast.late_host" in [note.text for note in prediction_notes(part.prediction)]


def test_the_error_is_that_of_the_throughput_in_the_table():
    """Four GPUs: one device's mean step, and the measured mean, not medians."""
    (part, *_) = build_report(read_folder(ROOT / "results" / "examples" / "h200x4")).groups
    for one in part.prediction.forecasts:
        if one.measured:
            assert one.error == pytest.approx(one.measured.throughput.value / one.throughput - 1)
            assert one.measured.efficiency.value == pytest.approx(one.basis.step / one.measured_step)


def test_several_nodes_are_compared_with_the_same_nodes(compare, tmp_path):
    two = make_record("ddp", 2, 0.4, noise=0, world={"nodes": 2})
    folder = write(tmp_path / "r", single("cpu"), make_record("ddp", 2, 0.372, noise=0), two, make_probed())
    process = compare(folder, "--predict", "2", "--inter-node", "1GB/s", "--per-node", "1")
    assert process.returncode == 0, process.stderr
    assert "DDP × 2 on 2 nodes" in process.stdout
    (line,) = pd.read_csv(folder / "predictions.csv").to_dict("records")
    assert (line["nodes"], line["measured_step_seconds"]) == (2, pytest.approx(0.4))


def test_without_anything_to_predict_from_nothing_is_shown_and_an_old_table_goes(compare, tmp_path):
    folder = write(tmp_path / "r", make_record(), make_probed())
    (folder / "predictions.csv").write_text("group,method,devices,nodes\n1,ddp,2,1\n")  # of other records
    assert compare(folder).returncode == 0
    assert "What N devices would do" not in (tmp_path / "report.html").read_text()
    assert not (folder / "predictions.csv").exists()


@pytest.mark.parametrize(
    ("spoilt", "reason"),
    [
        ({"ready_seconds": [0.1]}, "1 times of completion for 2 gradients"),
        ({"backward_seconds": 0.0}, "anatomy.gradients.backward_seconds: Input should be greater than 0"),
    ],
)
def test_a_record_with_wrong_lists_of_gradients_is_named_and_left_out(compare, tmp_path, spoilt, reason):
    """No run writes one: the file was edited."""
    record = single("cpu")
    record.anatomy.gradients = record.anatomy.gradients.model_copy(update=spoilt)
    folder = write(tmp_path / "r", record, make_record("ddp", 2, 0.372), make_probed())
    process = compare(folder)
    assert process.returncode == 0, process.stderr
    assert reason in " ".join((process.stdout + process.stderr).split())


def test_nothing_is_predicted_from_steps_that_take_no_time():
    record = single("cpu")
    record.anatomy.ranks[0].step_seconds = [0.0] * 8 + [0.3]
    (group,) = groups_of(record, probes=[make_probes()])
    assert forecast(group, Question()) is None


def test_gradients_of_an_older_record_are_complete_evenly():
    """40 MB in 39 pieces: torch's first bucket is the first MiB, the next one has 25."""
    record = single("cpu")
    record.anatomy.gradients = None
    (group,) = groups_of(record, probes=[make_probes()])
    (first, *_, last) = forecast(group, Question((2,))).basis.buckets
    assert first == (2**20, pytest.approx(2**20 / (40 * MB)))
    assert (sum(size for size, _ in (first, last)), last[1]) == (40 * MB - 25 * 2**20, 1.0)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--predict", "2,many"], "--predict 2,many"),
        (["--predict", "4096"], "1,024"),
        (["--link", "fast"], "25GB/s,10us"),
        (["--link", "0GB/s,1us"], "25GB/s,10us"),
        (["--inter-node", "1 GB/s,5 parsecs"], "--inter-node"),
        (["--per-node", "8"], "--inter-node"),
        (["--predict", "2"], "nothing to predict from"),
    ],
)
def test_bad_questions_are_one_line(compare, tmp_path, arguments, said):
    process = compare(write(tmp_path / "r", make_record()), *arguments)
    assert process.returncode == 2
    assert process.stderr.startswith("error: ")
    assert process.stderr.count("\n") == 1
    assert said in process.stderr


def test_links_are_read_with_their_units(compare, tmp_path):
    folder = write(tmp_path / "r", single("cpu"), make_probed())
    seconds = []
    for link in ("1GB/s", "8Gbit/s,0us", "1000 MB/s, 0s"):
        process = compare(folder, "--predict", "64", "--link", link, "--inter-node", "10gbe", "--per-node", "8")
        assert process.returncode == 0, process.stderr
        seconds.append(pd.read_csv(folder / "predictions.csv")["predicted_step_seconds"].item())
    assert seconds[0] == seconds[1] == seconds[2]
