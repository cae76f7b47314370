"""What DDP's options do: against the default row alone, in pairs, in words; methods are compared by the defaults."""

from __future__ import annotations

import pytest

from analysis.comparing.test_groups import details_of
from analysis.factories import MIB, in_rounds, make_parity, make_record, typical_lab, write
from analysis.views import WORDS, groups_of, label, said
from common.analysis.comparing.facts import ddp_flags
from common.analysis.judging.verdicts import group_verdicts
from common.analysis.page.method_plots import draw_scaling
from common.analysis.page.reason_plots import draw_options
from common.analysis.predicting.inputs import Question
from common.analysis.sections.changes import effects, options_table, without_default
from common.analysis.sections.comparison import group_title
from common.analysis.sections.group import group_results
from common.analysis.sections.other_sections import unequal_terms
from common.records import DdpOptions

SWEEP = [
    {}, {"gradient_as_bucket_view": False}, {"static_graph": True}, {"find_unused_parameters": True},
    {"broadcast_buffers": True}, {"one_bucket": True}, {"comm_hook": "fp16"}, {"bucket_cap_mb": 50.0},
    {"one_bucket": True, "comm_hook": "powersgd"},
]  # fmt: skip


def ddp(seconds=0.6, devices=2, more_bytes=0, noise=0.02, seed=0, world=None, **options):
    record = make_record("ddp", devices, seconds, noise, seed=seed, world=world, config={"ddp": DdpOptions(**options)})
    for device in record.devices:
        device.memory.peak_process_bytes += more_bytes
    return record


def sweep(paces=(1.0, 1.4, 0.8)):
    """Rounds of all options on a machine whose pace changes from round to round; the k-th is k per cent slower."""
    return [
        ddp(0.6 * (1 + k / 100) * pace, seed=9 * number + k, **options)
        for number, pace in enumerate(paces)
        for k, options in enumerate(SWEEP)
    ]


def test_an_exchange_built_by_hand_is_compared_with_torchs():
    (effect,) = effects_of(*in_rounds(ddp(0.6), ddp(0.9, exchange="flat"))).values()
    assert effect.row.name.options == "--exchange flat"
    assert effect.outcome == "slower"


def options_of(group):
    return options_table(effects(group))


def effects_of(*records):
    (group,) = groups_of(*records)
    return {effect.row.name.options: effect for effect in effects(group)}


@pytest.mark.parametrize(
    ("options", "flags"),
    [
        ({}, ""),
        ({"timeout_seconds": 5.0}, ""),
        ({"gradient_as_bucket_view": False}, "--no-gradient-as-bucket-view"),
        ({"bucket_cap_mb": 50.0}, "--bucket-cap-mb 50"),
        ({"one_bucket": True, "comm_hook": "powersgd"}, "--one-bucket --comm-hook powersgd"),
    ],
)
def test_options_are_named_by_their_flags(options, flags):
    assert ddp_flags(DdpOptions(**options)) == flags


def test_every_flag_of_an_option_exists(run_help):
    values = {"exchange": "flat", "bucket_cap_mb": 50.0, "comm_hook": "bf16"}
    flipped = {
        name: values.get(name, not field.default)
        for name, field in DdpOptions.model_fields.items()
        if name != "timeout_seconds"
    }
    flags = {word for word in ddp_flags(DdpOptions(**flipped)).split() if word.startswith("--")}
    assert len(flags) == len(flipped)
    assert flags <= set(run_help("04_ddp_training.py"))


def test_faster_slower_or_nothing_that_shows():
    noisy = ddp(0.6, bucket_cap_mb=1.0)
    records = in_rounds(
        ddp(0.6),
        ddp(0.5, more_bytes=12 * MIB, one_bucket=True),
        ddp(0.7, more_bytes=-3 * MIB, static_graph=True),
        ddp(0.6, broadcast_buffers=True),
        noisy,
    )
    for pace, record in zip((1.0, 1.5, 0.7), records[4::5], strict=True):
        record.ranks[0].step_seconds = [pace * seconds for seconds in record.ranks[0].step_seconds]
        record.ranks[1].step_seconds = record.ranks[0].step_seconds
        for rank in record.ranks:
            rank.host_epoch_seconds = [pace * seconds for seconds in rank.host_epoch_seconds]
    effects = effects_of(*records)
    assert WORDS.text(effects["--one-bucket"].sentence()).startswith(
        "--one-bucket: 1.20 times as fast (95 % interval 1."
    )
    assert WORDS.text(effects["--one-bucket"].sentence()).endswith(", memory +12.0 MiB")
    assert "slower, 0.86 times as fast" in WORDS.text(effects["--static-graph"].sentence())
    assert WORDS.text(effects["--static-graph"].sentence()).endswith("memory −3.00 MiB")
    assert effects["--broadcast-buffers"].outcome == "no_difference"
    assert effects["--bucket-cap-mb 1"].outcome == "uncertain"
    assert "too uncertain to tell (0." in WORDS.text(effects["--bucket-cap-mb 1"].sentence())
    assert effects["--one-bucket"].quotient.value == pytest.approx(1.2, rel=0.01)


def test_rounds_are_paired_so_that_a_drifting_machine_does_not_hide_an_effect():
    effects = effects_of(*sweep())
    assert len(effects) == 8
    slowest = effects["--one-bucket --comm-hook powersgd"]
    assert slowest.quotient.degrees_of_freedom == 2
    assert slowest.outcome == "slower"
    assert slowest.row.throughput.relative_error > 0.1
    effects = effects_of(ddp(0.1), *sweep(), ddp(0.1))
    again = effects["--one-bucket --comm-hook powersgd"].quotient
    assert again.interval == pytest.approx(slowest.quotient.interval)


def test_too_few_runs_and_failed_parity_have_no_effect():
    few = effects_of(*in_rounds(ddp(0.6), rounds=2), ddp(0.3, one_bucket=True))["--one-bucket"]
    assert few.outcome == "too_few_runs"
    assert "times as fast; no verdict (runs missing: 2 with it, 1 without), memory" in WORDS.text(few.sentence())
    failed = make_parity("ddp", 2).model_copy(update={"outcome": "failed"})
    wrong = ddp(0.1, comm_hook="fp16").model_copy(update={"parity": failed})
    (group,) = groups_of(*in_rounds(ddp(), wrong, ddp(comm_hook="fp16")))
    assert [effect.outcome for effect in effects(group)] == ["withheld", "no_difference"]
    assert len(set(map(label, group.rows))) == 3


def test_only_rows_of_equal_terms_are_held_against_each_other():
    other = make_record("ddp", 2, 0.3, config={"ddp": DdpOptions(static_graph=True), "loader_workers": 5})
    assert list(effects_of(ddp(), ddp(one_bucket=True), other)) == ["--one-bucket"]
    across = ddp(one_bucket=True, world={"nodes": 2})
    assert effects_of(ddp(), across) == {}
    assert len(effects_of(ddp(), across, ddp(world={"nodes": 2}))) == 1


def test_without_the_default_row_the_reader_is_told():
    (group,) = groups_of(ddp(one_bucket=True), ddp(static_graph=True))
    assert effects(group) == []
    assert draw_options(effects(group), WORDS) is None
    (line,) = said(without_default(group))
    assert line.startswith("DDP × 2 (a), DDP × 2 (b) differ only in DDP's options.")
    assert [row.variant for row in group.rows] == [{"ddp_options": "--one-bucket"}, {"ddp_options": "--static-graph"}]
    (alone,) = groups_of(ddp(one_bucket=True))
    assert without_default(alone) == []


def test_a_sweep_does_not_crowd_out_the_methods():
    (group,) = groups_of(*typical_lab(), *sweep())
    assert list(map(label, group.main_rows)) == ["One device", "DP × 2", "DDP × 2"]
    assert len(group.rows) == 11
    assert len(group_verdicts(group)) == 3
    assert unequal_terms(group) == []
    assert label(group.rows[-1]).startswith("DDP × 2 with --")
    table = options_of(group)
    assert [WORDS.cell(line.cells[0]) for line in table.lines][:2] == ["the defaults", "--no-gradient-as-bucket-view"]
    assert len(table.lines) == 9


def test_methods_are_compared_by_the_defaults_and_not_by_the_newest_option():
    (group,) = groups_of(*typical_lab(), ddp(0.2, one_bucket=True))
    assert "DDP × 2 is 1.3" in details_of([group])
    # Of other terms, so that no default row stands beside it.
    odd = make_record("ddp", 2, 0.2, config={"ddp": DdpOptions(one_bucket=True)}, epochs=3)
    (group,) = groups_of(*typical_lab(), odd)
    assert len(group.main_rows) == 4
    assert "DDP × 2 (b) is 1.3" in details_of([group])


def test_options_that_differ_between_counts_of_devices_are_named():
    (group,) = groups_of(ddp(), ddp(devices=4, static_graph=True))
    assert "DDP's options the defaults (DDP × 2) and --static-graph (DDP × 4)" in said(unequal_terms(group))


def test_micro_batches_and_determinism_are_groups_of_their_own():
    changed = {"accumulation_steps": 4, "deterministic": True, "num_classes": 10}
    plain, other = groups_of(ddp(), make_record("ddp", 2, config=changed))[::-1]
    assert "resnet18, 10 classes, 64 px, ieee-fp32, 4 micro-batches a step, deterministic, 16 samples" in WORDS.text(
        group_title(other)
    )
    assert "micro-batches" not in WORDS.text(group_title(plain))


def test_scaling_needs_two_counts_of_devices():
    (one,) = groups_of(make_record(kind="cuda"), make_record("ddp", 1, kind="cuda"))
    (two,) = groups_of(*typical_lab())
    assert draw_scaling(group_results(1, one, False, Question()), WORDS) is None
    assert draw_scaling(group_results(1, two, False, Question()), WORDS) is not None


def test_the_console_and_the_page_show_a_sweep(tmp_path, compare):
    without = in_rounds(*(ddp(0.6, exchange=name) for name in ("ddp", "flat")), scatter=0.001)
    folder = write(tmp_path / "results", *typical_lab(), *sweep(), *without)
    done = compare(folder, "--generate-plots")
    assert done.returncode == 0, done.stderr
    console = " ".join(done.stdout.split())
    assert "What DDP's options do, compared with DDP × 2 and its default ones" in console
    assert "--one-bucket --comm-hook powersgd: slower, 0.9" in console
    page = (tmp_path / "report.html").read_text()
    assert page.count('<a href="#ddp-options">') >= 3
    assert page.count("no measurable effect here") >= 1
    assert 'id="ddp-options"' in page
    assert (folder / "plots" / "group1_options.svg").exists()
