"""Two ranks part, many times, on a busy machine: no launch may end in a signal, a wrong exit code, or not at all.

When a rank's interpreter ends while a thread of its process group still wants its lock, the whole process aborts
("terminate called without an active exception"): rarely, and only where cores are scarce. So each launch here runs
beside busy loops, one a core. The ranks are forked from a process that has imported torch (`tests/script_server.py`,
which plays torchrun's part) and leave as any Python does, its own finalisation included.

    python benchmarks/parting_soak.py                       # 200 launches of each job
    python benchmarks/parting_soak.py --jobs 04 --launches 50

Ends with 1 if a launch failed; prints how each one that did ended.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]

STEP_04 = [str(ROOT / "04_ddp_training.py"), "--model", "resnet18", "--image-size", "32", "--samples-per-epoch", "32"]
STEP_04 += ["--epochs", "1", "--batch-size", "8", "--device", "cpu", "--results-dir", "results", "--anatomy-steps"]
JOBS = {
    "04": [*STEP_04, "0"],
    "04-anatomy": [*STEP_04, "4"],
    "worker": [str(ROOT / "tests" / "workers" / "accumulated_steps.py")],
    "late": [str(ROOT / "tests" / "workers" / "late_exchange.py"), "none", "0.5"],
}
RANKS = 2


def busy_loop() -> int:
    """A process that keeps a core busy; its id."""
    pid = os.fork()
    while not pid:
        pass
    return pid


def end_name(code: int) -> str:
    """An exit code, or the name of the signal that ended the process."""
    return str(code) if code >= 0 else signal.Signals(-code).name


def soak(server: subprocess.Popen, job: list[str], launches: int, seconds: int) -> Counter:
    """How many launches ended how; failures are printed as they come."""
    ends: Counter = Counter()
    path = os.pathsep.join(map(str, [ROOT, ROOT / "tests"]))
    order = {"command": job, "env": {**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": path}}
    order |= {"timeout": seconds, "ranks": RANKS, "finalize": True}
    for number in range(1, launches + 1):
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder, "output.txt")
            output.touch()
            where = {"cwd": folder, "stdout": str(output), "stderr": str(output)}
            print(json.dumps(order | where), file=server.stdin, flush=True)
            end = " and ".join(map(end_name, json.loads(server.stdout.readline())))
            ends[end] += 1
            if number % 20 == 0:
                print(f"{number} of {launches} launches: {dict(ends)}", flush=True)
            if end != "0 and 0":
                print(f"launch {number}: {end}\n{output.read_text()[-1500:]}", flush=True)
    return ends


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--launches", type=int, default=200, help="of each job (default: 200)")
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=list(JOBS), help="default: all")
    parser.add_argument("--busy", type=int, default=os.cpu_count(), help="busy loops beside (default: one a core)")
    parser.add_argument("--timeout", type=int, default=120, help="seconds for one launch (default: 120)")
    args = parser.parse_args()
    server = subprocess.Popen(
        [sys.executable, str(ROOT / "tests" / "script_server.py"), "torch"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    loops = [busy_loop() for _ in range(args.busy)]
    failed = False
    try:
        for name in args.jobs:
            started = time.monotonic()
            ends = soak(server, JOBS[name], args.launches, args.timeout)
            failed |= set(ends) != {"0 and 0"}
            print(f"{name}: {dict(ends)} in {time.monotonic() - started:.0f} s", flush=True)
    finally:
        for pid in [*loops, server.pid]:
            os.kill(pid, signal.SIGKILL)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
