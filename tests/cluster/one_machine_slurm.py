"""A Slurm on this machine, for as long as a `with` lasts: munged, slurmctld and two slurmd as two nodes.

Everything that they write lies in one folder, nothing in /etc or /var is used. Each node has two of this machine's
cores, both the same two, and two "GPUs", which are counted and numbered and are none.
"""

import getpass
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scancel", "scontrol", "squeue")
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")

CONFIGURATION = """
ClusterName=lab
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/socket
ProctrackType=proctrack/linuxproc
TaskPlugin=task/affinity
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
SlurmctldParameters=enable_configless
MailProg=/bin/true
GresTypes=gpu
NodeName=lab1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 Gres=gpu:2
NodeName=lab2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 Gres=gpu:2
PartitionName=all Nodes=ALL Default=YES
"""
GPUS = "NodeName=lab[1-2] Name=gpu File=/dev/null\nNodeName=lab[1-2] Name=gpu File=/dev/zero\n"


def missing_programs() -> list[str]:
    """What a one-machine Slurm needs and this machine lacks (Debian: `apt-get install slurm-wlm munge`)."""
    missing = [name for name in PROGRAMS if not shutil.which(name, path=PATH)]
    return missing or (["two cores"] if len(os.sched_getaffinity(0)) < 2 else [])


class Slurm:
    """Its commands."""

    def __init__(self, folder: Path) -> None:
        self.environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": PATH}

    def command(self, *words: object, cwd: Path | None = None) -> str:
        """Run one of Slurm's commands; its output. Raises AssertionError where it fails."""
        how = {"cwd": cwd, "env": self.environment, "capture_output": True, "text": True}
        done = subprocess.run([*map(str, words)], **how)
        assert done.returncode == 0, f"{done.args}: {done.stderr}"
        return done.stdout

    def submit(self, folder: Path, *words: object) -> int:
        """Submit a job from a folder; its number."""
        return int(self.command("sbatch", "--parsable", *words, cwd=folder))

    def job(self, number: int) -> dict[str, str]:
        """What Slurm knows of a job: JobState, ExitCode, Restarts, …"""
        return dict(re.findall(r"(\w+)=(\S+)", self.command("scontrol", "show", "job", number, "-o")))

    def wait_for_state(self, number: int, *states: str, seconds: float = 400) -> dict[str, str]:
        """What is known of a job once it is in one of these states."""
        wait_until(lambda: self.job(number)["JobState"] in states, f"job {number} to be {states}", seconds)
        return self.job(number)


def wait_until(is_so: Callable[[], object], what: str, seconds: float = 400) -> None:
    """Raises AssertionError where something does not become so in time."""
    until = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.2)


@contextmanager
def one_machine_slurm(folder: Path) -> Iterator[Slurm]:
    """`folder`: a short path, for a socket lies in it. No daemon is left when the `with` ends."""
    with ExitStack() as sockets:
        free = [sockets.enter_context(socket.socket()) for _ in range(3)]
        for one in free:
            one.bind(("127.0.0.1", 0))
        ports = [one.getsockname()[1] for one in free]
    known = {"folder": folder, "host": socket.gethostname(), "user": getpass.getuser(), "ports": ports}
    (folder / "slurm.conf").write_text(CONFIGURATION.format(**known))
    (folder / "gres.conf").write_text(GPUS)
    (folder / "cgroup.conf").write_text("CgroupAutomount=no\n")
    (folder / "state").mkdir()
    (folder / "key").write_bytes(os.urandom(1024))
    (folder / "key").chmod(0o400)
    munge = [f"--{name}={folder}/{value}" for name, value in
             {"socket": "socket", "key-file": "key", "log-file": "munged.log", "pid-file": "munged.pid",
              "seed-file": "munged.seed"}.items()]  # fmt: skip
    slurm = Slurm(folder)
    daemons: list[subprocess.Popen] = []

    def start(*words: str) -> None:
        log = open(folder / f"{words[0]}-{len(daemons)}.out", "w")  # noqa: SIM115
        daemons.append(subprocess.Popen(words, env=slurm.environment, stdout=log, stderr=log))

    try:
        start("munged", "--foreground", "--force", *munge)
        wait_until((folder / "socket").exists, "munged", 30)
        start("slurmctld", "-D")
        for node in ("lab1", "lab2"):
            start("slurmd", "-D", "-N", node)
        wait_until(lambda: _idle_nodes(slurm) == 2, f"both nodes (logs are in {folder})", 60)
        try:
            yield slurm
        finally:  # jobs would outlive their daemons
            slurm.command("scancel", "--user", getpass.getuser())
            wait_until(lambda: not slurm.command("squeue", "--noheader"), "the end of all jobs", 60)
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
        for daemon in daemons:
            daemon.wait(timeout=60)


def _idle_nodes(slurm: Slurm) -> int:
    try:
        return slurm.command("scontrol", "show", "nodes", "-o").count("State=IDLE ")
    except AssertionError:  # slurmctld does not answer yet
        return 0
