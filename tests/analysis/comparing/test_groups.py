"""Groups, pooling, baselines, verdicts, and what is named as different."""

from __future__ import annotations

import re

import pytest

from analysis.factories import in_rounds, make_parity, make_record, typical_lab
from analysis.views import WORDS, folder_of, groups_of, rows_of, said
from common.analysis.comparing.facts import varying_facts
from common.analysis.judging.row_checks import efficiency, pooled_checks, repeats
from common.analysis.judging.verdicts import decide, group_verdicts
from common.analysis.sections.headline import headline
from common.analysis.sections.other_sections import separate_section, unequal_terms
from common.analysis.sections.report import build_report


def headline_of(groups):
    return headline(groups, decide(groups[0].representatives if groups else []))


def outcome_of(groups):
    return WORDS.text(headline_of(groups).outcome)


def details_of(groups):
    return " ".join(said([*(found := headline_of(groups)).pairs, *found.details]))


def test_speed_up_and_efficiency_are_ratios_of_throughputs():
    records = typical_lab()
    rows = rows_of(*records)
    single, dp, ddp = (record.throughput for record in records)
    assert rows["DDP × 2"].throughput.value == pytest.approx(ddp)
    assert rows["DDP × 2"].speed_up.value == pytest.approx(ddp / single)
    assert rows["DP × 2"].efficiency.value == pytest.approx(dp / single / 2)
    assert rows["One device"].speed_up is None
    for row in rows.values():
        assert row.throughput.value * row.epoch_time.value == pytest.approx(row.record.epochs[0].samples)


def test_repeats_are_pooled_as_a_ratio_of_sums():
    fast, slow = make_record(step_seconds=0.4), make_record(step_seconds=0.6)
    row = rows_of(fast, slow)["One device"]
    samples = sum(epoch.samples for record in (fast, slow) for epoch in record.epochs)
    seconds = sum(sum(record.ranks[0].step_seconds) for record in (fast, slow))
    assert len(row.runs) == 2
    assert row.throughput.value == pytest.approx(samples / seconds)


@pytest.mark.parametrize(
    "change", [{"model": "vgg11"}, {"image_size": 32}, {"precision": "bf16"}, {"memory_format": "channels_last"},
               {"compile": True}, {"data_source": "folder"}, {"num_classes": 10}]
)  # fmt: skip
def test_what_belongs_to_the_key_is_never_compared(change):
    groups = groups_of(make_record(), make_record("ddp", 2, config=change))
    assert len(groups) == 2
    assert all(row.speed_up is None for group in groups for row in group.rows)
    assert separate_section(dict(enumerate(groups, start=1)))


def test_another_device_model_is_another_group():
    assert len(groups_of(make_record(), make_record("ddp", 2, world={"device_model": "Another CPU"}))) == 2


def test_weak_and_strong_scaling_are_told_apart():
    weak = groups_of(make_record(per_device_batch=16), make_record("ddp", 2, per_device_batch=16))
    assert [group.scaling for group in weak] == ["weak"]
    strong = groups_of(make_record(per_device_batch=16), make_record("ddp", 2, per_device_batch=8))
    assert [group.scaling for group in strong] == ["strong"]
    assert strong[0].rows[1].speed_up is not None


def test_what_differs_is_named():
    group, = groups_of(
        make_record(),
        make_record("dp", 2, environment={"torch": "2.11.0"}, world={"threads_per_device": 2}),
        make_record("ddp", 2, config={"loader_workers": 4}),
    )  # fmt: skip
    named = "\n".join(said(unequal_terms(group)))
    assert "torch 2.13.0 (One device, DDP × 2) and 2.11.0 (DP × 2)" in named
    assert "threads per device 1 (One device, DDP × 2) and 2 (DP × 2)" in named
    assert "loader workers per device 1 (One device, DP × 2) and 2 (DDP × 2)" in named
    assert "learning rate" not in named  # it grows with the global batch by rule


def test_equal_terms_have_no_differences():
    (group,) = groups_of(*typical_lab())
    assert unequal_terms(group) == []
    assert varying_facts({1: {"x": "1"}, 2: {"y": "2"}}) == {}


def test_runs_on_other_terms_are_not_pooled_and_meet_their_own_baseline():
    rows = rows_of(
        make_record(environment={"torch": "2.11.0"}), make_record(),
        make_record("ddp", 2, environment={"torch": "2.11.0"}), make_record("ddp", 2),
    )  # fmt: skip
    assert rows["DDP × 2 (a)"].baseline is rows["One device (a)"]
    assert rows["DDP × 2 (b)"].baseline is rows["One device (b)"]
    assert rows["DDP × 2 (a)"].variant == {"torch": "2.11.0"}


def test_a_run_that_failed_parity_is_not_valid_and_spoils_no_repeat():
    failed = make_parity("ddp", 2).model_copy(update={"outcome": "failed"})
    rows = rows_of(make_record(), make_record("ddp", 2), make_record("ddp", 2, 0.1, parity=failed))
    invalid = rows["DDP × 2 (b)"]
    assert not invalid.is_valid
    assert invalid.throughput is invalid.epoch_time is invalid.speed_up is invalid.efficiency is None
    assert len(rows["DDP × 2 (a)"].runs) == 1
    (group,) = groups_of(make_record(), make_record("ddp", 2, 0.1, parity=failed))
    assert group_verdicts(group) == []
    assert "DistributedDataParallel" not in outcome_of([group])


@pytest.mark.parametrize("flag", ["shared", "oversubscribed"])
def test_devices_that_are_not_there_do_not_scale(flag):
    row = rows_of(make_record(), make_record("ddp", 2, world={flag: True}))["DDP × 2"]
    assert row.speed_up is not None
    assert row.efficiency is None
    report = build_report(folder_of(make_record(), make_record("ddp", 2, world={flag: True})))
    assert any(text.startswith(flag.capitalize()) for text in said(report.banners))


def test_unfinished_runs_are_not_compared():
    assert groups_of(make_record(status="interrupted")) == []
    assert "nothing to compare" in outcome_of([])


def test_without_a_single_device_run_there_is_no_efficiency_but_a_verdict():
    (group,) = groups_of(make_record("dp", 2, 0.8), make_record("ddp", 2, 0.6))
    assert all(row.efficiency is None for row in group.rows)
    assert "DDP × 2 is 1.3" in said(group_verdicts(group))[0]


@pytest.mark.parametrize(
    ("seconds", "pattern"),
    [
        (
            (0.50, 0.80, 0.60),
            "resnet18, 16 images per core: DDP is 1.6[5-7] times as fast as one CPU core .*, emulated DP 1.2",
        ),
        (
            (0.50, 0.60, 0.80),
            "resnet18, 16 images per core: emulated DP is 1.6[5-7] times as fast as one CPU core .*, DDP 1.2",
        ),
        ((0.50, 1.50, 1.40), "DDP is 0.71 .*, slower than one CPU core, emulated DP 0.67 .*, slower than one CPU core"),
    ],
)
def test_the_headline_can_say_that_any_of_them_won(seconds, pattern):
    single, dp, ddp = seconds
    lab = in_rounds(make_record("single", 1, single), make_record("dp", 2, dp), make_record("ddp", 2, ddp))
    (group,) = groups_of(*lab)
    assert re.search(pattern, outcome_of([group]))


@pytest.mark.parametrize(("scatter", "expected"), [(0.002, "not distinguishable"), (0.1, "too uncertain to tell")])
def test_noise_is_not_a_winner_and_a_wide_interval_is_no_tie(scatter, expected):
    (group,) = groups_of(*in_rounds(*(make_record(name, 2, 0.6, noise=0.0) for name in ("dp", "ddp")), scatter=scatter))
    assert expected in outcome_of([group])
    assert expected in said(group_verdicts(group))[0]


@pytest.mark.parametrize(
    ("dp", "ddp", "missing"),
    [
        (1, 1, "2 more runs each of DDP × 2 and DP × 2"),
        (2, 3, "1 more run of DP × 2"),
        (3, 1, "2 more runs of DDP × 2"),
        (1, 2, "1 more run of DDP × 2 and 2 more runs of DP × 2"),
    ],
)
def test_below_three_runs_on_either_side_there_is_no_winner_but_the_ratio_and_what_is_missing(dp, ddp, missing):
    (group,) = groups_of(
        *in_rounds(make_record("dp", 2, 0.60), rounds=dp), *in_rounds(make_record("ddp", 2, 0.30), rounds=ddp)
    )
    (verdict,) = group_verdicts(group)
    assert verdict["ratio"].interval is None
    assert re.fullmatch(rf"DDP × 2 is (2.0|1.9)\d* times as fast as DP × 2; no verdict: that takes {missing}.",
                        WORDS.text(verdict))  # fmt: skip
    assert "no verdict" in outcome_of([group])


def test_a_failed_run_never_sharpens_a_verdict():
    """Three rounds of which the second 03 failed: nobody knows any more by how much launches of DP differ."""
    whole = in_rounds(*typical_lab())
    failed = whole[4].model_copy(update={"status": "failed"})
    rows = rows_of(*[failed if record is whole[4] else record for record in whole])
    assert rows["DP × 2"].speed_up.interval is None
    assert rows["DDP × 2"].speed_up.interval is not None
    outcome = outcome_of(groups_of(*[failed if record is whole[4] else record for record in whole]))
    assert re.search(r"emulated DP is 1.2\d times as fast as one CPU core, DDP 1.6\d times \(1.6.*\); no verdict on "
                     r"emulated DP: that takes 1 more run of emulated DP\.", outcome)  # fmt: skip


def test_an_outlier_is_marked_and_kept():
    records = [make_record(step_seconds=seconds, seed=i) for i, seconds in enumerate((0.50, 0.51, 0.50, 0.80))]
    row = rows_of(*records)["One device"]
    assert len(row.runs) == 4
    check = repeats(row)
    assert (check.outcome, check.reason["files"]) == ("warning", [f"{records[3].run_id}.json"])


def test_efficiency_above_105_percent_is_doubted():
    row = rows_of(make_record(step_seconds=1.0), make_record("ddp", 2, 0.9))["DDP × 2"]
    assert efficiency(row).outcome == "warning"
    row = rows_of(make_record(step_seconds=1.0), make_record("ddp", 2, 1.05))["DDP × 2"]
    assert efficiency(row).outcome == "passed"


def hundredfold_samples(record):
    """Every count of samples, as an edited record has it."""
    for epoch in record.epochs:
        epoch.samples *= 100
    for rank in record.ranks:
        rank.samples = [100 * count for count in rank.samples]


def a_tenth_of_the_times(record):
    for rank in record.ranks:
        rank.step_seconds = [seconds / 10 for seconds in rank.step_seconds]


def on_a_faster_machine(record):
    """Both clocks agree; one device is said to need twice the time that each of two needs together."""
    a_tenth_of_the_times(record)
    for rank in record.ranks:
        rank.host_epoch_seconds = [seconds / 10 for seconds in rank.host_epoch_seconds]


@pytest.mark.parametrize(
    ("spoil", "check"),
    [(hundredfold_samples, "samples"), (a_tenth_of_the_times, "clock"), (on_a_faster_machine, "efficiency")],
)
def test_a_speed_that_cannot_be_takes_no_part_in_the_answer(spoil, check):
    lab = in_rounds(*typical_lab())
    for record in lab[2::3]:
        spoil(record)
    (group,) = groups_of(*lab)
    (row,) = [row for row in group.rows if row.method == "ddp"]
    assert (row.is_valid, row.failed_check, row.throughput, row.speed_up) == (False, check, None, None)
    assert "DDP" not in outcome_of([group]) + " ".join(said(group_verdicts(group)))
    assert "emulated DP is 1.2" in outcome_of([group])
    assert check in [one.id for one in pooled_checks(row) if one.outcome == "failed"]


def test_a_wrong_baseline_is_none():
    lab = in_rounds(*typical_lab())
    for record in lab[::3]:
        hundredfold_samples(record)
    assert all(row.baseline is None for row in rows_of(*lab).values())


def test_one_run_that_cannot_be_joins_no_repeats():
    lab = in_rounds(*typical_lab())
    hundredfold_samples(lab[5])
    (group,) = groups_of(*lab)
    assert {(row.is_valid, len(row.runs)) for row in group.rows if row.method == "ddp"} == {(True, 2), (False, 1)}
    assert "no verdict on DDP: that takes 1 more run of DDP" in outcome_of([group])


def test_in_strong_scaling_a_share_may_fit_where_the_whole_did_not():
    """Twice as fast as one device, each: 140 % are doubted there, 250 % cannot be."""
    for seconds, told in ((0.36, "warning"), (0.2, "failed")):
        one = make_record(step_seconds=1.0, per_device_batch=16)
        (group,) = groups_of(*in_rounds(one, make_record("ddp", 2, seconds, per_device_batch=8)))
        assert efficiency(group.rows[1]).outcome == told


def test_the_headline_compares_the_newest_of_each_method_and_not_the_luckiest():
    other = {"loader_workers": 4}
    groups = groups_of(*in_rounds(
        make_record("dp", 2, 0.8), make_record("ddp", 2, 0.2, config=other), make_record("ddp", 2, 0.9, epochs=3)
    ))  # fmt: skip
    assert "emulated DataParallel trains resnet18 fastest: 1.1" in outcome_of(groups)
    assert "not run on equal terms" in details_of(groups)
    assert "equal terms" not in details_of(groups_of(*typical_lab()))


def test_the_headline_compares_on_equal_terms_where_it_can():
    """A sweep of shorter epochs after the lab does not speak for DDP."""
    groups = groups_of(*typical_lab(), make_record("ddp", 2, 0.9, epochs=3))
    assert "DDP × 2 (a) is 1.3" in details_of(groups)
    assert "equal terms" not in details_of(groups)


def test_efficiency_above_105_percent_by_chance_is_not_doubted():
    records = in_rounds(make_record(step_seconds=0.5), make_record("ddp", 2, 0.44), scatter=0.1)
    row = rows_of(*records)["DDP × 2"]
    assert row.efficiency.value > 1.05
    assert row.efficiency.interval[0] < 1
    assert efficiency(row).outcome == "passed"


def rounds(paces, order=("single", "ddp")):
    """One device and DDP × 2, a tenth quicker a step, in turn on a machine whose pace changes from round to round."""
    seconds = {"single": 0.5, "ddp": 0.45}
    return [make_record(m, 2 if m == "ddp" else 1, seconds[m] * pace, seed=1) for pace in paces for m in order]


def test_runs_taken_in_turn_are_compared_round_by_round():
    rows = rows_of(*rounds([1.0, 1.5, 0.7]))
    speed_up = rows["DDP × 2"].speed_up
    assert speed_up.degrees_of_freedom == 2
    assert speed_up.value == pytest.approx(2 * 0.5 / 0.45, rel=0.01)
    assert speed_up.relative_error < 0.01 < 0.1 < rows["DDP × 2"].throughput.relative_error


def test_runs_that_were_not_taken_in_turn_are_independent():
    alternating = rounds([1.0, 1.5, 0.7])
    singles, ddps = alternating[::2], alternating[1::2]
    later = [record.model_copy(update={"started_at": f"2026-01-02T00:00:0{k}+00:00"}) for k, record in enumerate(ddps)]
    assert rows_of(*singles, *later)["DDP × 2"].speed_up.relative_error > 0.1
    assert rows_of(*singles, *ddps[:2])["DDP × 2"].speed_up.relative_error is None


def differing(groups):
    """The facts by which the page tells these groups apart."""
    return [line["difference"]["fact"] for line in separate_section(dict(enumerate(groups, start=1))).brief]


def test_other_models_are_one_difference_whatever_else_follows_from_them():
    tokens = {"model": "hf:gpt2", "image_size": 0, "num_classes": 0, "sequence_length": 512, "precision": "tf32"}
    assert differing(groups_of(make_record(), make_record(config=tokens))) == ["model"]
    both = groups_of(make_record(), make_record(config=tokens), make_record(config={"precision": "bf16"}))
    assert differing(both) == ["model", "precision"]
