"""GPUs of two models in one run: no number may take one of them for both."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from analysis.comparing.test_groups import details_of, outcome_of
from analysis.views import WORDS
from common.analysis.comparing.groups import compare_runs
from common.analysis.comparing.utilisation import mfu_of
from common.analysis.judging.row_checks import efficiency
from common.analysis.judging.run_checks import check_run
from common.analysis.predicting.forecast import forecast
from common.analysis.predicting.inputs import read_question
from common.analysis.reading.folder import Folder, read_folder

EXAMPLES = Path(__file__).parents[3] / "results" / "examples"
FIRST, SECOND = "NVIDIA GeForce RTX 3090", "NVIDIA GeForce GTX 1080"


@pytest.fixture(scope="module")
def mixed(tmp_path_factory) -> Folder:
    """The records of two H100s as if GPU 0 were of one model and GPU 1 of another; written before worlds knew of it."""
    folder = tmp_path_factory.mktemp("mixed")
    for path in (EXAMPLES / "h100x2").glob("*.json"):
        record = json.loads(path.read_text().replace("NVIDIA H100 80GB HBM3", FIRST))
        for device in record.get("devices", []):
            device["name"] = (FIRST, SECOND)[device["index"]]
        if record["kind"] == "environment" and record["probes"]:
            record["environment"]["gpus"][1]["name"] = SECOND
            for name in ("matmul", "memory"):
                rates = record["probes"][name]
                record["probes"][name] = rates + [{**rate, "device_model": SECOND} for rate in rates]
        (folder / path.name).write_text(json.dumps(record))
    return read_folder(folder)


@pytest.fixture(scope="module")
def groups(mixed):
    return compare_runs(mixed).groups


def test_they_are_a_group_of_their_own_without_a_baseline_of_one_device(groups):
    by_model = {group.key["device_model"]: group for group in groups if group.scaling == "weak"}
    assert set(by_model) == {FIRST, f"{FIRST} + {SECOND}"}
    unlike = by_model[f"{FIRST} + {SECOND}"]
    assert {row.method for row in unlike.rows} == {"dp", "ddp"}
    for row in unlike.rows:
        assert row.efficiency is None
        assert efficiency(row).outcome == "not applicable"
        assert mfu_of(row).text == "missing.unlike_devices"
        checks = {check.id: check for check in check_run(row.runs[-1])}
        assert checks["devices"].outcome == "warning"
        named = WORDS.text(checks["devices"].reason)
        assert FIRST in named
        assert SECOND in named


def test_the_headline_names_both(groups):
    unlike = [group for group in groups if " + " in group.key["device_model"]]
    first = outcome_of(unlike)
    assert first.startswith("On 2 GPUs (RTX 3090 + GTX 1080), ")
    assert "2 × RTX 3090" not in outcome_of(groups) + details_of(groups)


def test_nothing_is_predicted_from_an_exchange_between_unlike_devices(groups):
    question = read_question("2", None, None, None)
    made = [found for group in groups if (found := forecast(group, question))]
    assert [found for group in made for found in group.forecasts if group.basis.probes] == []
