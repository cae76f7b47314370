"""How the ranks of step 04 end: with no thread of the process group left, and none waits for another that failed.

The end on a busy machine, where a thread that is left would abort the process, is `benchmarks/parting_soak.py`'s.
"""

import gc
import time
import weakref

import pytest
import torch
import torch.distributed as dist
from conftest import SMALL, planted, records_in, run_script, run_worker
from factories import make_place

from common.records import has_option
from common.training import distributed

DDP = "04_ddp_training.py"

# Registered before what the script registers, so that it runs after that.
THREADS_AT_EXIT = """
import atexit, pathlib
def names():
    return [task.joinpath("comm").read_text().strip() for task in pathlib.Path("/proc/self/task").iterdir()]
atexit.register(lambda: print(f"at exit: {names()}\\n", end=""))
"""


@pytest.mark.skipif(not has_option(torch.__version__, (2, 8)), reason="before torch 2.8 the process ends at once")
def test_no_thread_of_the_group_is_left_when_the_interpreter_ends(tmp_path):
    script = planted(tmp_path, DDP, THREADS_AT_EXIT)
    arguments = [*SMALL, "--batch-size", 8, "--epochs", 1, "--anatomy-steps", 1, "--comm-hook", "fp16"]
    process = run_script(script, *arguments, "--results-dir", tmp_path / "results", ranks=2, finalize=True)
    assert process.returncode == 0, process.stderr
    at_exit = [line for line in process.stdout.splitlines() if line.startswith("at exit:")]
    assert len(at_exit) == 2
    assert not any("gloo" in line for line in at_exit), at_exit
    assert len(records_in(tmp_path / "results")) == 1


def test_an_exchange_that_ends_late_does_not_meet_the_end_of_the_interpreter():
    """It would abort the process ("terminate called without an active exception"); torch 2.11 would wait for good."""
    process = run_worker("late_exchange.py", "none", 0.5, ranks=2, finalize=True)
    assert process.returncode == 0, process.stderr


def test_before_torch_2_8_something_holds_the_group_until_the_process_is_gone(monkeypatch):
    """Else it ends with the model, which waits for the group's threads with the interpreter's lock in its hands."""
    at_exit = []
    monkeypatch.setattr(distributed, "has_option", lambda version, since: False)
    monkeypatch.setattr(distributed.atexit, "register", lambda *call: at_exit.append(call))
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    group = weakref.ref(dist.group.WORLD)
    with distributed.clean_shutdown(make_place()):
        pass
    dist.destroy_process_group()
    gc.collect()
    assert group() is not None
    at_exit.clear()
    gc.collect()
    assert group() is None


@pytest.mark.parametrize(
    ("error", "seconds", "code"),
    [("failure", 0.5, 1), ("failure", 60, 1), ("interrupted", 0.5, 130), ("bad input", 0.5, 2)],
)
def test_a_rank_that_fails_alone_ends_at_once_with_its_own_code(error, seconds, code):
    started = time.monotonic()
    process = run_worker("late_exchange.py", error, seconds, ranks=2, finalize=True)
    assert process.returncode == code, process.stderr
    assert time.monotonic() - started < 40
    assert ("RuntimeError: lost" in process.stderr) == (error == "failure")


@pytest.mark.parametrize("script", ["02_baseline_single_gpu.py", "03_dataparallel_training.py"])
def test_the_loaders_workers_end_with_the_training(tmp_path, script):
    """And not with the interpreter, which would wait five seconds for each of them where they were not forked."""
    code = """
import atexit, gc, multiprocessing
gc.disable()
atexit.register(lambda: print(f"workers at exit: {len(multiprocessing.active_children())}"))
"""
    planted_script = planted(tmp_path, script, code)
    arguments = [*SMALL, "--batch-size", 8, "--workers", 1, "--results-dir", tmp_path / "results"]
    process = run_script(planted_script, *arguments, own_exit=True)
    assert process.returncode == 0, process.stderr
    assert "workers at exit: 0" in process.stdout


def test_a_rank_that_does_not_come_to_the_meeting_is_one_line(tmp_path):
    """It has told the others which device it has, and then it is gone: no backend connects them."""
    code = """
import os, time
import torch.distributed as dist
if os.environ["RANK"] == "1":
    dist.init_process_group = lambda backend, **where: time.sleep(8) or os._exit(0)
"""
    script = planted(tmp_path, DDP, code)
    process = run_script(script, *SMALL, "--batch-size", 8, "--timeout", 3, "--results-dir", tmp_path / "r", ranks=2)
    assert process.returncode == 2, process.stderr
    assert process.stderr.count("error: the ranks cannot meet at 127.0.0.1:") == 1
    assert "Traceback" not in process.stderr
