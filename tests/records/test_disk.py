"""Records on the disk: who may replace what."""

import errno
import json
import os
import tempfile
import time

import pytest
from analysis.factories import make_record

from common.errors import UsageError
from common.records import Failure, Record, disk
from common.records.disk import (
    check_writable,
    is_final,
    keep_unfinished,
    record_in,
    record_path,
    write_bytes,
    write_record,
    write_whole,
)

UNFINISHED = Failure(kind="unfinished", rank=0, message="-", advice="-")
LOST = Failure(kind="communication", rank=0, message="-", advice="-")


def by_another_rank(folder, record):
    """As another process writes it: this one does not know of it."""
    path = record_path(folder, record.run_id)
    path.write_text(record.model_dump_json())
    return path


def test_equal_run_ids_cost_neither_record(tmp_path):
    theirs = by_another_rank(tmp_path, make_record(run_id="same", seed=1))
    before = theirs.read_text()
    mine = make_record(run_id="same", seed=2)
    keep_unfinished(tmp_path, mine.model_copy(update={"status": "interrupted", "failure": UNFINISHED}))
    path = write_record(tmp_path, mine)
    assert theirs.read_text() == before
    assert (path.name, json.loads(path.read_text())["run_id"]) == ("same-2.json", "same-2")
    assert sorted(os.listdir(tmp_path)) == ["same-2.json", "same.json"]


def test_the_record_of_a_rank_that_failed_alone_stays(tmp_path):
    record = make_record("ddp", 2, run_id="run")
    keep_unfinished(tmp_path, record.model_copy(update={"status": "interrupted", "failure": UNFINISHED}))
    assert not is_final(tmp_path / "run.json")
    cause = Failure(kind="exception", rank=1, message="planted", advice="-")
    path = by_another_rank(tmp_path, record.model_copy(update={"status": "failed", "failure": cause}))
    assert is_final(path)
    keep_unfinished(tmp_path, record.model_copy(update={"status": "interrupted", "failure": UNFINISHED}))
    assert write_record(tmp_path, record.model_copy(update={"status": "failed", "failure": LOST})) is None
    assert json.loads(path.read_text())["failure"]["message"] == "planted"


def test_of_two_ranks_that_fail_at_once_one_writes(tmp_path, monkeypatch):
    """The other comes a moment later: it has looked, and seen nothing yet."""
    record = make_record("ddp", 2, run_id="together")
    failed = record.model_copy(update={"status": "failed", "failure": LOST})
    usual, looks = disk._look, []

    def too_early(path):
        looks.append(path)
        if len(looks) == 1:
            by_another_rank(tmp_path, failed)
            return None
        return usual(path)

    monkeypatch.setattr(disk, "_look", too_early)
    assert write_record(tmp_path, failed) is None
    assert [path.name for path in tmp_path.iterdir()] == ["together.json"]


def test_a_completed_record_gives_way_to_no_failure(tmp_path):
    record = make_record("ddp", 2, run_id="run")
    by_another_rank(tmp_path, record.model_copy(update={"status": "failed", "failure": LOST}))
    assert write_record(tmp_path, record) == tmp_path / "run.json"
    assert json.loads((tmp_path / "run.json").read_text())["status"] == "completed"


@pytest.mark.parametrize(
    "content", ["", "[]", '{"failure": {"kind": "x"}}', "null", '{"run_id": "run"}', "[" * 100_000]
)
def test_what_is_no_record_of_this_run_ends_no_run_of_several_ranks(tmp_path, content, capsys):
    record = make_record("ddp", 2, run_id="run")
    keep_unfinished(tmp_path, record.model_copy(update={"status": "interrupted", "failure": UNFINISHED}))
    for _ in range(2):
        (tmp_path / "run.json").write_text(content)
        assert not is_final(tmp_path / "run.json")
        keep_unfinished(tmp_path, record.model_copy(update={"status": "interrupted", "failure": UNFINISHED}))
    assert write_record(tmp_path, record) == tmp_path / "run.json"
    assert json.loads((tmp_path / "run.json").read_text())["status"] == "completed"
    assert capsys.readouterr().err.count("was changed by others") == 1


def aged(path, content="-"):
    path.write_text(content)
    os.utime(path, (time.time() - 7200,) * 2)
    return path


def test_only_parts_of_this_labs_own_dead_processes_are_removed(tmp_path):
    run = "02_single_resnet18_1x8_bf16_20260101T000000Z-ab12.json"
    dead, alive = 2**22 + 1, os.getpid()
    ours = [aged(tmp_path / f".{run}.{dead}.part"), aged(tmp_path / f".checkpoint-0002-000000.pt.{dead}.0a1b2c3d.part")]
    others = [
        aged(tmp_path / ".film.mkv.part"),
        aged(tmp_path / f".notes.json.{dead}.part"),
        aged(tmp_path / f".{run}.{alive}.part"),
        aged(tmp_path / f".{run}.part"),
    ]
    (tmp_path / f".{run}.{dead}.1a1b2c3d.part").write_text("young")
    check_writable(tmp_path)
    assert not any(path.exists() for path in ours)
    assert all(path.exists() for path in others)
    assert (tmp_path / f".{run}.{dead}.1a1b2c3d.part").exists()


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert record_in(tmp_path / "pipe", Record) is None


def test_a_link_in_a_circle_is_an_error_and_stays(tmp_path):
    (tmp_path / "one").symlink_to(tmp_path / "other")
    (tmp_path / "other").symlink_to(tmp_path / "one")
    with pytest.raises(OSError, match="symbolic links"):
        write_bytes(tmp_path / "one", b"")
    assert (tmp_path / "one").is_symlink()


def test_a_half_written_file_that_others_have_put_there_is_not_written_through(tmp_path, monkeypatch):
    """The name of the part cannot be known before, and if it were, it would be refused."""
    monkeypatch.setattr("common.records.disk.secrets.token_hex", lambda count: "0" * 8)
    (tmp_path / "victim").write_text("mine")
    (tmp_path / f".page.{os.getpid()}.00000000.part").symlink_to(tmp_path / "victim")
    with pytest.raises(FileExistsError):
        write_whole(tmp_path / "page", lambda file: file.write(b"new"))
    assert (tmp_path / f".page.{os.getpid()}.00000000.part").is_symlink()
    assert (tmp_path / "victim").read_text() == "mine"


def test_where_the_spare_record_cannot_be_written_either_nothing_is_left(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(disk, "write_whole", full)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(UsageError, match=r"No space left on device.*nor to .*make room and run again"):
        write_record(tmp_path / "results", make_record(run_id="one"))
    assert os.listdir(tmp_path) == ["results"]
