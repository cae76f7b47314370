"""What the page's first screen says beside its charts: the reason, the doubts, and the sentences to pass on."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.factories import in_rounds, make_record, typical_lab, write
from analysis.views import said
from common.analysis.reading.folder import read_folder
from common.analysis.sections.report import build_report
from common.records import Failure

EXAMPLES = Path(__file__).parents[3] / "results" / "examples"


def passed_on(folder: Path) -> list[str]:
    return said(build_report(read_folder(folder)).to_pass_on)


def test_a_decision_is_passed_on_with_its_interval_its_conditions_and_what_was_only_predicted():
    first, second = passed_on(EXAMPLES / "h200x4")
    assert first == (
        "Use DDP: on 4 × H200 it trains resnet50, 64 images per GPU, 3.9 times as fast as one GPU "
        "(95 % interval 3.86–3.92, 3 runs); 8 GPUs are predicted to give 7.7 to 8.0 times, which was not measured."
    )
    assert second.startswith("DP is only 1.04 times as fast as one GPU (1.002–1.07), held back by the new threads")


@pytest.mark.parametrize("example", ["cpu", "h100x2-crossover", "h200-lab", "h200-any-model", "h100x2-no-peer"])
def test_what_is_not_decided_is_not_passed_on(example):
    """Too uncertain, too few runs, one device, devices that took turns, one method alone."""
    assert passed_on(EXAMPLES / example) == []


def test_a_tie_names_ddp_and_why(tmp_path):
    alike = [make_record("single", 1, 0.50), make_record("dp", 2, 0.601), make_record("ddp", 2, 0.60)]
    first, second = passed_on(write(tmp_path, *in_rounds(*alike, scatter=0.003)))
    assert first.startswith("Use DDP: on 2 CPU cores")
    assert "the other method is as fast" in first
    assert "PyTorch advises DDP" in second


def test_where_more_devices_are_slower_one_is_passed_on(tmp_path):
    slower = [make_record("single", 1, 0.50), make_record("dp", 2, 1.6), make_record("ddp", 2, 1.4)]
    first, second = passed_on(write(tmp_path, *in_rounds(*slower)))
    assert first.startswith("Use one CPU core")
    assert "emulated DP is only 0.6" in second
    assert "DDP is only 0.7" in second


def test_the_ideal_is_no_reason():
    answer = build_report(read_folder(EXAMPLES / "h100x2")).answer
    assert said(answer.why)[0].startswith("A step trains")
    assert said([answer.because])[0].startswith("DP takes 121 ms: 82.7 ms in the forward pass")


def test_doubts_stand_by_row():
    doubts = build_report(read_folder(EXAMPLES / "cpu")).answer.doubts
    assert [name.method for name in doubts] == ["single", "dp", "ddp"]
    assert all(mark.outcome == "warning" for marks in doubts.values() for mark in marks)


def test_runs_that_did_not_complete_are_named_before_the_numbers(tmp_path):
    failure = Failure(kind="out_of_memory", rank=0, message="CUDA out of memory", advice="lower --batch-size")
    failed = [make_record("dp", 2, status="failed", failure=failure, run_id=f"dp{n}") for n in range(3)]
    lab = [record for record in in_rounds(*typical_lab()) if record.method != "dp"]
    first = said(build_report(read_folder(write(tmp_path, *lab, *failed))).banners)[0]
    assert first == "Runs that did not complete and are not compared: 3, of DP (out of memory)."
