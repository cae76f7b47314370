"""Every number of step 05 on the example records is what it was, unless it was moved on purpose.

`tests/data/pinned_numbers.json` is written anew by `python tests/data/pin_numbers.py`. Throughputs are computed here a
second time, from the files and by a formula of their own. Ratios between rows of
fewer than three runs have no interval, for that would know nothing of the difference between launches.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from statistics import fmean, stdev

import pandas as pd
import pytest

from analysis.views import WORDS, label
from common.analysis.comparing.csv_files import write_tables
from common.analysis.comparing.utilisation import mfu_of
from common.analysis.judging.row_checks import pooled_checks
from common.analysis.judging.verdicts import group_verdicts
from common.analysis.reading.folder import read_folder
from common.analysis.sections.comparison import group_title
from common.analysis.sections.report import build_report

ROOT = Path(__file__).parents[2]
PINNED = json.loads((ROOT / "tests" / "data" / "pinned_numbers.json").read_text())
CSV_NAMES = {
    "throughput": "throughput_samples_per_second", "epoch_time": "epoch_time_seconds", "speed_up": "speed_up",
    "efficiency": "scaling_efficiency", "mfu": "mfu", "step": "step_seconds", "exposed": "exposed_seconds",
    "overlap_gain": "overlap_gain_seconds", "whole_exchange": "whole_exchange_seconds",
}  # fmt: skip


def close(value):
    return pytest.approx(value, rel=1e-9, abs=0)


@pytest.fixture(scope="module")
def reports():
    return {name: build_report(read_folder(ROOT / "results" / "examples" / name)) for name in PINNED}


@pytest.fixture(params=PINNED)
def example(request, reports, tmp_path):
    """(pinned rows, report, the CSV's rows by group and label)."""
    report = reports[request.param]
    write_tables(tmp_path, report.csv_tables)
    lines = iter(pd.read_csv(tmp_path / "comparison.csv").to_dict("records"))
    by_name = {(WORDS.text(group_title(part.group)), label(row)): (row, next(lines)) for part in report.groups
               for row in part.group.rows}  # fmt: skip
    return PINNED[request.param], report, by_name


def test_no_row_is_missing_or_new(example):
    pinned, _, by_name = example
    assert {(row["group"], row["label"]) for row in pinned} == set(by_name)


def test_the_csv_has_every_estimate(example):
    pinned, _, by_name = example
    for before in pinned:
        _, line = by_name[before["group"], before["label"]]
        assert (line["devices"], line["files"].split()) == (before["devices"], before["runs"])
        for name, column in CSV_NAMES.items():
            same_estimate(line, column, before[name])
        for phase, ends in (before["phases"] or {}).items():
            same_estimate(line, f"{phase.replace(' ', '_')}_seconds", ends)
        assert line["data_wait_share"] == close(before["data_wait_share"])
        if before["joules_per_thousand_samples"] is None:
            assert math.isnan(line["energy_joules_per_thousand_samples"])
        else:
            assert line["energy_joules_per_thousand_samples"] == close(before["joules_per_thousand_samples"])


def seconds_per_sample(path: Path) -> float:
    """Of one file: Σ seconds / Σ samples of all steps but each epoch's first. The slowest rank of an epoch counts."""
    record = json.loads(path.read_text())
    seconds, samples, first = 0.0, 0, 0
    for epoch in record["epochs"]:
        of_epoch = [rank["step_seconds"][first : first + epoch["steps"]] for rank in record["ranks"]]
        seconds += max(map(sum, of_epoch)) - max(steps[0] for steps in of_epoch)
        samples += epoch["samples"] - record["config"]["global_batch_size"]
        first += epoch["steps"]
    return seconds / samples


@pytest.mark.parametrize("name", PINNED)
def test_throughputs_follow_from_the_files_by_another_formula(name):
    folder = ROOT / "results" / "examples" / name
    for row in PINNED[name]:
        runs = [seconds_per_sample(folder / file) for file in row["runs"]]
        assert row["throughput"][0] == pytest.approx(len(runs) / sum(runs), rel=1e-9)


def in_rounds(name: str) -> dict[str, list[float]]:
    """Seconds per sample of each method's three runs, in the order in which they were started."""
    folder = ROOT / "results" / "examples" / name
    files = {method: sorted(folder.glob(f"0?_{method}_*.json"), key=lambda path: path.name.rpartition("_")[2])
             for method in ("single", "dp", "ddp")}  # fmt: skip
    return {method: list(map(seconds_per_sample, of_method)) for method, of_method in files.items()}


@pytest.mark.parametrize(
    ("name", "method", "ratio", "ends"),
    [("h200x4", "dp", 1.037, (1.002, 1.073)), ("h200x4", "ddp", 3.893, (3.864, 3.922)),
     ("h200x2-batch256", "dp", 1.940, None)],
)  # fmt: skip
def test_short_epochs_make_no_loser(reports, name, method, ratio, ends):
    """Each epoch of four H200s under DP began with a step of 0.35 to 0.52 s in which the loader started anew."""
    (row,) = [row for row in reports[name].groups[0].group.rows if row.method == method]
    assert row.speed_up.value == pytest.approx(ratio, abs=5e-4)
    if ends:
        assert row.speed_up.interval == pytest.approx(ends, abs=5e-4)
    logarithms = [math.log(one / of_method) for one, of_method in
                  zip(in_rounds(name)["single"], in_rounds(name)[method], strict=True)]  # fmt: skip
    mean, t = fmean(logarithms), 4.302653  # Student's, two degrees of freedom, 95 %
    half = t * stdev(logarithms) / math.sqrt(3)
    again = [math.exp(mean + side * half) for side in (0, -1, 1)]
    # Step 05 divides means, which differs from the mean of logarithms in the fourth digit.
    assert [row.speed_up.value, *row.speed_up.interval] == pytest.approx(again, rel=3e-4)


def test_what_waits_at_an_epochs_start_is_no_reason_for_more_workers(reports):
    report = reports["h200x4"]
    marked = {check.id for row in report.groups[0].group.rows for check in pooled_checks(row) if check.has_failed}
    assert not marked & {"data_wait", "warm_up"}
    assert not [line for line in report.groups[0].advice if "data" in line.what.text or "warm" in line.what.text]


def same_estimate(line, column, before):
    value, low, high = before or (None, None, None)
    for name, expected in ((column, value), (f"{column}_low", low), (f"{column}_high", high)):
        if expected is None:
            assert math.isnan(line[name]), name
        else:
            assert line[name] == close(expected), name


def test_memory_of_every_device(example):
    pinned, _, by_name = example
    for before in pinned:
        row, line = by_name[before["group"], before["label"]]
        assert [peak.peak_bytes for peak in row.memory] == before["peak_bytes"]
        assert [peak.static_bytes for peak in row.memory] == before["static_bytes"]
        assert line["peak_memory_first_bytes"] == before["peak_bytes"][0]


def test_baselines_and_mfu_are_the_findings(example):
    pinned, _, by_name = example
    for before in pinned:
        row, _ = by_name[before["group"], before["label"]]
        assert (row.baseline and label(row.baseline)) == before["baseline"]
        if before["mfu"]:
            share = mfu_of(row)
            assert [share.value, *share.interval] == close(before["mfu"])


def test_verdicts(example):
    """A verdict names the faster one first, so that its ratio may be the pinned one's reciprocal."""
    pinned, report, _ = example
    for before in pinned:
        if "verdicts_of_group" in before:
            (part,) = [part for part in report.groups if WORDS.text(group_title(part.group)) == before["group"]]
            verdicts, pinned = group_verdicts(part.group), before["verdicts_of_group"]
            for verdict, (one, other, *numbers) in zip(verdicts, pinned, strict=True):
                ratio, names = verdict["ratio"], [WORDS.text(verdict["one"]), WORDS.text(verdict["other"])]
                ratio = ratio if names == [one, other] else ratio.inverse()
                assert sorted(names) == sorted([one, other])
                assert [ratio.value, *(ratio.interval or ())] == close([one for one in numbers if one is not None])
