"""The page's first sentence: of the best measured group, against one device, and honest where devices took turns."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.factories import make_record, typical_lab
from analysis.test_comparison import groups_of
from common.analysis.comparing.groups import build_groups
from common.analysis.judging.verdict import headline
from common.analysis.reading.folder import read_folder

EXAMPLES = Path(__file__).parents[2] / "results" / "examples"


def measured_lab(rounds=3, **options):
    return [record for _ in range(rounds) for record in typical_lab(**options)]


def strong(method, seconds=0.3, **options):
    return make_record(method, 2, seconds, per_device_batch=8, **options)


def test_of_two_h100s_weak_scaling_in_three_rounds_is_the_headline():
    first = headline(build_groups(read_folder(EXAMPLES / "h100x2").runs))
    assert "1.94 times as fast as on one GPU under DistributedDataParallel (1.93–1.95)" in first.outcome
    assert first.outcome.endswith("0.62 times as fast under DataParallel (0.54–0.71), slower than one GPU.")
    assert "Strong scaling, a global batch of 64 throughout: DP × 2 0.35 × (0.34–0.35), DDP × 2 1.30" in first.detail
    assert "equal terms" not in first.detail


def test_weak_scaling_goes_before_strong_of_as_many_runs():
    groups = groups_of(*typical_lab(), strong("dp"), strong("ddp"))
    assert [group.scaling for group in groups[:2]] == ["weak", "strong"]


@pytest.mark.parametrize(
    "extra",
    [
        lambda: strong("ddp"),
        lambda: make_record("ddp", 2, 0.1, config={"loader_workers": 8}),
        lambda: make_record("dp", 2, 0.1, config={"loader_workers": 8}),
        lambda: make_record(config={"model": "vgg11"}),
        lambda: make_record("ddp", 4, 0.5, world={"oversubscribed": False}),
        lambda: make_record("single", 1, 0.1, epochs=5),
        lambda: make_record("ddp", 2, 0.1, config={"precision": "bf16"}),
    ],
)
def test_one_extra_experiment_never_changes_it(extra):
    usual = headline(groups_of(*(lab := measured_lab()))).outcome
    assert headline(groups_of(*lab, extra())).outcome == usual


def test_one_more_run_of_an_older_lab_does_not_change_it_either():
    old, new = measured_lab(config={"model": "vgg11"}), measured_lab()
    extra = make_record("ddp", 2, 0.6, config={"model": "vgg11"})
    assert "resnet18" in headline(groups_of(*old, *new)).outcome
    assert "resnet18" in headline(groups_of(*old, *new, extra)).outcome


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_devices_that_took_turns_are_no_scaling(kind):
    flag = {"cpu": "oversubscribed", "cuda": "shared"}[kind]
    records = [make_record(kind=kind), *(make_record(m, 4, 1.0, kind=kind, world={flag: True}) for m in ("dp", "ddp"))]
    for record in records if kind == "cuda" else []:
        for device in record.devices:
            device.index = 0
    first = headline(groups_of(*records))
    where = {"cpu": "4 devices took turns on 2 CPU cores", "cuda": "4 replicas or ranks took turns on 1 GPU"}[kind]
    assert f"{where}: DP 2.0" in first.outcome
    assert "this is not scaling" in first.outcome
    assert "nothing to compare" not in first.outcome


def test_one_device_alone_has_nothing_to_compare_with():
    assert "nothing to compare it with yet" in headline(groups_of(make_record())).outcome
