"""Runs that are not one whole launch on one node: several nodes, restarts, resumed runs, micro-batches, image trees."""

from __future__ import annotations

import pytest

from analysis.comparing.test_energy import make as drawing
from analysis.comparing.test_groups import outcome_of
from analysis.factories import in_rounds, make_record, typical_lab, write
from analysis.sections.test_comparison import table_of
from analysis.views import WORDS, groups_of, label, outcome, reason, rows_of, said, without_marks
from common.analysis.judging.proposals import wrapper_commands
from common.analysis.judging.verdicts import group_verdicts
from common.analysis.reading.folder import read_folder
from common.analysis.sections.other_sections import machines
from common.analysis.sections.row_tables import accuracy_table
from common.records import Resumed, Validation

RESUMED = Resumed(file="checkpoint-0001-000010.pt", epoch=1, steps_done=10)


def of_steps(record, *steps, batch=16):
    """The record with epochs of so many whole steps."""
    (rank,) = record.ranks
    times = rank.step_seconds[: sum(steps)]
    samples = [count * batch for count in steps]
    by_host = [sum(times[sum(steps[:place]) :][:count]) for place, count in enumerate(steps)]
    changes = {"data_wait_seconds": [0.0] * len(times), "samples": samples, "host_epoch_seconds": by_host}
    rank = rank.model_copy(update={"step_seconds": times} | changes)
    epochs = [
        epoch.model_copy(update={"steps": count, "samples": count * batch})
        for epoch, count in zip(record.epochs, steps, strict=True)
    ]
    return record.model_copy(update={"ranks": [rank], "epochs": epochs})


def split(last_step, samples_per_epoch=312, epochs=2):
    """20 steps of 4 micro-batches of 4; the last step of each epoch has so many samples."""
    record = make_record(epochs=epochs, samples=samples_per_epoch, config={"accumulation_steps": 4})
    seen = 19 * 16 + last_step
    for epoch in record.epochs:
        epoch.samples = seen
    record.ranks[0].samples = [seen] * epochs
    return record


def test_the_last_step_may_hold_the_micro_batches_that_are_left():
    """312 samples are 19 steps of 16, and 2 micro-batches of 4."""
    assert outcome(split(8), "samples") == "passed"


@pytest.mark.parametrize("last_step", [4, 7, 12, 16])
def test_and_nothing_else(last_step):
    record = split(last_step)
    assert outcome(record, "samples") == "failed"
    assert f"epoch 1: the ranks consumed {19 * 16 + last_step} samples, and its steps hold 312" in reason(
        record, "samples"
    )


def test_without_micro_batches_every_step_is_whole():
    record = make_record(steps=200, epochs=1, samples=3210)
    assert outcome(record, "samples") == "passed"
    record.epochs[0].samples -= 4
    assert outcome(record, "samples") == "failed"


def test_a_resumed_run_counts_by_its_whole_epochs():
    record = of_steps(make_record(resumed=RESUMED), 10, 20)
    assert outcome(record, "samples") == "passed"
    (row,) = rows_of(record).values()
    assert row.epoch_time.value == pytest.approx(row.seconds_per_sample.value * 320)


def test_energy_per_epoch_is_that_of_a_whole_epoch():
    """160 and 320 samples for 3,000 J: 2,000 J for 320."""
    (row,) = rows_of(of_steps(drawing("single", 1, 3000.0), 10, 20)).values()
    assert row.energy.joules_per_epoch == pytest.approx(2000)


def test_restarts_and_resumes_are_told():
    record = make_record("ddp", 2, resumed=RESUMED, world={"restarts": 1})
    assert table_of(record)["DDP × 2"]["method"].notes == ["1 run", "resumed", "restarted"]


def test_images_that_could_not_be_read_are_counted_and_named():
    record = make_record(unreadable_files=[f"{n}.jpg" for n in range(6)], config={"data_dir": "/data"})
    assert outcome(record, "images") == "warning"
    assert reason(record, "images").startswith("6 images could not be read")
    assert reason(record, "images").endswith("0.jpg, 1.jpg, 2.jpg, 3.jpg and 2 more")
    assert outcome(make_record(), "images") == "not applicable"
    assert outcome(make_record(config={"data_dir": "/data"}), "images") == "passed"


def test_a_loss_that_is_not_finite_is_named_by_its_epoch():
    record = make_record()
    record.epochs[0].epoch, record.epochs[1].epoch, record.epochs[1].mean_loss = 4, 5, None
    assert "epoch 5" in reason(record, "loss")


def across(seconds=0.7, **options):
    record = make_record("ddp", 2, seconds, world={"nodes": 2}, **options)
    record.devices[1].host = "second"
    return record


def test_nodes_are_rows_of_their_own():
    rows = rows_of(*typical_lab(), across())
    assert list(rows) == ["One device", "DP × 2", "DDP × 2", "DDP × 2 on 2 nodes"]
    assert rows["DDP × 2 on 2 nodes"].baseline is rows["DDP × 2"].baseline is rows["One device"]
    (group,) = groups_of(*in_rounds(*typical_lab(), across()))
    texts = said(group_verdicts(group))
    assert any(text.startswith("DDP × 2 on 2 nodes is 1.4") and "one device" in text for text in texts)
    assert any(text.startswith("DDP × 2 on 2 nodes is 0.8") and "as fast as DDP × 2, slower" in text for text in texts)
    assert set(map(label, group.representatives)) == {"One device", "DP × 2", "DDP × 2"}


def test_the_headline_says_that_nodes_took_part():
    (group,) = groups_of(make_record(), across())
    assert "DDP on 2 nodes is 1.4" in outcome_of([group])


def test_the_machine_lists_the_other_hosts(tmp_path):
    (known,) = machines(read_folder(write(tmp_path, *typical_lab(), across())))
    assert ("other nodes' hosts", "second") in [tuple(said(pair)) for pair in known]
    (known,) = machines(read_folder(write(tmp_path / "one", *typical_lab())))
    assert "other nodes' hosts" not in [WORDS.text(name) for name, _ in known]


def test_accuracy_after_the_last_epoch_where_there_is_any(tmp_path, compare):
    records = typical_lab()
    (group,) = groups_of(*records)
    assert not accuracy_table(group).lines
    found = Validation(samples=5000, top1=0.512, top5=0.8, mean_loss=1.9, seconds=3.0)
    records[2].epochs[-1].validation = found
    (group,) = groups_of(*records)
    table = accuracy_table(group)
    assert [[WORDS.cell(cell) for cell in line.cells] for line in table.lines] == [
        ["DDP × 2", "2", "5,000", "51.2 %", "80.0 %", "1.90"]
    ]
    compare(write(tmp_path / "results", *records))
    page = without_marks((tmp_path / "report.html").read_text())
    assert "<summary>Validation accuracy</summary>" in page
    assert "51.2 %" in page


def test_commands_for_the_wrappers_price_know_the_whole_key():
    changed = {"accumulation_steps": 2, "memory_format": "channels_last", "compile": True, "deterministic": True}
    (group,) = groups_of(make_record(config=changed))
    commands = wrapper_commands(group)
    assert len(commands) == 2  # step 03 has no --compile
    assert all("--accumulation-steps 2 --channels-last --compile --deterministic" in line for line in commands)
