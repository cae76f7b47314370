"""The page's first sentence: of the best measured group, against one device, and honest where devices took turns."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.comparing.test_groups import details_of, outcome_of
from analysis.factories import in_rounds, make_record, typical_lab
from analysis.views import groups_of
from common.analysis.comparing.groups import compare_runs
from common.analysis.reading.folder import read_folder

EXAMPLES = Path(__file__).parents[3] / "results" / "examples"


def measured_lab(rounds=3, **options):
    return in_rounds(*typical_lab(**options), rounds=rounds)


def strong(method, seconds=0.3, **options):
    return make_record(method, 2, seconds, per_device_batch=8, **options)


def test_of_two_h100s_weak_scaling_in_three_rounds_is_the_headline():
    groups = compare_runs(read_folder(EXAMPLES / "h100x2")).groups
    outcome, details = outcome_of(groups), details_of(groups)
    assert outcome == (
        "On 2 × H100, training resnet50, 64 images per GPU: DDP is 1.96 times as fast as one GPU (1.95–1.97), "
        "DP 0.62 times (0.54–0.72), slower than one GPU."
    )
    assert "global batch of 64 throughout: DP is 0.34 times as fast as one GPU, DDP 1.30 times; no verdict" in details
    assert "equal terms" not in details


def test_methods_that_cannot_be_told_apart_stand_in_the_usual_order_and_are_said_to_be_alike():
    """The committed records of two CPU cores; in them DP's figure is the higher one."""
    outcome = outcome_of(compare_runs(read_folder(EXAMPLES / "cpu")).groups)
    assert outcome.endswith("DDP 1.65 times (1.57–1.74); no clear winner between DP and DDP.")
    alike = [make_record("single", 1, 0.50), make_record("dp", 2, 0.601), make_record("ddp", 2, 0.60)]
    noisy = in_rounds(*alike, scatter=0.1)
    outcome = outcome_of(groups_of(*noisy))
    assert outcome.index("emulated DP is 1.") < outcome.index(", DDP 1.") < outcome.index("; no clear winner")
    certain = outcome_of(groups_of(*in_rounds(*typical_lab())))
    assert certain.index("DDP is ") < certain.index(", emulated DP ")
    assert "no clear winner" not in certain


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
    usual = outcome_of(groups_of(*(lab := measured_lab())))
    assert outcome_of(groups_of(*lab, extra())) == usual


def test_one_more_run_of_an_older_lab_does_not_change_it_either():
    old, new = measured_lab(config={"model": "vgg11"}), measured_lab()
    extra = make_record("ddp", 2, 0.6, config={"model": "vgg11"})
    assert "resnet18" in outcome_of(groups_of(*old, *new))
    assert "resnet18" in outcome_of(groups_of(*old, *new, extra))


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_devices_that_took_turns_are_no_scaling(kind):
    flag = {"cpu": "oversubscribed", "cuda": "shared"}[kind]
    records = [make_record(kind=kind), *(make_record(m, 4, 1.0, kind=kind, world={flag: True}) for m in ("dp", "ddp"))]
    for record in records if kind == "cuda" else []:
        for device in record.devices:
            device.index = 0
    outcome = outcome_of(groups_of(*records))
    where = {"cpu": "4 devices took turns on 2 CPU cores", "cuda": "4 replicas or ranks took turns on 1 GPU"}[kind]
    assert f"{where}: DP 2.0" in outcome
    assert "this is not scaling" in outcome
    assert "nothing to compare" not in outcome


def test_one_device_alone_has_nothing_to_compare_with():
    assert "nothing to compare it with yet" in outcome_of(groups_of(make_record()))
