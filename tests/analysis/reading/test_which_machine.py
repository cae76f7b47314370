"""Which machine a record comes from, and that a copy is no second run."""

from __future__ import annotations

import pytest

from analysis.factories import make_record, write
from analysis.views import WORDS, groups_of, rows_of, said
from common.analysis.judging.run_checks import check_run
from common.analysis.reading.folder import Folder, read_folder
from common.analysis.reading.runs import summarise
from common.analysis.sections.other_sections import machines, unequal_terms
from common.records import BY_NAME, Gpu, machine_hash, machine_of


def on(machine, hostname="bench", **more):
    return {"environment": {"hostname": hostname, "machine": machine, **more}}


def test_two_machines_of_one_name_are_not_pooled():
    records = [make_record(seed=seed, **on(machine)) for seed, machine in enumerate(["aaa", "bbb", "aaa", "bbb"])]
    rows = rows_of(*records)
    assert {label: len(row.runs) for label, row in rows.items()} == {"One device (a)": 2, "One device (b)": 2}
    (group,) = groups_of(*records)
    assert "machine aaa (One device (a)) and bbb (One device (b))" in said(unequal_terms(group))[0]


def test_machines_are_told_apart_by_their_names_where_these_differ():
    (group,) = groups_of(make_record(**on("aaa", "north")), make_record("ddp", 2, **on("bbb", "south")))
    assert "machine north (One device) and south (DDP × 2)" in said(unequal_terms(group))[0]


def test_a_container_with_a_new_name_each_time_is_one_machine(tmp_path):
    records = [make_record(seed=seed, **on("aaa", hostname)) for seed, hostname in enumerate(["4f1c", "9e02", "77ab"])]
    (row,) = rows_of(*records).values()
    assert len(row.runs) == 3
    assert row.name.letter == ""
    runs = [summarise("run.json", record) for record in records]
    (facts,) = machines(Folder(runs=runs))
    assert ("machine", "aaa") in [(WORDS.text(name), WORDS.text(value).split()[0]) for name, value in facts]


def test_energy_of_a_container_with_a_new_name_each_time_is_counted_by_gpu():
    records = []
    for seed, hostname in enumerate(["4f1c", "9e02", "77ab"]):
        record = make_record("single", 1, kind="cuda", seed=seed, **on("aaa", hostname))
        record.devices[0].host, record.devices[0].energy_joules = hostname, 1000.0
        records.append(record)
    (row,) = rows_of(*records).values()
    assert len(row.device_energy) == 1
    assert row.energy.per_thousand.value == pytest.approx(1000 * 3000 / (3 * 640))


def test_older_records_are_known_by_their_gpus_else_by_name():
    gpus = [Gpu(index=index, name="Example", uuid=f"GPU-{index}") for index in range(2)]
    here = make_record(environment={"gpus": gpus, "hostname": "4f1c"}).environment
    turned = make_record(environment={"gpus": gpus[::-1], "hostname": "9e02"}).environment
    assert machine_of(here) == machine_of(turned) == machine_hash("gpus", "GPU-0", "GPU-1")
    assert machine_of(make_record(environment={"gpus": gpus[:1]}).environment) != machine_of(here)
    named = machine_of(make_record().environment)
    assert named.startswith(BY_NAME)
    for change in ({"hostname": "other"}, {"cpu_model": "Other CPU"}, {"cpu_cores": 4},
                   {"gpus": [Gpu(index=0, name="Example")]}):  # fmt: skip
        assert machine_of(make_record(environment=change).environment) != named


def test_a_load_is_explained_by_a_run_on_the_same_machine_alone(tmp_path):
    before = {"started_at": "2026-01-01T10:00:00+00:00", "finished_at": "2026-01-01T10:01:00+00:00"}
    after = {"started_at": "2026-01-01T10:01:05+00:00", **on("aaa", "9e02", load_average_1min=3.9)}
    for number, (machine, outcome) in enumerate([("aaa", "passed"), ("bbb", "warning")]):
        folder = write(
            tmp_path / str(number), make_record("ddp", 2, **before, **on(machine, "4f1c")), make_record(**after)
        )
        (check,) = [check for check in check_run(read_folder(folder).runs[-1]) if check.id == "load"]
        assert check.outcome == outcome


def test_a_copy_with_another_run_id_is_no_second_run(tmp_path):
    record = make_record("ddp", 2)
    copy = record.model_copy(update={"run_id": "z-another", "started_at": "2026-02-01T00:00:00+00:00"})
    folder = read_folder(write(tmp_path, record, copy, make_record("ddp", 2)))
    assert len(folder.runs) == 2
    (skipped,) = folder.skipped
    assert skipped.file == "z-another.json"
    assert f"the same step times as {record.run_id}.json" in skipped.reason


def test_equal_times_prove_nothing_where_all_are_equal_or_there_are_none(tmp_path):
    constant = [make_record(noise=0) for _ in range(2)]
    ended = {"status": "interrupted", "epochs": [], "ranks": []}
    without = [make_record().model_copy(update=ended) for _ in range(2)]
    assert len(read_folder(write(tmp_path, *constant, *without)).runs) == 4
