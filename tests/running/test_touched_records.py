"""What others do to a record, or put in its place, while its run goes on: no epoch is lost, and it is said once."""

import json
import os

import pytest
from conftest import SMALL, environment, planted, records_in, run_script

SINGLE = "02_baseline_single_gpu.py"
AFTER_EPOCH_1 = """
import os
from common.running import measured_run
usual, done = measured_run.keep_unfinished, []
def planted(folder, record):
    usual(folder, record)
    if not done:
        done.append(1)
        (path,) = folder.glob("*.json")
        touch(path)
measured_run.keep_unfinished = planted
def touch(path):
    """
TOUCHES = {
    "cut off": "path.write_text('')",
    "a list": "path.write_text('[]')",
    "another failure": 'path.write_text(\'{"failure": {"kind": "x"}}\')',
    "nested too deep": "path.write_text('[' * 100_000)",
    "no text": "path.write_bytes(b'\\xff')",
    "ended by an editor": "path.write_text(path.read_text().replace('\"unfinished\"', '\"exception\"'))",
    "removed": "path.unlink()",
    "removed with its folder": "path.unlink(); path.parent.rmdir()",
    "a folder": "path.unlink(); path.mkdir()",
    "a pipe": "path.unlink(); os.mkfifo(path)",
    "a link": "path.unlink(); (path.parent.parent / 'victim').write_text('mine'); "
    "path.symlink_to(path.parent.parent / 'victim')",
}


@pytest.mark.parametrize("touch", TOUCHES)
def test_a_record_that_is_touched_costs_no_epoch(tmp_path, touch):
    script = planted(tmp_path, SINGLE, AFTER_EPOCH_1 + TOUCHES[touch])
    results = tmp_path / "results"
    process = run_script(script, *SMALL, "--epochs", 3, "--batch-size", 32, "--results-dir", results, timeout=60)
    assert process.returncode == 0, process.stderr
    (path,) = [path for path in results.iterdir() if path.is_file()]
    record = json.loads(path.read_text())
    assert (record["status"], len(record["epochs"]), record["run_id"]) == ("completed", 3, path.stem)
    assert process.stderr.count("was changed by others") == 1
    assert str(path) in process.stdout
    if touch == "a link":
        assert not path.is_symlink()
        assert (tmp_path / "victim").read_text() == "mine"


def test_a_record_that_nobody_may_read_costs_no_epoch(tmp_path):
    """Nor does a disk that gives errors: what the run has written it need not read."""
    code = """
from pathlib import Path
usual = Path.read_bytes
def read_bytes(path):
    if path.suffix == ".json":
        raise OSError(5, "Input/output error")
    return usual(path)
Path.read_bytes = read_bytes
"""
    script = planted(tmp_path, SINGLE, code)
    process = run_script(script, *SMALL, "--batch-size", 32, "--results-dir", tmp_path / "results")
    assert process.returncode == 0, process.stderr
    assert [record["status"] for record in records_in(tmp_path / "results")] == ["completed"]
    assert process.stderr == ""


def test_a_spare_record_follows_no_link(full_disk, short_folder, tmp_path):
    """The results disk is full, and somebody has put a link where the record was saved in the past."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    code = f"""
import os, tempfile
from common.running import recording
usual = recording.write_record
def planted(folder, record):
    os.symlink({str(victim)!r}, os.path.join(tempfile.gettempdir(), record.run_id + ".json"))
    return usual(folder, record)
recording.write_record = planted
"""
    script = planted(tmp_path, SINGLE, code)
    arguments = [*SMALL, "--batch-size", 32, "--results-dir", full_disk]
    process = run_script(script, *arguments, env=environment(TMPDIR=str(short_folder)))
    assert process.returncode == 2
    assert victim.read_text() == "mine"
    (folder,) = [path for path in short_folder.iterdir() if path.is_dir()]
    assert folder.stat().st_mode & 0o777 == 0o700
    (spare,) = folder.iterdir()
    assert json.loads(spare.read_text())["status"] == "completed"
    assert str(spare) in process.stderr


def test_sigterm_is_torchruns_only_under_torchrun(tmp_path):
    code = """
import signal
usual = train_step
def dying(training, batches, *more):
    if more:
        return usual(training, batches, *more)
    os.kill(os.getpid(), signal.SIGTERM)
    return usual(training, batches)
train_step = dying
"""
    script = planted(tmp_path, SINGLE, "import os" + code)
    process = run_script(script, *SMALL, "--batch-size", 32, "--results-dir", tmp_path / "results")
    assert process.returncode == 130
    (record,) = records_in(tmp_path / "results")
    assert "SIGTERM" in record["failure"]["message"]
    assert "torchrun" not in record["failure"]["message"]
    assert os.listdir(tmp_path / "results") == [f"{record['run_id']}.json"]
