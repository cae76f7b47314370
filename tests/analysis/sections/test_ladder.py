"""The ladder: trials read off the records, what is kept, what was dropped and why, and whether the top trains."""

from __future__ import annotations

import pytest

from analysis.factories import make_record, write
from analysis.views import folder_of, said
from common.analysis.comparing.groups import compare_runs
from common.analysis.comparing.one_change import ladder_of
from common.analysis.sections.campaign_sections import ladder_section
from common.analysis.sections.changes import changed
from common.records import Failure


def runs(seconds, times=3, batch=16, losses=(2.0, 1.0), **config):
    made = []
    for number in range(times):
        command = f"python 02_baseline_single_gpu.py --batch-size {batch} --anatomy-steps 0"
        seconds_now = seconds * (1 + 0.002 * number)
        record = make_record("single", 1, seconds_now, per_device_batch=batch, config=config, command=command)
        for epoch, loss in zip(record.epochs, losses, strict=True):
            epoch.mean_loss = loss
        made.append(record)
    return made


def lost(**config):
    failure = Failure(kind="out_of_memory", rank=0, message="no room", advice="-")
    (record,) = runs(0.5, 1, **config)
    return record.model_copy(update={"status": "failed", "failure": failure, "ranks": [], "epochs": []})


BF16 = {"precision": "bf16"}


def ladder_records(at_first_batch=(2.0, 1.05)):
    """bf16 pays, channels_last does not, twice the batch pays, compiling fails, the optimizer makes no difference."""
    records = [
        *runs(0.5),
        *runs(0.25, **BF16),
        *runs(0.30, **BF16, memory_format="channels_last"),
        *runs(0.40, batch=32, **BF16),
        *runs(0.40, batch=32, fused_optimizer=True, **BF16),
        lost(batch=32, compile=True, **BF16),
    ]
    return [*records, *runs(0.25, 1, losses=at_first_batch, fused_optimizer=False, seed=1, **BF16)]


def judged(records):
    folder = folder_of(*records)
    return ladder_of(compare_runs(folder).configurations, folder.runs)


def test_rungs_stand_where_they_pay():
    result = judged(ladder_records())
    sentences = [(said([changed(trial.fact, trial.values)])[0], trial.outcome) for trial in result.trials]
    assert sentences == [
        ("precision: ieee-fp32 → bf16", "kept"),
        ("memory format: channels_first → channels_last", "slower"),
        ("per-device batch: 16 → 32", "kept"),
        ("fused optimizer: no → yes", "no_difference"),
        ("compiled: no → yes", "failed"),
    ]
    section = ladder_section(result)
    assert section.commands == ["python 02_baseline_single_gpu.py --batch-size 32"]
    _, beside, _ = section.contents
    *_, everywhere = beside.contents[-1].contents
    assert everywhere.commands == ["torchrun --standalone --nproc_per_node=2 04_ddp_training.py --batch-size 32"]
    lines = said(section.brief)
    assert lines[0].startswith("Step by step, one device climbs from 32.0 samples/s to 79.9 samples/s: 2.50 times")
    assert lines[-1] == "compiled: no → yes did not run: no room"


@pytest.mark.parametrize(
    ("losses", "begins"),
    [((2.0, 1.05), "The top rung's switches train"), ((2.0, 1.5), "Doubts about the top rung"),
     ((2.0, None), "Whether the top rung's loss falls")],
)  # fmt: skip
def test_the_top_rung_must_train_as_the_first_one_does(losses, begins):
    assert said(ladder_section(judged(ladder_records(losses))).brief)[1].startswith(begins)


def test_a_rung_is_measured_by_the_rounds_that_had_both():
    """Each trial runs again beside the next one, when the machine may be slower: these runs do not count."""
    first = [runs(0.5 * drift, 1) + runs(0.25 * drift, 1, **BF16) for drift in (1, 1.2, 1.4)]
    then = [runs(0.5, 1, **BF16) + runs(0.4, 1, **BF16, memory_format="channels_last") for _ in range(3)]
    precision, memory = judged([record for one in [*first, *then] for record in one]).trials
    assert (precision.quotient.value, memory.quotient.value) == (pytest.approx(2, 0.02), pytest.approx(1.25, 0.02))
    low, high = precision.quotient.interval
    assert high / low < 1.05  # the drift is in both runs of a round


def test_two_runs_are_too_few_to_keep_a_rung():
    start, few = runs(0.5), runs(0.25, 2, **BF16)
    many = [*runs(0.2, compile=True), *runs(0.1, compile=True, fused_optimizer=True)]
    result = judged([*start, *few, *many])
    assert [trial.outcome for trial in result.trials] == ["too_few_runs", "kept", "kept"]
    assert judged([*start, *few, *many[:2]]) is None


def test_batches_alone_or_one_switch_are_no_ladder():
    assert judged([*runs(0.5), *runs(0.9, batch=32), *runs(1.7, batch=64)]) is None
    assert judged([*runs(0.5), *runs(0.25, **BF16)]) is None
    assert judged([*runs(0.5), *runs(0.2, compile=True, **BF16)]) is None


def test_console_page_and_figure(tmp_path, compare):
    done = compare(write(tmp_path / "results", *ladder_records()), "--generate-plots")
    assert done.returncode == 0, done.stderr
    assert "The ladder: the fastest way to train on one device" in done.stdout
    assert "\npython 02_baseline_single_gpu.py --batch-size 32\n" in done.stdout
    page = (tmp_path / "report.html").read_text()
    assert "no measurable effect: dropped" in page
    assert (tmp_path / "results" / "plots" / "all_ladder.png").exists()
