"""One change, one ratio: pairs of configurations that differ in one fact alone, across groups."""

from __future__ import annotations

import pandas as pd
import pytest

from analysis.factories import in_rounds, make_record, typical_lab, write
from analysis.views import folder_of, said
from common.analysis.comparing.groups import compare_runs
from common.analysis.comparing.one_change import one_changes
from common.analysis.sections.changes import changes
from common.records import DdpOptions


def pairs_of(*records):
    return [(pair.fact, *pair.values) for pair in one_changes(compare_runs(folder_of(*records)).configurations)]


def changed(method="single", devices=1, seconds=0.5, batch=16, world=None, **config):
    return make_record(method, devices, seconds, per_device_batch=batch, world=world, config=config)


@pytest.mark.parametrize(
    ("fact", "values", "records"),
    [
        ("precision", ("ieee-fp32", "bf16"), [changed(precision="bf16"), changed()]),
        ("memory_format", ("channels_first", "channels_last"), [changed(memory_format="channels_last"), changed()]),
        ("compile", (False, True), [changed(compile=True), changed()]),
        ("per_device_batch_size", (16, 32), [changed("dp", 2, batch=32), changed("dp", 2)]),
        ("accumulation_steps", (1, 4), [changed(accumulation_steps=4), changed()]),
        ("loader_workers_per_device", (1, 2), [changed(loader_workers=2), changed()]),
        ("ddp_options", ("", "--no-gradient-as-bucket-view"),
         [changed("ddp", 2, ddp=DdpOptions(gradient_as_bucket_view=False)), changed("ddp", 2)]),
        ("ddp_options", ("--one-bucket", "--one-bucket --comm-hook fp16"),
         [changed("ddp", 2, ddp=DdpOptions(one_bucket=True, comm_hook=hook)) for hook in ("fp16", "none")]),
        ("variables", ("", "ONEDNN_MAX_CPU_ISA=AVX2"),
         [make_record(environment={"variables": "ONEDNN_MAX_CPU_ISA=AVX2"}), make_record()]),
        ("transport", ("", "NCCL_P2P_DISABLE=1"),
         [changed("ddp", 2, world={"transport": "NCCL_P2P_DISABLE=1"}), changed("ddp", 2)]),
    ],
)  # fmt: skip
def test_any_single_fact_makes_a_pair_counted_from_its_usual_or_smaller_value(fact, values, records):
    assert pairs_of(*records) == [(fact, *values)]


def test_two_facts_or_other_work_or_another_method_make_none():
    two = changed(precision="bf16", compile=True)
    both_options = changed("ddp", 2, ddp=DdpOptions(one_bucket=True, static_graph=True))
    assert pairs_of(*typical_lab(), two, both_options, changed(model="resnet50"), changed(image_size=32)) == []


def test_lengths_do_not_count_and_the_equal_one_is_taken():
    short, long = (make_record(samples=samples, epochs=2) for samples in (640, 1280))
    (pair,) = one_changes(
        compare_runs(folder_of(short, make_record(samples=640, config={"compile": True}), long)).configurations
    )
    assert (pair.before.record.run_id, pair.is_from_first) == (short.run_id, True)


def test_rounds_that_were_run_in_turn_are_pairs():
    """On a machine whose pace changes by a third, 3 % show only between the runs of a round."""
    rounds = [record for pace in (1.0, 1.4, 0.8)
              for record in (changed(seconds=0.5 * pace), changed(seconds=0.515 * pace, precision="bf16"))]  # fmt: skip
    (change,) = changes(one_changes(compare_runs(folder_of(*rounds)).configurations), set(), set())
    assert (change.outcome, change.quotient.degrees_of_freedom) == ("slower", 2)


def test_console_page_and_csv(tmp_path, compare):
    records = [changed(), changed(seconds=0.25, precision="bf16"), changed(batch=32, seconds=1.1)]
    records[1].devices[0].memory.peak_process_bytes -= 100 * 2**20
    records = in_rounds(*records)
    folder = write(tmp_path / "results", *records)
    done = compare(folder)
    assert done.returncode == 0, done.stderr
    sentence = "precision: ieee-fp32 → bf16 (One device, resnet18, 64 px, 16 samples per device): 2.0"
    assert sentence in " ".join(done.stdout.split())
    assert "memory −100 MiB" in done.stdout
    page = (tmp_path / "report.html").read_text()
    assert page.index('id="changes"') < page.index("per-device batch: 16 → 32")
    lines = pd.read_csv(folder / "one_change.csv").set_index("fact")
    assert lines.loc["precision", "times_as_fast_low"] < 2 < lines.loc["precision", "times_as_fast_high"]
    assert lines.loc["per_device_batch_size", ["before", "after"]].astype(int).tolist() == [16, 32]
    for record in (record for place, record in enumerate(records) if place % 3):
        (folder / f"{record.run_id}.json").unlink()
    assert compare(folder).returncode == 0
    assert not (folder / "one_change.csv").exists()


def test_of_many_values_each_is_told_beside_the_first_one():
    records = [changed(batch=batch, seconds=0.5) for batch in (8, 16, 32)]
    pairs = one_changes(compare_runs(folder_of(*records)).configurations)
    assert [pair.values for pair in pairs] == [(8, 16), (8, 32), (16, 32)]
    sentences = said(change.what for change in changes(pairs, set(), set()))
    assert sentences == ["per-device batch: 8 → 16", "per-device batch: 8 → 32"]
