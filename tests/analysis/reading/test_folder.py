"""Reading a folder: what is used, and that every kind of bad file is named and survived."""

from __future__ import annotations

import json
import os
import re

import pytest

from analysis.factories import make_environment_record, make_record, write
from common.analysis.reading import folder as folders
from common.analysis.reading.folder import RefusedError, read_folder, read_record
from common.errors import UsageError


def spoil(folder, name, change):
    """Write a record that `change` has spoilt."""
    content = json.loads(make_record().model_dump_json())
    change(content)
    (folder / name).write_text(json.dumps(content))


def reasons(folder):
    return {item.file: item.reason for item in read_folder(folder).skipped}


def test_runs_and_the_newest_environment(tmp_path):
    old = make_environment_record(run_id="old", started_at="2025-01-01T00:00:00+00:00")
    new = make_environment_record(run_id="new", started_at="2026-01-01T00:00:00+00:00")
    late, early = make_record(started_at="2026-02-01"), make_record(started_at="2026-01-01")
    folder = read_folder(write(tmp_path, old, new, late, early))
    assert folder.environment.run_id == "new"
    assert [run.record.run_id for run in folder.runs] == [early.run_id, late.run_id]
    assert not folder.skipped


def test_raw_lists_do_not_pile_up(tmp_path):
    (run,) = read_folder(write(tmp_path, make_record())).runs
    assert run.record.ranks == []
    assert run.seconds_per_sample.value == pytest.approx(0.5 / 16, rel=0.05)


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("future.json", lambda r: r.update(schema_version=7), "schema version 7, this lab reads version 1"),
        ("negative.json", lambda r: r["ranks"][0]["step_seconds"].__setitem__(3, -0.1), "step_seconds.3"),
        ("nan.json", lambda r: r["ranks"][0]["step_seconds"].__setitem__(0, float("nan")), "finite number"),
        ("infinite.json", lambda r: r["ranks"][0]["step_seconds"].__setitem__(0, float("inf")), "finite number"),
        ("short.json", lambda r: r["ranks"][0]["step_seconds"].pop(), "39 step times for 40 steps"),
        ("extra.json", lambda r: r.update(surprise=1), "surprise"),
        ("lacking.json", lambda r: r.pop("config"), "config: Field required"),
        ("zero.json", lambda r: r["ranks"][0].update(step_seconds=[0.0] * 40), "no usable time"),
        ("endless.json", lambda r: r["ranks"][0].update(step_seconds=[1e308] * 40), "step_seconds.0"),
        ("digits.json", lambda r: r["world"].update(devices=10**400), "devices"),
        ("text.json", lambda r: r["config"].update(epochs="2"), "config.epochs"),
        ("true.json", lambda r: r["config"].update(epochs=True), "config.epochs"),
        ("odd.json", lambda r: r["config"].update(accumulation_steps=33), "33 accumulation steps do not divide"),
        ("loss.json", lambda r: r["epochs"][0].update(mean_loss=-1e308), "mean_loss"),
        ("twice.json", lambda r: r["ranks"].append(r["ranks"][0]), "a rank twice"),
        ("devices.json", lambda r: r["world"].update(devices=2), "method single on 2 devices"),
        ("processes.json", lambda r: r["world"].update(processes=2), "method single on 1 devices in 2 processes"),
        ("step.json", lambda r: r.update(step="04"), "method single by step 04, which is that of step 02"),
        (
            "as_dp.json",
            lambda r: r.update(method="dp", step="03") or r["world"].update(devices=2, processes=2),
            "method dp on 2 devices in 2 processes",
        ),
        (
            "as_ddp.json",
            lambda r: r.update(method="ddp", step="04") or r["world"].update(devices=2, processes=2),
            "times of 1 ranks for 2 processes",
        ),
        (
            "parity.json",
            lambda r: r["parity"].update(outcome="passed", max_relative_error=1e9, tolerance=1e-4),
            "parity passed with an error of 1e+09, its tolerance is 0.0001",
        ),
        (
            "quota.json",
            lambda r: r["environment"].update(cpu_quota=0),
            "environment.cpu_quota: Input should be greater",
        ),
        ("items.json", lambda r: r.update(unreadable_files=[0] * 1_000_000), "unreadable_files.0"),
    ],
)
def test_a_bad_record_is_named(tmp_path, name, change, said):
    spoil(tmp_path, name, change)
    assert said in reasons(tmp_path)[name]


@pytest.mark.parametrize("place", ['"method":', '"mean_loss":', '"kind":'])
def test_a_key_that_stands_twice_is_named(tmp_path, place):
    """JSON's readers keep the last one; nobody knows which one the run wrote."""
    text = make_record().model_dump_json()
    start = text.index(place)
    value = text[start : text.index(",", start)]
    (tmp_path / "twice.json").write_text(text.replace(value, f"{value},{value}", 1))
    assert reasons(tmp_path)["twice.json"] == f"the key {place[1:-2]} stands twice in one object: the file was edited"


def test_files_that_are_no_records(tmp_path):
    text = make_record().model_dump_json()
    (tmp_path / "cut.json").write_text(text[: len(text) // 2])
    (tmp_path / "empty.json").write_text("")
    (tmp_path / "foreign.json").write_text('{"name": "something else"}')
    (tmp_path / "list.json").write_text("[1, 2]")
    (tmp_path / "latin.json").write_bytes('{"é": 1}'.encode("latin-1"))
    (tmp_path / "deep.json").write_text("[" * 100_000)
    (tmp_path / "folder.json").mkdir()
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "gone.json").symlink_to(tmp_path / "nowhere")
    (tmp_path / "notes.txt").write_text("not looked at")
    (tmp_path / ".hidden.json").write_text("not looked at")
    (tmp_path / "UPPER.JSON").write_text("looked at")
    said = reasons(tmp_path)
    assert set(said) == {
        f"{name}.json" for name in ["cut", "empty", "foreign", "list", "latin", "deep", "folder", "pipe", "gone"]
    } | {"UPPER.JSON"}
    assert "cut off" in said["cut.json"]
    assert "not a record of this lab" in said["foreign.json"]
    assert said["latin.json"] == "not UTF-8 text"
    assert said["pipe.json"] == said["folder.json"] == said["gone.json"] == "not a file"


def test_a_copy_is_not_a_repeat(tmp_path):
    record = make_record()
    write(tmp_path, record)
    (tmp_path / "z-copy.json").write_text(record.model_dump_json())
    folder = read_folder(tmp_path)
    assert len(folder.runs) == 1
    assert "same run_id" in folder.skipped[0].reason


def test_a_record_of_50_mb_is_read_and_a_larger_limit_holds(tmp_path, monkeypatch):
    text = make_record(steps=50_000, epochs=1, run_id="huge").model_dump_json()
    (tmp_path / "huge.json").write_text(re.sub(r"(\d\.\d+)(?=[,\]])", r"\g<1>" + 500 * "0", text))
    assert (tmp_path / "huge.json").stat().st_size > 50_000_000
    assert len(read_folder(tmp_path).runs) == 1
    monkeypatch.setattr(folders, "MAX_FILE_BYTES", 10_000_000)
    assert "too large" in reasons(tmp_path)["huge.json"]


def test_no_such_folder(tmp_path):
    with pytest.raises(UsageError, match="--results-dir"):
        read_folder(tmp_path / "nowhere")


def test_a_list_full_of_nan_is_refused_at_the_first(tmp_path):
    text = make_record().model_dump_json().replace('"step_seconds":[', '"step_seconds":[' + "NaN," * 1_000, 1)
    (tmp_path / "nan.json").write_text(text)
    with pytest.raises(RefusedError, match="finite") as error:
        read_record(tmp_path / "nan.json")
    assert "more" not in str(error.value)


def test_a_mistake_of_ours_is_not_taken_for_the_files(tmp_path, monkeypatch):
    """Even a ValueError: it names the file, is told apart, and the other files are used."""
    good, bad = make_record(run_id="good"), make_record("ddp", 2, run_id="bad")
    usual = folders.summarise

    def broken(name, record):
        if record.run_id == "bad":
            raise ValueError("two things of different lengths")
        return usual(name, record)

    monkeypatch.setattr(folders, "summarise", broken)
    (tmp_path / "foreign.json").write_text("{}")
    folder = read_folder(write(tmp_path, good, bad))
    assert [run.record.run_id for run in folder.runs] == ["good"]
    by_file = {item.file: item for item in folder.skipped}
    assert by_file["bad.json"].is_our_fault
    assert "ValueError: two things of different lengths (test_folder.py, line" in by_file["bad.json"].reason
    assert not by_file["foreign.json"].is_our_fault
