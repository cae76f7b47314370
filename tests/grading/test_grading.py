"""Ten submissions, made of real records: seven honest ones, and three that are wrong on purpose. A row for each."""

import csv
import json
import os
import shutil
import subprocess
import sys
import zipfile
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from conftest import ROOT

from common.analysis.reading.folder import read_folder
from common.errors import UsageError
from lessons.grading import __main__ as grading
from lessons.grading import hand_in
from lessons.grading.__main__ import Grade, doubts_and_machines, grade
from lessons.grading.exchange_task import mark_exchange
from lessons.grading.hand_in import pack, submissions_in

EXAMPLES = ROOT / "results" / "examples"
AS_GIVEN = (ROOT / "lessons" / "build_your_own_ddp.py").read_text()
FILLED_IN = AS_GIVEN + "\n        for parameter in self.trained:\n            dist.all_reduce(parameter.grad)  # {}\n"
HANDOUT = "DDP will be ____ times as fast, because ____.\n"


class Student:
    """Their folder, from which `pack` makes the zip."""

    number = 0

    def __init__(self, folder: Path, name: str) -> None:
        self.name, self.folder = name, folder / name
        (self.folder / "results").mkdir(parents=True)
        self.answers = self.folder / "answers.md"
        self.answers.write_text(HANDOUT.replace("____", "1.9"))
        self.exchange = self.folder / "exchange.py"
        self.exchange.write_text(AS_GIVEN)

    def runs(self, example: str, pattern: str = "0*.json", factor: float = 1.0, **changes) -> list[Path]:
        """Runs of their own, as the lab would have written them: an example's, some per mille faster or slower, at
        another time. `changes` are of the record; `exchange` that of its settings."""
        written = []
        for path in sorted((EXAMPLES / example).glob(pattern)):
            Student.number += 1
            written.append(self._write(json.loads(path.read_text()), factor, Student.number, dict(changes)))
        assert written
        return written

    def _write(self, record: dict, factor: float, number: int, changes: dict) -> Path:
        later = timedelta(minutes=number)
        started, stamp = (datetime.fromisoformat(record["started_at"]) + later for _ in range(2))
        if record["kind"] == "run":
            factor *= 1 + (number * 37 % 11 - 5) / 1e3 + number / 1e5  # runs differ, and no two are equal
            for rank in record["ranks"]:
                rank["step_seconds"] = [round(factor * seconds, 7) for seconds in rank["step_seconds"]]
                rank["data_wait_seconds"] = [round(factor * seconds, 7) for seconds in rank["data_wait_seconds"]]
                rank["host_epoch_seconds"] = [factor * seconds for seconds in rank["host_epoch_seconds"]]
            record["finished_at"] = (datetime.fromisoformat(record["finished_at"]) + later).isoformat()
            if "exchange" in changes:
                record["config"]["ddp"]["exchange"] = changes.pop("exchange")
            if "parity" in changes:
                record["parity"] |= changes.pop("parity")
            beginning = record["run_id"].rpartition("_")[0] + "_"
        else:
            beginning = "01_environment-"
        record["run_id"] = f"{beginning}{stamp:%Y%m%dT%H%M%SZ}-{number:04x}"
        record["started_at"] = started.isoformat()
        path = self.folder / "results" / f"{record['run_id']}.json"
        path.write_text(json.dumps(record | changes))
        return path

    def pack(self) -> Path:
        return pack(self.name, self.folder / "results", self.answers, self.exchange).resolve()


def changed_in(path: Path, change) -> None:
    """Edit a record as a person would."""
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


WRONG = {"outcome": "failed", "max_relative_error": 0.5}


def make_class(folder: Path) -> dict[str, Path]:
    """The zips of all ten, by name."""
    Student.number = 0
    names = ["Ada", "Ben", "Chris", "Dora", "Emil", "Fei", "Gita", "Hugo", "Ida", "Jan"]
    students = {name: Student(folder, name) for name in names}
    ada_runs = students["Ada"].runs("cpu")
    students["Ben"].runs("h100x2-lab")
    students["Chris"].runs("cpu", "0[124]*.json")
    students["Chris"].answers.write_text(HANDOUT)
    students["Dora"].runs("cpu", "0[123]*.json")
    students["Dora"].runs("cpu", "04*7dae.json", parity=WRONG)
    for name, factor, parity in (("Emil", 0.7, {}), ("Fei", 1.0, {}), ("Gita", 0.7, WRONG)):
        students[name].exchange.write_text(FILLED_IN.format(name))
        for _ in range(3):
            students[name].runs("h200x2-exchanges", "04*29e4.json", 1.0)
            students[name].runs("h200x2-exchanges", "04*29e4.json", factor, exchange="mine", parity=parity)
    students["Hugo"].runs("cpu", "0[12]*.json")
    for path in [path for path in ada_runs if path.name[:2] in ("03", "04")][:3]:
        shutil.copy(path, students["Hugo"].folder / "results")
    students["Ida"].runs("cpu", "0[123]*.json")
    (edited,) = students["Ida"].runs("cpu", "04*7dae.json")

    def faster(record: dict) -> None:
        for rank in record["ranks"]:
            rank["step_seconds"] = [0.8 * seconds for seconds in rank["step_seconds"]]

    changed_in(edited, faster)
    students["Jan"].runs("cpu", "0[1234]*.json")
    zips = {name: student.pack() for name, student in students.items()}
    newest = sorted((students["Jan"].folder / "results").glob("04*"))[-1]
    changed_in(newest, lambda record: record.update(command="python 04_ddp_training.py --batch-size 512"))
    with zipfile.ZipFile(zips["Jan"]) as old:
        content = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(zips["Jan"], "w") as new:
        for name, data in (content | {f"results/{newest.name}": newest.read_bytes()}).items():
            new.writestr(name, data)
    return zips


@pytest.fixture(scope="module")
def graded(tmp_path_factory) -> dict[str, Grade]:
    folder = tmp_path_factory.mktemp("class")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        zips = make_class(folder)
    return {one.student: one for one in grade([*zips.values()])}


LAB = {"02 single × 1": 3, "03 dp × 2": 3, "04 ddp × 2": 3}
EXPECTED = {
    "Ada": {"runs": LAB, "parity_passed": 6, "same_as": {"Hugo": 3}},
    "Ben": {"runs": LAB, "parity_passed": 6},
    "Chris": {"runs": {"02 single × 1": 3, "04 ddp × 2": 3}, "parity_passed": 3, "blanks_left": 2},
    "Dora": {"runs": {"02 single × 1": 3, "03 dp × 2": 3, "04 ddp × 2": 1}, "parity_passed": 3, "parity_failed": 1},
    "Emil": {"runs": {"04 ddp × 2 mine": 3, "04 ddp × 2 per-parameter": 3}, "parity_passed": 6},
    "Fei": {"runs": {"04 ddp × 2 mine": 3, "04 ddp × 2 per-parameter": 3}, "parity_passed": 6},
    "Gita": {"runs": {"04 ddp × 2 mine": 3, "04 ddp × 2 per-parameter": 3}, "parity_passed": 3, "parity_failed": 3},
    "Hugo": {"runs": {"02 single × 1": 3, "03 dp × 2": 3}, "parity_passed": 3, "same_as": {"Ada": 3}},
    "Ida": {"runs": {"02 single × 1": 3, "03 dp × 2": 3, "04 ddp × 2": 1}, "parity_passed": 4},
    "Jan": {"runs": LAB, "parity_passed": 6},
}
USUAL = {"parity_failed": 0, "blanks_left": 0, "same_as": {}, "not_completed": 0, "problem": ""}


@pytest.mark.parametrize("name", EXPECTED)
def test_row(graded, name):
    expected = USUAL | EXPECTED[name]
    assert {field: getattr(graded[name], field) for field in expected} == expected


@pytest.mark.parametrize("name", [name for name in EXPECTED if name not in ("Ida", "Jan")])
def test_honest_records_raise_no_doubt(graded, name):
    assert graded[name].edited == []


def test_step_times_that_were_edited_do_not_add_up(graded):
    first, *others = graded["Ida"].edited
    assert first.startswith("04_ddp_resnet18_2x16")
    assert "epoch 1, rank 0: the steps add up to 1.3" in first
    assert "the clock says 1.6" in first
    assert len(others) == 7  # three epochs of two ranks, and decimals that the lab does not write


def test_what_was_changed_after_packing_is_named(graded):
    (doubt,) = graded["Jan"].edited
    assert doubt.startswith("results/04_ddp_resnet18")
    assert doubt.endswith(".json is not the file that was packed")


def test_checkpoints_are_those_of_the_page(graded):
    assert len(graded["Ada"].checkpoints) == 5
    assert graded["Ada"].checkpoints[0] == (2, 3)  # step 01 has not measured launches there
    assert graded["Chris"].checkpoints[0] == (1, 3)  # and no run of 03


def test_machines_are_told_apart_and_equal_ones_are_linked(graded):
    (cores,), (gpus,) = graded["Ada"].machines, graded["Ben"].machines
    assert graded["Ada"].machines[cores] == f"1 core of AMD EPYC ({cores})"
    assert graded["Ben"].line()["machine"] == f"NVIDIA H100 80GB HBM3 ({gpus})"
    assert cores != gpus
    assert [*graded["Chris"].machines] == [cores]


@pytest.mark.parametrize(
    ("name", "points", "reason"),
    [
        ("Ada", 0, "not filled in"),
        ("Emil", 10, "right gradients; faster"),
        ("Fei", 6, "right gradients; no difference"),
        ("Gita", 0, "wrong gradients (parity failed)"),
    ],
)
def test_parity_and_speed_mark_the_exchange(graded, name, points, reason):
    mark = graded[name].exchange
    assert (mark.points, mark.reason) == (points, reason)


CRASHED = {"parity": None, "status": "failed"}
CRASHED |= {"failure": {"kind": "exception", "rank": 0, "message": "no such name", "advice": "Mend it."}}
ONE_DEVICE = {"parity": {"outcome": "not applicable", "max_relative_error": None}}


@pytest.mark.parametrize(
    ("before", "after", "points", "reason"),
    [
        ([], [{"parity": WRONG}] * 5, 0, "wrong gradients (parity failed in the newest run)"),
        ([], [CRASHED], 0, "unknown gradients (no parity check in the newest run)"),
        ([], [CRASHED | {"status": "interrupted"}, ONE_DEVICE], 10, "right gradients; faster"),
        ([{"parity": WRONG}], [], 10, "right gradients; faster; 1 earlier run did not pass"),
        ([CRASHED, {"parity": WRONG}], [], 10, "right gradients; faster; 2 earlier runs did not pass"),
    ],
)
def test_the_newest_run_stands_for_the_exchange_that_was_handed_in(tmp_path, before, after, points, reason):
    student = Student(tmp_path, "Ada")
    student.exchange.write_text(FILLED_IN.format("Ada"))

    def mine(changes: dict) -> None:
        (path,) = student.runs("h200x2-exchanges", "04*29e4.json", 0.7, exchange="mine")
        parity = changes.get("parity", {})
        changed_in(path, lambda one: one.update(changes, parity=None if parity is None else one["parity"] | parity))

    for changes in before:
        mine(changes)
    for _ in range(3):
        student.runs("h200x2-exchanges", "04*29e4.json")
        mine({})
    for changes in after:
        mine(changes)
    known = read_folder(student.folder / "results")
    assert known.skipped == []
    mark = mark_exchange(known.runs, student.exchange)
    assert (mark.points, mark.reason) == (points, reason)


def test_one_device_proves_no_gradient(tmp_path):
    student = Student(tmp_path, "Ada")
    student.exchange.write_text(FILLED_IN.format("Ada"))
    student.runs("h200x2-exchanges", "04*29e4.json", 0.7, exchange="mine", parity=ONE_DEVICE["parity"])
    known = read_folder(student.folder / "results")
    assert known.skipped == []
    mark = mark_exchange(known.runs, student.exchange)
    assert (mark.points, mark.reason) == (0, "never run with a parity check (make my_exchange)")


def test_a_faster_exchange_has_an_interval(graded):
    low, high = graded["Emil"].exchange.ratio.interval
    assert 1 < low < 1 / 0.7 < high * 1.01


def test_the_front_door_prints_a_table_and_writes_a_csv(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    student = Student(tmp_path, "=Ada")
    student.runs("cpu", "02*63bf.json")
    student.pack()
    (tmp_path / "broken.zip").write_bytes(b"PK")
    (tmp_path / "folder.zip").mkdir()
    os.mkfifo(tmp_path / "fifo.zip")
    command = [sys.executable, "-m", "lessons.grading", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "\n2 submissions: " in done.stdout
    assert "broken: cannot be unpacked (File is not a zip file)" in done.stdout
    first, second = csv.DictReader((tmp_path / "grades.csv").open(encoding="utf-8-sig"))
    assert (first["student"], first["problem"][:18]) == ("broken", "cannot be unpacked")
    assert (second["student"], second["runs"], second["exchange_points"]) == ("'=Ada", "02 single × 1 (1)", "0")


def test_a_copy_beside_ones_own_run_is_anothers_all_the_same(tmp_path, monkeypatch):
    """Under a run_id that is there already step 05 leaves it out; who compares students must not."""
    ada, eve = (Student(tmp_path / "students", name) for name in ("Ada", "Eve"))
    (original,), (own,) = (student.runs("cpu", "02*63bf.json") for student in (ada, eve))
    record = json.loads(original.read_text()) | {"run_id": own.stem}
    (own.parent / "zz_copy.json").write_text(json.dumps(record))
    monkeypatch.chdir(tmp_path)
    of_ada, of_eve = grade([ada.pack(), eve.pack()])
    assert (of_ada.same_as, of_eve.same_as) == ({"Eve": 1}, {"Ada": 1})


def test_the_older_of_two_submissions_is_named_and_is_not_a_copy(tmp_path, monkeypatch):
    """As a learning platform unpacks them, a folder for each."""
    student = Student(tmp_path / "students", "Ada")
    student.runs("cpu", "02*63bf.json")
    dates = iter(["2026-12-02T10:00:00+00:00", "2026-12-01T10:00:00+00:00"])
    monkeypatch.setattr(hand_in, "_now", lambda: next(dates))
    for folder in ("Ada_1", "Ada_2"):
        (tmp_path / folder).mkdir()
        monkeypatch.chdir(tmp_path / folder)
        student.pack()
    newest, older = grade(submissions_in(tmp_path))
    assert (newest.newer, older.newer) == ("", str(tmp_path / "Ada_1" / "submission-Ada.zip"))
    assert (newest.same_as, older.same_as) == ({}, {})


def test_a_student_of_many_doubts_leaves_room_for_the_others():
    one = Grade("Ada", "x.zip", edited=[f"doubt {number}" for number in range(1200)])
    *first, last = doubts_and_machines([one])
    assert first == [f"Ada: doubt {number}" for number in range(5)]
    assert last == "Ada: 1,195 more, all of them in the column edited of the CSV"


def test_answers_that_are_missing_are_not_answers_without_blanks(tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("manifest.json", '{"name": "Ada", "made_at": "", "files": {}}')
    assert grade([path])[0].blanks_left is None


def test_one_submission_is_one(tmp_path):
    (tmp_path / "broken.zip").write_bytes(b"PK")
    command = [sys.executable, "-m", "lessons.grading", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == f"1 submission: {tmp_path}/grades.csv"


@pytest.mark.parametrize("folder", ["no_such_folder", "."])
def test_a_folder_without_submissions_is_one_line(tmp_path, folder):
    command = [sys.executable, "-m", "lessons.grading", str(tmp_path / folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "the folder with the zips that make submit has written" in done.stderr


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({}, "no manifest.json"),
        ({"manifest.json": "{}"}, "is not one that make submit writes"),
        ({"manifest.json": '{"name": "X\\n", "made_at": "", "files": {}}'}, "its name is not one that make submit"),
        ({"manifest.json": '{"name": "X", "made_at": "", "files": {}}', "../evil.json": "{}"}, ""),
    ],
)
def test_what_is_no_submission_costs_its_own_row_alone(tmp_path, content, reason):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in content.items():
            archive.writestr(name, text)
    (one,) = grade([path])
    assert reason in one.problem
    assert not (tmp_path.parent / "evil.json").exists()


def test_a_mistake_of_the_grader_costs_one_row(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = []
    for name, pattern in (("Ada", "02*63bf.json"), ("Ben", "03*7808.json")):
        student = Student(tmp_path, name)
        student.runs("cpu", pattern)
        paths.append(student.pack())
    real = grading.build_report
    monkeypatch.setattr(
        grading, "build_report", lambda known: 1 / 0 if known.runs[0].record.step == "02" else real(known)
    )
    first, second = grade(paths)
    assert first.problem == "this program failed on it (ZeroDivisionError: division by zero)"
    assert (second.student, second.problem, second.parity_passed) == ("Ben", "", 1)


def test_packing_asks_for_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    student = Student(tmp_path, "Ada")
    with pytest.raises(UsageError, match=r"no records in .*make lab"):
        student.pack()
    student.runs("cpu", "02*63bf.json")
    with pytest.raises(UsageError, match='NAME="Ada Lovelace"'):
        pack("  ", student.folder / "results", student.answers, student.exchange)
    student.answers.unlink()
    with pytest.raises(UsageError, match=r"no answers in .*handout\.md"):
        student.pack()


def test_a_name_of_any_script_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    student = Student(tmp_path, "王小明 b/..")
    student.runs("cpu", "02*63bf.json")
    path = student.pack()
    assert path == tmp_path / "submission-王小明-b-...zip"
    assert grade([path])[0].student == "王小明 b/.."


@pytest.mark.parametrize(("given", "name"), [(['NAME=Conan O\'Brien "B12"'], 'Conan O\'Brien "B12"'), ([], "")])
def test_make_passes_the_name_on_as_it_is(tmp_path, given, name):
    """And none that only the environment has: WSL's `NAME` is the computer's."""
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    python.chmod(0o755)
    make = ["make", "--silent", "-C", str(ROOT), "--no-print-directory", f"PYTHON={python}", "submit", *given]
    done = subprocess.run(make, env=os.environ | {"NAME": "WSL"}, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["-m", "common.setup", "-m", "lessons.grading.hand_in", "--name", name]
