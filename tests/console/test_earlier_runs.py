"""A run beside the newest earlier one that did the same work."""

from __future__ import annotations

import pytest
from analysis.factories import make_parity, make_record

from common.console.closing import ratios_to_earlier
from common.sentences import Sentences

ENGLISH = Sentences("en")


def write_runs(folder, *records):
    """Named as runs are: by step, method, model and, last, the time."""
    for number, record in enumerate(records):
        name = f"{record.step}_{record.method}_{record.config.model}_1x16_2026010{number}T000000Z-ab12.json"
        (folder / name).write_text(record.model_dump_json())
    return folder


def test_the_newest_run_of_the_same_batch_per_device_is_the_measure(tmp_path):
    older, newer = make_record("single", 1, 1.0, noise=0), make_record("single", 1, 0.5, noise=0)
    folder = write_runs(tmp_path, older, newer, make_record("single", 1, 0.1, noise=0, per_device_batch=32))
    assert ratios_to_earlier(make_record("dp", 2, 0.8, noise=0), folder, ENGLISH) == [
        "1.25 × step 02 (32.0 samples/s, same 16 per device)"
    ]


def test_ddp_stands_beside_both_earlier_steps(tmp_path):
    folder = write_runs(tmp_path, make_record("single", 1, 0.5, noise=0), make_record("dp", 2, 0.8, noise=0))
    assert ratios_to_earlier(make_record("ddp", 2, 0.4, noise=0), folder, ENGLISH) == [
        "2.50 × step 02 (32.0 samples/s, same 16 per device)",
        "2.00 × step 03 (40.0 samples/s, same 16 per device)",
    ]


def test_the_same_batch_in_all_serves_where_there_is_none_per_device(tmp_path):
    folder = write_runs(tmp_path, make_record("single", 1, 0.5, noise=0, per_device_batch=32))
    assert ratios_to_earlier(make_record("dp", 2, 0.5, noise=0), folder, ENGLISH) == [
        "1.00 × step 02 (64.0 samples/s, same 32 in all)"
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"config": {"precision": "bf16"}},
        {"config": {"image_size": 32}},
        {"config": {"model": "vgg11"}},
        {"world": {"device_model": "Another CPU"}},
        {"environment": {"machine": "another"}},
        {"parity": make_parity("ddp", 2).model_copy(update={"outcome": "failed"})},
        {"per_device_batch": 8},
    ],
)
def test_other_work_is_not_compared(tmp_path, changes):
    folder = write_runs(tmp_path, make_record("single", 1, 0.5, **changes))
    (folder / "02_single_resnet18_1x16_20260109T000000Z-ab12.json").write_text("{}")
    assert ratios_to_earlier(make_record("dp", 2, 0.5), folder, ENGLISH) == []


def test_a_model_that_counts_tokens_has_its_speed_in_them(tmp_path):
    tokens = {"config": {"unit": "tokens", "units_per_sample": 128, "image_size": 0}}
    folder = write_runs(tmp_path, make_record("single", 1, 0.5, noise=0, **tokens))
    assert ratios_to_earlier(make_record("dp", 2, 0.8, noise=0, **tokens), folder, ENGLISH) == [
        "1.25 × step 02 (4,096 tokens/s, same 16 per device)"
    ]
