"""The scripts of cluster/, run by a Slurm on this machine (two slurmd): what jobs print, record and end with.

What is not shown here: real GPUs under Slurm, cgroups (`ConstrainDevices`), nodes that are machines apart.
"""

import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import pytest
from conftest import records_in
from one_machine_slurm import ENDED, missing_programs, one_machine_slurm, wait_until

from common.setup.environments import STAMP

pytestmark = pytest.mark.timeout(900)  # a job starts torch more than once, on cores that others use, too

ROOT = Path(__file__).parents[2]
DDP, LAB = "cluster/ddp_multi_node.sbatch", "cluster/lab.sbatch"
TRAINING = [
    "--model",
    "squeezenet1_1",
    "--image-size",
    "32",
    "--batch-size",
    "4",
    "--samples-per-epoch",
    "32",
    "--anatomy-steps",
    "0",
]
ENDLESS_LAB = ["MODEL=squeezenet1_1", "BATCH=4", "SAMPLES=16", "EPOCHS=5000"]


class Job(NamedTuple):
    """A job that has ended."""

    state: str
    exit_code: str
    """As Slurm writes it: the code, and the signal."""
    restarts: str
    output: str
    records: list[dict]


@pytest.fixture(scope="module")
def jobs(once) -> dict[str, Job]:
    """All of them, run beside each other: nothing is timed here."""
    if missing_programs():
        pytest.skip(f"no Slurm can be started here (missing: {', '.join(missing_programs())})")
    return once("slurm", _run_jobs)


def _run_jobs(folder: Path) -> dict[str, Job]:
    one_core, checkpoint = "--cpus-per-task=1", "checkpoints/*/*.pt"
    commands = {
        "requeued": ["--nodes=2", one_core, DDP, *TRAINING, "--epochs", 15],
        "cancelled": ["--nodes=1", one_core, "--gpus-per-node=2", DDP, *TRAINING, "--epochs", 5000],
        "lab": [one_core, LAB, *ENDLESS_LAB],
        "refused": ["--nodes=2", one_core, DDP, *TRAINING, "--epochs", 0],
    }
    with tempfile.TemporaryDirectory() as daemons, one_machine_slurm(Path(daemons)) as slurm:
        labs = {name: _copy_of_lab(folder / name.replace(" ", "-")) for name in commands}
        numbers = {name: slurm.submit(labs[name], *words) for name, words in commands.items()}

        def act(name: str, file: str, *command: object) -> None:
            """Once a job has left such a file."""
            wait_until(lambda: [*labs[name].glob(file)] or slurm.job(numbers[name])["JobState"] in ENDED, file)
            assert [*labs[name].glob(file)], "\n".join(path.read_text() for path in labs[name].glob("*.out"))
            slurm.command(*command, numbers[name])

        act("requeued", checkpoint, "scancel", "--signal=USR1", "--batch")  # what --signal sends before the time limit
        act("cancelled", checkpoint, "scancel")
        act("lab", "results/0[!1]*", "scancel")
        slurm.wait_for_state(numbers["requeued"], "PENDING")
        slurm.command("scontrol", "update", f"jobid={numbers['requeued']}", "StartTime=now")  # else in two minutes
        ended = {name: slurm.wait_for_state(number, *ENDED) for name, number in numbers.items()}
    return {name: _job(ended[name], labs[name]) for name in commands}


def _copy_of_lab(folder: Path) -> Path:
    """A folder to submit from, with results of its own; its .venv runs this very Python."""
    folder.mkdir()
    own = ("Makefile", "cluster", "common", "pyproject.toml", "templates")
    for path in [*ROOT.glob("0*.py"), *map(ROOT.joinpath, own)]:
        (folder / path.name).symlink_to(path)
    programs = folder / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "activate").write_text(f"PATH={programs}:$PATH\n")
    for name, module in {"python": "", "torchrun": "-m torch.distributed.run "}.items():
        (programs / name).write_text(f'#!/bin/sh\nexec {sys.executable} {module}"$@"\n')
        (programs / name).chmod(0o755)
    (folder / ".venv" / STAMP).touch()  # newer than pyproject.toml: nothing is to be installed
    (folder / "results").mkdir()
    return folder


def _job(known: dict[str, str], lab: Path) -> Job:
    output = "\n".join(path.read_text() for path in lab.glob("*.out"))
    return Job(known["JobState"], known["ExitCode"], known["Restarts"], output, records_in(lab / "results"))


def test_a_job_that_is_requeued_goes_on_from_its_checkpoint(jobs):
    job = jobs["requeued"]
    assert (job.state, job.exit_code, job.restarts) == ("COMPLETED", "0:0", "1"), job.output
    assert "The time limit is near: the job goes back into the queue." in job.output
    first, last = job.records
    assert (first["status"], last["status"]) == ("interrupted", "completed")
    assert "ended by SIGTERM" in first["failure"]["message"]
    assert last["resumed"]["epoch"] > 1
    assert [epoch["epoch"] for epoch in last["epochs"]] == list(range(last["resumed"]["epoch"], 16))


def test_ranks_of_two_nodes_meet(jobs):
    for record in jobs["requeued"].records:
        assert (record["world"]["nodes"], record["world"]["processes"]) == (2, 2)


def test_a_cancelled_job_leaves_a_record_that_says_so(jobs):
    job = jobs["cancelled"]
    assert job.state == "CANCELLED"
    (record,) = job.records
    assert (record["status"], record["failure"]["kind"]) == ("interrupted", "interrupted")
    assert "a person or a batch system has ended the job" in record["failure"]["message"]


def test_each_gpu_of_a_node_has_a_rank(jobs):
    """Slurm's own count of them: they are none here, and so share the job's core."""
    (record,) = jobs["cancelled"].records
    assert record["world"]["processes"] == 2


def test_the_lab_uses_the_core_of_the_job_alone(jobs):
    records = jobs["lab"].records
    assert [record["kind"] for record in records] == ["environment", "run"]
    assert [record["environment"]["cpu_cores"] for record in records] == [1, 1]


def test_a_cancelled_lab_leaves_a_record_that_says_so(jobs):
    job = jobs["lab"]
    assert job.state == "CANCELLED"
    assert job.records[-1]["status"] == "interrupted"
    assert "ended by SIGTERM" in job.records[-1]["failure"]["message"]
    assert "stopped by SIGTERM at step 0" in job.output


def test_a_step_that_fails_fails_its_job(jobs):
    job = jobs["refused"]
    assert (job.state, job.exit_code, job.records) == ("FAILED", "1:0", [])
    assert "--epochs" in job.output
