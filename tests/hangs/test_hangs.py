"""A rank that hangs, and one that fails alone: one sentence says who, where and since when."""

import os
import re
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from conftest import SMALL, TWO_RANKS, environment, planted, records_in, run_script
from factories import make_place

from common.hangs import hang_watch
from common.records import has_option

DDP = "04_ddp_training.py"
RECORDS_GLOO = has_option(torch.__version__, (2, 11))
"""Whether torch's flight recorder is known to know of gloo; that of 2.6 and 2.8 does not."""
AT_STEP_6 = """
import os
usual, done = train_step, []
def planted(training, batches, *more):
    if more:
        return usual(training, batches, *more)
    done.append(1)
    if os.environ["RANK"] == "1" and len(done) == 6:
        act()
    return usual(training, batches)
train_step = planted
"""
STOPS = """
def act():
    import signal
    os.kill(os.getpid(), signal.SIGSTOP)
"""
LOOPS = """
def act():
    import time
    while True: time.sleep(0.001)  # a core's time is the other rank's, and other tests'
"""


def test_a_stopped_rank_is_named_and_nothing_is_left(tmp_path):
    """Under torchrun itself: the sentence is the last line on the console."""
    script = planted(tmp_path, DDP, AT_STEP_6 + STOPS)
    arguments = [*SMALL, "--batch-size", 8, "--timeout", 10, "--results-dir", tmp_path / "results"]
    env = environment(TMPDIR=str(tmp_path))
    process = run_script(script, *arguments, env=env, ranks=2, torchrun=TWO_RANKS)
    assert process.returncode == 1
    last = process.stderr.rstrip().splitlines()[-1]
    line = script.read_text()[: script.read_text().index("os.kill(")].count("\n") + 1
    start = rf"^hang: rank 1 is stopped .*, at {script.name}:{line} in act; rank 0 waits for it in "
    waits = (
        r"gloo:\S+ .* since .* UTC, \d+ s" if RECORDS_GLOO else "an exchange that torch's flight recorder does not know"
    )
    assert re.search(rf"{start}{waits}, at 04_ddp_training.py:\d+ in train_step$", last), process.stderr
    (record,) = records_in(tmp_path / "results")
    assert (record["status"], record["failure"]["kind"], record["failure"]["rank"]) == ("failed", "hang", 1)
    assert record["failure"]["message"] in last
    assert len(record["epochs"]) == 1
    assert process.left == []
    assert not list(tmp_path.glob("lab-*"))


def test_a_rank_in_an_endless_loop_is_named(tmp_path):
    script = planted(tmp_path, DDP, AT_STEP_6 + LOOPS)
    process = run_script(
        script, *SMALL, "--batch-size", 8, "--timeout", 5, "--results-dir", tmp_path / "results", ranks=2
    )
    assert process.returncode != 0
    (record,) = records_in(tmp_path / "results")
    assert (record["failure"]["kind"], record["failure"]["rank"]) == ("hang", 1)
    assert re.match(r"rank 1 does not come to the exchange, at \S+:\d+ in act; rank 0", record["failure"]["message"])


def test_where_an_exchange_does_not_raise_a_thread_names_the_rank(tmp_path):
    """As over NCCL, with gloo in its place: its own time limit comes 30 s later."""
    silent = "from common.training import distributed\ndistributed.SILENT_BACKENDS = ('gloo',)\n"
    script = planted(tmp_path, DDP, silent + AT_STEP_6 + LOOPS)
    process = run_script(
        script, *SMALL, "--batch-size", 8, "--timeout", 5, "--results-dir", tmp_path / "results", ranks=2
    )
    assert process.returncode != 0
    (record,) = records_in(tmp_path / "results")
    assert (record["failure"]["kind"], record["failure"]["rank"], len(record["epochs"])) == ("hang", 1, 1)
    assert re.search(
        r"^rank 1 does not come to the exchange, at \S+:\d+ in act; rank 0 waits for it in an exchange of gloo's since "
        r"\S+ UTC, \d+ s, at \S+\.py:\d+ in \w+$",
        record["failure"]["message"],
    ), record["failure"]["message"]


def test_a_killed_rank_is_named_by_one_that_hears_no_signal(tmp_path):
    """As a rank over NCCL whose main thread waits for a GPU: SIGTERM, which ends it as the others, is not for it."""
    code = """
from common.training import distributed
distributed.SILENT_BACKENDS = ('gloo',)
import os, signal, time
usual, done = train_step, []
def planted(training, batches, *more):
    if more:
        return usual(training, batches, *more)
    done.append(1)
    if len(done) == 6:
        if os.environ["RANK"] == "1":
            os.kill(os.getpid(), signal.SIGKILL)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        time.sleep(100)
    return usual(training, batches)
train_step = planted
"""
    script = planted(tmp_path, DDP, code)
    flags = [*SMALL, "--batch-size", 8, "--results-dir", tmp_path / "results"]
    process = run_script(script, *flags, ranks=2, timeout=90)
    assert process.returncode != 0
    (record,) = records_in(tmp_path / "results")
    assert (record["failure"]["kind"], record["failure"]["rank"], len(record["epochs"])) == ("communication", 1, 1)
    assert record["failure"]["message"].startswith("rank 1 was killed")


def test_a_rank_that_fails_alone_in_an_experiment_costs_no_other_number(tmp_path):
    """The time limit is ten minutes: who waited for it would run into this test's."""
    code = """
import os
from common.examining import experiments
usual = experiments.measure_exchange_cost
def failing(*arguments):
    if os.environ["RANK"] == "1":
        raise ValueError("planted")
    return usual(*arguments)
experiments.measure_exchange_cost = failing
"""
    script = planted(tmp_path, DDP, code)
    flags = [*SMALL, "--batch-size", 8, "--anatomy-steps", 2, "--results-dir", tmp_path / "results"]
    process = run_script(script, *flags, ranks=2, timeout=100)
    assert process.returncode == 0, process.stderr
    (record,) = records_in(tmp_path / "results")
    assert (record["status"], len(record["ranks"]), len(record["epochs"])) == ("completed", 2, 2)
    assert record["anatomy"]["note"].startswith("not measured further: rank ")
    assert [rank["rank"] for rank in record["anatomy"]["ranks"]] == [0, 1]
    assert all(len(rank["phases"]["exchange"]) == 2 for rank in record["anatomy"]["ranks"])


def test_a_killed_rank_is_told_from_one_that_has_parted(tmp_path, monkeypatch):
    """A rank that ends by itself closes its watch; one that was killed cannot."""
    monkeypatch.setattr(hang_watch.tempfile, "gettempdir", lambda: str(tmp_path))
    with subprocess.Popen(["true"]) as gone:
        pass
    devices = make_place()
    devices = replace(devices, world=devices.world.model_copy(update={"processes": 2}))
    watch = hang_watch.HangWatch("run", devices, [os.getpid(), gone.pid])
    monkeypatch.setattr(os, "getppid", os.getpid)  # this process's children are the other ranks
    assert watch.folder.stat().st_mode & 0o777 == 0o700
    assert watch.killed().rank == 1
    with monkeypatch.context() as without_proc:  # as on macOS
        without_proc.setattr(hang_watch, "state_and_parent", lambda pid: ("", 0))
        assert watch.killed().rank == 1
        without_proc.setattr(os, "kill", lambda pid, number: None)  # it is there: nothing tells whether it has ended
        assert watch.killed() is None
    (watch.folder / "1.stack").unlink()
    assert watch.killed() is None
    watch.close()
    assert not watch.folder.exists()


def test_a_rank_that_parts_before_another_has_come_leaves_it_the_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(hang_watch.tempfile, "gettempdir", lambda: str(tmp_path))
    devices = make_place()
    first = replace(devices, world=devices.world.model_copy(update={"processes": 2}))
    made: list = []

    # Rank 0's folder, on its way to rank 1, which is done with it before rank 0 goes on.
    def sent(folder):
        made.append(folder or made[0])
        if folder:
            hang_watch.HangWatch("run", replace(first, rank=1), [os.getpid()] * 2).close()
        return made[0]

    monkeypatch.setattr(hang_watch, "from_rank_0", sent)
    watch = hang_watch.HangWatch("run", first, [os.getpid()] * 2)
    watch.close()
    assert not made[0].exists()


def test_notes_are_left_in_no_folder_that_others_have_prepared(tmp_path, monkeypatch):
    monkeypatch.setattr(hang_watch.tempfile, "gettempdir", lambda: str(tmp_path))
    (tmp_path / "lab-run").mkdir()
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "lab-run" / "0.stack").symlink_to(tmp_path / "victim")
    devices = make_place()
    devices = replace(devices, world=devices.world.model_copy(update={"processes": 2}))
    watch = hang_watch.HangWatch("run", devices, [os.getpid(), os.getpid()])
    assert watch.folder != tmp_path / "lab-run"
    assert (tmp_path / "victim").read_text() == "mine"
    watch.close()


IN_PIECES = """
import signal, sys, time
def answer(*_):
    with open(sys.argv[1], "w") as stack:
        print('Stack (most recent call first):\\n  File "/lib/python3/time.py", line 9 in f', file=stack, flush=True)
        time.sleep(0.5)
        print('  File "mine.py", line 7 in act', file=stack, flush=True)
    sys.exit()
signal.signal(signal.SIGUSR2, answer)
print("listens", flush=True)
while True:
    time.sleep(1)
"""


NOT_BY_THE_MAIN_THREAD_YET = """
import faulthandler, signal, sys, threading, time
faulthandler.register(signal.SIGUSR2, file=open(sys.argv[1], "w"), all_threads=False, chain=True)
def elsewhere():
    time.sleep(100)
def act():
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR2])
threading.Thread(target=elsewhere, daemon=True).start()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
print("listens", flush=True)
time.sleep(0.5)
act()
"""


@pytest.mark.parametrize("has_proc", [True, False])
@pytest.mark.parametrize(
    ("code", "place"),
    [
        pytest.param(IN_PIECES, "mine.py:7 in act", id="a stack that comes in pieces is read to its end"),
        pytest.param(NOT_BY_THE_MAIN_THREAD_YET, "<string>:7 in act", id="the main thread is asked, and no other"),
    ],
)
def test_a_rank_is_asked_for_its_place(tmp_path, monkeypatch, code, place, has_proc):
    folder = tmp_path / "lab-run"
    monkeypatch.setattr(hang_watch.tempfile, "mkdtemp", lambda prefix: str(folder))
    monkeypatch.setattr(os, "getppid", os.getpid)  # this process's children are the other ranks
    here = make_place()
    here = replace(here, world=here.world.model_copy(update={"processes": 2}))
    command = [sys.executable, "-c", code, str(folder / "1.stack")]
    folder.mkdir()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as rank_1:
        rank_1.stdout.readline()
        watch = hang_watch.HangWatch("run", here, [os.getpid(), rank_1.pid])
        if not has_proc:  # as on macOS
            monkeypatch.setattr(hang_watch, "state_and_parent", lambda pid: ("", 0))
            monkeypatch.setattr(hang_watch, "sleep", lambda seconds: rank_1.poll())  # torchrun reads how it has ended
        told = watch.blame([1], "rank 0 waits").message
    assert told == f"rank 1 does not come to the exchange, at {place}; rank 0 waits"
    watch.close()
