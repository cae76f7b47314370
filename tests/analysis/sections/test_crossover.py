"""Methods over batches: from which batch on several devices pay, until when launches bind, what was predicted."""

from __future__ import annotations

import re

import pytest

from analysis.factories import in_rounds, make_record, typical_lab, write
from analysis.profile_factories import make_profile, make_rank, wobbling
from analysis.views import folder_of, said
from common.analysis.comparing.crossover_batch import batch_series
from common.analysis.comparing.groups import compare_runs
from common.analysis.sections.campaign_sections import crossover_section
from common.records import Failure

HOST_OF_ONE, HOST_OF_DP, PER_SAMPLE = 0.020, 0.080, 0.0005
"""Seconds. DP on two is as fast as one device where the device is busy for 40 ms: at a batch of 80."""


def taken_apart(method, host, busy):
    rank = make_rank(method)
    rank.step_seconds = wobbling(1000 * max(host, busy), 9)
    rank.host_seconds["step"], rank.busy_seconds["step"] = (wobbling(1000 * value, 9) for value in (host, busy))
    return make_profile(method, rank)


def gpu_runs(batch, kind="cuda"):
    """One device, DP and DDP on two at one batch, on a machine that is exactly as the model has it."""
    busy = PER_SAMPLE * batch
    hosts = {"single": HOST_OF_ONE, "dp": HOST_OF_DP, "ddp": HOST_OF_ONE}
    return [
        make_record(method, 1 if method == "single" else 2, max(host, busy), 0.01, per_device_batch=batch, kind=kind,
                    samples=20 * batch, anatomy=taken_apart(method, host, busy) if kind == "cuda" else None)
        for method, host in hosts.items()
    ]  # fmt: skip


def judged(*records):
    folder = folder_of(*records)
    (series,) = batch_series(compare_runs(folder).configurations, folder.runs)
    return series, crossover_section(1, series)


@pytest.fixture(scope="module")
def gpus():
    return in_rounds(*(record for batch in (8, 16, 32, 64, 128, 256) for record in gpu_runs(batch)))


def test_from_which_batch_on_and_until_when_launches_bind(gpus):
    lines = said(judged(*gpus)[1].brief)
    assert lines[0].startswith("DP × 2 is faster than one device from a batch of 128 per device on (1.6")
    assert lines[1].startswith("DDP × 2 is faster than one device at every batch that was measured, 8 to 256")
    assert lines[2].startswith("DP × 2 comes within 5 % of DDP × 2 from a batch of 256 per device on")
    one, dp = lines[3:5]
    assert "One device is bound by launches up to a batch of 32" in one
    assert "from 64 on (0 %)" in one
    assert "DP × 2 is bound by launches up to a batch of 128" in dp


def test_the_crossing_is_predicted_beside_the_measured_one(gpus):
    result, section = judged(*gpus)
    assert result.predicted.batch == pytest.approx(80, rel=0.01)
    (line,) = [line for line in said(section.brief) if line.startswith("Predicted")]
    assert "DP × 2's host needs 80.0 ms" in line
    measured = float(re.search(r"Measured, by the values alone: at ([\d.]+), between 64 and 128", line)[1])
    assert measured == pytest.approx(80, rel=0.02)
    assert re.search(r"off by [+−]\d %\.$", line)


def test_without_several_batches_taken_apart_nothing_is_predicted(gpus):
    bare = [record.model_copy(update={"anatomy": None}) for record in gpus]
    result, section = judged(*bare)
    assert result.predicted is None
    assert not [line for line in said(section.brief) if "launches" in line or "Predicted" in line]


def test_out_of_memory_ends_a_row_and_is_said(gpus):
    failure = Failure(kind="out_of_memory", rank=0, message="-", advice="-")
    (_, dp, _) = gpu_runs(512)
    lost = dp.model_copy(update={"status": "failed", "failure": failure, "ranks": [], "epochs": [], "anatomy": None})
    (single, _, ddp) = gpu_runs(512)
    _, section = judged(*gpus, single, ddp, lost)
    assert said(section.brief)[-1] == "DP × 2 is out of memory at a batch of 512 per device."
    assert section.contents[-1].contents[0].lines[-1].cells[2].value.text == "cell.out_of_memory"


def test_never_where_intervals_do_not_show_it():
    runs = [run for batch in (8, 16, 32) for run in (make_record(per_device_batch=batch),
            make_record("dp", 2, 0.95, per_device_batch=batch))]  # fmt: skip
    (line, cores) = said(judged(*in_rounds(*runs, scatter=0.05))[1].brief)
    assert line.startswith("DP × 2 is not shown to stay faster than one device at any batch that was measured, 8 to 32")
    assert cores.startswith("On CPU cores, host and device are one")


@pytest.mark.parametrize(
    ("rounds", "ends"), [(1, "Each point is one run of each: no verdict, which takes 3 runs."),
                         (2, "Some points have fewer than 3 runs: no verdict.")]
)  # fmt: skip
def test_points_of_too_few_runs_are_shown_without_any_certainty(rounds, ends):
    runs = [run for batch in (8, 16, 32) for run in (make_record(per_device_batch=batch),
            make_record("dp", 2, (4.0, 1.0, 0.5)[batch // 16], per_device_batch=batch))]  # fmt: skip
    line, _ = said(judged(*in_rounds(*runs, rounds=rounds))[1].brief)
    assert re.fullmatch(r"DP × 2, compared with one device, is 0.2\d* at 8, (0.99|1.0)\d* at 16, (1.99|2.0)\d* at 32 "
                        rf"times as fast \(by the batch per device\). {ends}", line)  # fmt: skip


def test_two_batches_or_one_method_are_no_series():
    pair = [record for batch in (8, 16) for record in gpu_runs(batch)]
    single = [make_record(per_device_batch=batch) for batch in (8, 16, 32)]
    for records in (pair, single, typical_lab()):
        folder = folder_of(*records)
        assert batch_series(compare_runs(folder).configurations, folder.runs) == []


def test_console_page_and_figures(tmp_path, compare):
    cores = [record for batch in (8, 16, 32) for record in gpu_runs(batch, kind="cpu")]
    folder = write(tmp_path / "results", *cores)
    done = compare(folder, "--generate-plots")
    assert done.returncode == 0, done.stderr
    assert "From which batch on: resnet18, 64 px, ieee-fp32, on Example CPU" in done.stdout
    page = (tmp_path / "report.html").read_text()
    assert "no crossing is predicted" in page
    assert 'id="changes"' not in page  # batches have their own table
    assert {"batches1_batches_throughput.svg", "batches1_batches_speed_up.png"} <= {
        path.name for path in (folder / "plots").iterdir()
    }
