"""Loader workers that are forked from another process than the one that they work for."""

import os
import subprocess
import sys
from time import monotonic, sleep

from conftest import ROOT, run_script

PROGRAM = """
import os, signal, sys
sys.path.insert(0, {root!r})
from common.machine.before_torch import begin_worker, start_fork_server

if __name__ == "__main__":
    start_fork_server()
    from torch.utils.data import DataLoader

    loader = DataLoader(
        range(64), num_workers=2, persistent_workers=True, multiprocessing_context="forkserver",
        worker_init_fn=begin_worker,
    )
    batches = iter(loader)
    next(batches)
    print(*(worker.pid for worker in batches._workers), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""

UNSENT = """
import sys
sys.path.insert(0, {root!r})
from common.machine.before_torch import begin_worker

def unsendable(batch):
    return lambda: batch

if __name__ == "__main__":
    from torch.utils.data import DataLoader

    loader = DataLoader(
        range(64), num_workers=2, collate_fn=unsendable, multiprocessing_context="fork", worker_init_fn=begin_worker
    )
    next(iter(loader))
"""


def test_they_end_with_it_even_if_it_is_killed(tmp_path):
    script = tmp_path / "program.py"
    script.write_text(PROGRAM.format(root=str(ROOT)))
    # What they print to is the pipe read here: it ends, and with it the call, once the last of them is gone.
    process = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    pids = [int(word) for word in process.stdout.split()]
    assert len(pids) == 2, process.stderr
    until = monotonic() + 20
    while monotonic() < until and any(os.path.exists(f"/proc/{pid}") for pid in pids):
        sleep(0.1)
    assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)


def test_what_cannot_be_handed_over_ends_the_worker_and_is_no_endless_wait(tmp_path):
    """As where /dev/shm is full: here a batch that cannot be pickled."""
    script = tmp_path / "program.py"
    script.write_text(UNSENT.format(root=str(ROOT)))
    process = run_script(script, timeout=60)
    assert "RuntimeError: DataLoader worker" in process.stderr
    assert "a loader worker cannot hand over a batch: " in process.stderr
