"""Every number of step 05 on the example records is what it was before the rooms were rebuilt.

`tests/data/pinned_numbers.json` was computed by the code of before. What has changed since on purpose: the order of the
groups, the terms on which loader workers are compared, the load that a run met; and ratios between rows of fewer than
three runs have lost their intervals, which knew nothing of the difference between launches. Their values stay.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import pandas as pd
import pytest

from analysis.views import WORDS, label
from common.analysis.comparing.comparison_csv import write_tables
from common.analysis.comparing.utilisation import mfu_of
from common.analysis.judging.judgement import judge
from common.analysis.reading.folder import read_folder

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
def judgements():
    return {name: judge(read_folder(ROOT / "results" / "examples" / name)) for name in PINNED}


@pytest.fixture(params=PINNED)
def example(request, judgements, tmp_path):
    """(pinned rows, judgement, the CSV's rows by group and label)."""
    judgement = judgements[request.param]
    write_tables(tmp_path, judgement.csv_tables)
    lines = iter(pd.read_csv(tmp_path / "comparison.csv").to_dict("records"))
    by_name = {(WORDS.text(part.title), label(row)): (row, next(lines)) for part in judgement.groups
               for row in part.group.rows}  # fmt: skip
    return PINNED[request.param], judgement, by_name


def test_no_row_is_missing_or_new(example):
    pinned, _, by_name = example
    assert {(row["group"], row["label"]) for row in pinned} == set(by_name)


def test_the_csv_has_every_estimate(example):
    pinned, _, by_name = example
    for before in pinned:
        row, line = by_name[before["group"], before["label"]]
        assert (line["method"], line["devices"], line["files"].split()) == (
            row.method,
            before["devices"],
            before["runs"],
        )
        for name, column in CSV_NAMES.items():
            of_few_runs = name in ("speed_up", "efficiency") and is_of_few_runs(row, row.baseline)
            same_estimate(line, column, before[name] and [before[name][0], None, None] if of_few_runs else before[name])
        for phase, ends in (before["phases"] or {}).items():
            same_estimate(line, f"{phase.replace(' ', '_')}_seconds", ends)
        assert line["data_wait_share"] == close(before["data_wait_share"])
        if before["joules_per_thousand_samples"] is None:
            assert math.isnan(line["energy_joules_per_thousand_samples"])
        else:
            assert line["energy_joules_per_thousand_samples"] == close(before["joules_per_thousand_samples"])


def is_of_few_runs(*rows):
    """Whether one of them has no three runs, so that a ratio has no interval."""
    return any(row and len(row.runs) < 3 for row in rows)


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
    pinned, judgement, _ = example
    for before in pinned:
        if "verdicts_of_group" in before:
            (part,) = [part for part in judgement.groups if WORDS.text(part.title) == before["group"]]
            assert len(part.verdicts) == len(before["verdicts_of_group"])
            for verdict, (one, other, *numbers) in zip(part.verdicts, before["verdicts_of_group"], strict=True):
                ratio, names = verdict["ratio"], [WORDS.text(verdict["one"]), WORDS.text(verdict["other"])]
                ratio = ratio if names == [one, other] else ratio.inverse()
                assert sorted(names) == sorted([one, other])
                of_group = {WORDS.text(row.name): row for row in part.group.rows}
                if is_of_few_runs(*map(of_group.get, (one, other))):
                    assert ratio.interval is None
                    numbers = numbers[:1]
                assert [ratio.value, *(ratio.interval or ())] == close(numbers)
