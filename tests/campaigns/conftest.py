"""A folder with tiny scripts in place of the lab's, and a torchrun that just runs one: no test here starts torch."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import run_in_fork

ROOT = Path(__file__).parents[2]
SCRIPTS = {path.name[:2]: path.name for path in ROOT.glob("0?_*.py")}

# Notes how it was started, then does what the file `script.py` beside it says; step 01 also leaves its record.
FAKE = """
import json, os, signal, sys, time
from pathlib import Path
step = Path(sys.argv[0]).name[:2]
with open("log", "a") as log:
    place = json.loads(os.environ.get("LAB_LAUNCH", "null"))
    print(json.dumps({"step": step, "arguments": sys.argv[1:], "omp": os.environ.get("OMP_NUM_THREADS"),
                      "place": place}), file=log)
launch = sum(json.loads(line)["step"] == step for line in open("log"))
if step == "01":
    Path(f"results/01_environment-{time.time_ns()}.json").write_text(Path("environment.json").read_text())
print(f"output of {step}", flush=True)
exec(Path("script.py").read_text())
"""
FAKE_TORCHRUN = """
import runpy, sys
while sys.argv[1].startswith("--"):
    del sys.argv[1]
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


# Planted, the fake scripts leave records as the real ones do, with the command that made them. Before it stand
# `too_large`, at which batch a step is out of memory, and `faster`, how many times as fast its arguments make it; this
# launch's own factor may stand there, too.
LEAVES_RECORDS = """
if step in ("02", "03", "04"):
    record = json.loads(Path("example.json").read_text())
    words = [Path(sys.argv[0]).name, *sys.argv[1:]]
    start = "torchrun --standalone --nproc_per_node=2" if step == "04" else "python"
    batch = int(words[words.index("--batch-size") + 1]) // (2 if step == "03" else 1)
    now = str(time.time_ns())
    method = {"02": "single", "03": "dp", "04": "ddp"}[step]
    record |= {"command": f"{start} {' '.join(words)}", "run_id": now, "started_at": now, "launch": place,
               "step": step, "method": method}
    if faster:
        factor = faster(words) if callable(faster) else faster
        for rank in record["ranks"]:
            rank["step_seconds"] = [one / factor for one in rank["step_seconds"]]
    lost = batch >= too_large.get(step, 10**9)
    if lost:
        failure = {"kind": "out_of_memory", "rank": 0, "message": "-", "advice": "-"}
        record |= {"status": "failed", "failure": failure, "ranks": [], "epochs": [], "anatomy": None}
    folder = words[words.index("--results-dir") + 1] if "--results-dir" in words else "results"
    Path(f"{folder}/{step}_{time.time_ns()}.json").write_text(json.dumps(record))
    sys.exit(1 if lost else 0)
"""


# A campaign whose scripts are started without site-packages, of which they need none: that is two thirds of their time.
CAMPAIGN = """
from common.campaigns import launcher
from common.campaigns.__main__ import main, start
launcher.STARTERS = {name: [python, "-S", *module] for name, (python, *module) in launcher.STARTERS.items()}
start(main)
"""


@dataclass
class FakeLab:
    """The folder, and what was started in it."""

    folder: Path

    def plant(self, code: str) -> None:
        """Have every fake script run this; it knows its `step` and which `launch` of this step it is."""
        (self.folder / "script.py").write_text(code)

    def environment(self, **parts) -> None:
        """Make a machine of what the fake step 01 will find."""
        (example,) = (ROOT / "results/examples/h100x2").glob("01_*.json")
        record = json.loads(example.read_text())
        record["environment"] |= parts
        (self.folder / "environment.json").write_text(json.dumps(record))

    def start(self, *arguments: str, program: Sequence[str] = ("-m", "common.campaigns"), **more) -> subprocess.Popen:
        """Start a campaign there, in a Python of its own."""
        return subprocess.Popen(
            [sys.executable, *program, *arguments],
            cwd=self.folder,
            env=self.variables(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A shell that runs these tests in the background has them ignore Ctrl-C, and so would their children.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            **more,
        )

    def run(self, *arguments: str) -> subprocess.CompletedProcess:
        """Run a campaign there, to its end, forked from a process that has imported what it imports."""
        program = self.folder / "campaign.py"
        program.write_text(CAMPAIGN)
        return run_in_fork("analysis", [str(program), *arguments], env=self.variables(), cwd=str(self.folder))

    def variables(self) -> dict[str, str]:
        """The environment of whatever runs there."""
        kept = {name: value for name, value in os.environ.items() if name not in ("OMP_NUM_THREADS", "MAKEFLAGS")}
        return kept | {"PYTHONPATH": f"{self.folder}:{ROOT}"}

    @property
    def log(self) -> list[dict]:
        """Every launch so far."""
        log = self.folder / "log"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    @property
    def steps(self) -> list[str]:
        """The steps that were started, in order."""
        return [launch["step"] for launch in self.log]


@pytest.fixture
def fake_lab(tmp_path):
    """A `FakeLab` on two CPU cores in which every script succeeds."""
    for script in SCRIPTS.values():
        (tmp_path / script).write_text(FAKE)
    package = tmp_path / "torch" / "distributed"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "run.py").write_text(FAKE_TORCHRUN)
    (tmp_path / "results").mkdir()
    lab = FakeLab(tmp_path)
    lab.plant("")
    lab.environment(gpus=[], cpu_cores=2)
    return lab


@pytest.fixture
def recording_lab(fake_lab):
    """A `FakeLab` whose scripts leave records."""
    (example,) = (ROOT / "results/examples/cpu").glob("02_*63bf.json")
    record = json.loads(example.read_text())
    (fake_lab.folder / "example.json").write_text(example.read_text())
    alike = {name: record["environment"][name] for name in ("hostname", "cpu_model", "torch")}
    fake_lab.environment(gpus=[], cpu_cores=2, **alike)
    fake_lab.plant(f"too_large, faster = {{}}, None{LEAVES_RECORDS}")
    return fake_lab
