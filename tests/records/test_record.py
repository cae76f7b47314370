import pytest
from conftest import records_in
from pydantic import ValidationError

from common.records import Record


@pytest.fixture
def record(small_lab):
    folder, _ = small_lab
    return next(record for record in records_in(folder) if record["step"] == "04")


def test_a_record_survives_the_round_trip(record):
    assert Record.model_validate_json(Record.model_validate(record).model_dump_json()).model_dump() == record


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema_version": 2}, "schema_version"),
        ({"surprise": 1}, "surprise"),
        ({"method": "horovod"}, "method"),
        ({"epochs": []}, "step times"),
        ({"ranks": []}, "without epochs"),
        ({"failure": {"kind": "hang", "rank": 0, "message": "-", "advice": "-"}}, "a completed run with a failure"),
    ],
)
def test_a_record_of_another_shape_is_refused_with_the_reason(record, change, said):
    with pytest.raises(ValidationError, match=said):
        Record.model_validate(record | change)


def test_epochs_that_do_not_follow_each_other_are_refused(record):
    epochs = [epoch | {"epoch": 1} for epoch in record["epochs"]]
    assert len(epochs) > 1
    with pytest.raises(ValidationError, match="epochs that do not follow each other"):
        Record.model_validate(record | {"epochs": epochs})


@pytest.mark.parametrize("seconds", [-0.1, float("nan"), float("inf")])
def test_impossible_times_are_refused(record, seconds):
    record["ranks"][0]["step_seconds"][0] = seconds
    with pytest.raises(ValidationError, match="step_seconds"):
        Record.model_validate(record)


def with_steps(record: dict, *ranks: list[float], steps_per_epoch: int) -> Record:
    """The record with these step times, one list a rank, 100 samples an epoch."""
    epochs = len(ranks[0]) // steps_per_epoch
    changes = {"steps": steps_per_epoch, "samples": 100}
    traces = [
        {
            **record["ranks"][0],
            "rank": number,
            "step_seconds": steps,
            "data_wait_seconds": [0.0] * len(steps),
            "host_epoch_seconds": [1.0] * epochs,
            "core_wait_seconds": [0.0] * epochs,
            "steal_seconds": [0.0] * epochs,
            "busy_core_seconds": [0.5] * epochs,
            "samples": [50] * epochs,
            "checksums": ["0" * 16] * epochs,
        }
        for number, steps in enumerate(ranks)
    ]
    one, world = record["epochs"][0], record["world"] | {"devices": len(ranks), "processes": len(ranks)}
    return Record.model_validate(
        record | {"world": world, "ranks": traces, "epochs": [one | changes | {"epoch": e + 1} for e in range(epochs)]}
    )


def test_throughput_is_a_ratio_of_sums(record):
    uneven = with_steps(record | {"loader_runs_on": True}, [1.0, 1.0, 4.0, 4.0], steps_per_epoch=2)
    assert uneven.epoch_seconds == [2.0, 8.0]
    assert uneven.throughput == pytest.approx(200 / 10)  # the mean of the rates would be 31.25


def test_older_records_speeds_leave_out_each_epochs_first_step(record):
    older = with_steps(record | {"loader_runs_on": False}, [9.0, 1.0, 1.0, 7.0, 2.0, 2.0], steps_per_epoch=3)
    assert older.is_steady == [False, True, True] * 2
    global_batch = older.config.global_batch_size
    assert older.throughput == pytest.approx((200 - 2 * global_batch) / 6)
    assert older.epoch_seconds == [11.0, 11.0]
    newer = older.model_copy(update={"loader_runs_on": True})
    assert newer.throughput == pytest.approx(200 / 22)


def test_an_epoch_of_one_step_keeps_it(record):
    older = with_steps(record | {"loader_runs_on": False}, [5.0, 3.0], steps_per_epoch=1)
    assert older.throughput == pytest.approx(200 / 8)


def test_an_epoch_of_fewer_samples_than_a_step_has_no_speed(record):
    config = record["config"] | {"global_batch_size": 1000}
    older = with_steps(record | {"loader_runs_on": False, "config": config}, [1.0, 1.0], steps_per_epoch=2)
    assert older.throughput is None


def test_a_step_ends_when_its_slowest_rank_has_ended_it(record):
    taking_turns = with_steps(record, [1.0, 3.0, 1.0], [3.0, 1.0, 1.0], steps_per_epoch=3)
    # 1 + 3 and 3 + 1: both have ended step 2 after 4 seconds
    assert taking_turns.measured_steps == [3.0, 1.0, 1.0]
    assert taking_turns.epoch_seconds == [5.0]


def test_ranks_start_every_epoch_together(record):
    late_once = with_steps(record, [5.0, 1.0], [1.0, 1.0], steps_per_epoch=1)
    assert late_once.measured_steps == [5.0, 1.0]
