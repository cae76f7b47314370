"""What a fault is: two commands that a person could type, the files that they need, and how to know its name."""

import os
import pickle
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, Self

from pydantic import TypeAdapter

from common.records import FAULTS_TABLE, FaultNeed
from lessons.fault_lab.acts import ACTS, Act

NAMESPACE = ("unshare", "--map-root-user", "--mount", "--net", "true")


class _Harm:
    """Unpickled, it writes a file: in an attack it would be any program."""

    def __init__(self, target: Path) -> None:
        self._target = target

    def __reduce__(self):
        return Path.touch, (self._target,)


def hostile_checkpoint(scratch: Path) -> None:
    """A file as torch saves it, whose pickle runs code."""
    with zipfile.ZipFile(scratch / "hostile.pt", "w") as parts:
        parts.writestr("archive/data.pkl", pickle.dumps(_Harm(scratch / "harm"), protocol=2))
        parts.writestr("archive/version", "3")


def good_and_bad(scratch: Path, pixels: int = 48) -> None:
    """Two folders, `good` and `bad`, with two classes of images each, of so many pixels a side in `bad`."""
    from PIL import Image

    for folder, size in ((scratch / "good", 48), (scratch / "bad", pixels)):
        random = Random(0)
        for name, channel in (("red", 0), ("green", 1)):
            (folder / name).mkdir(parents=True)
            for number in range(16):
                colour = [random.randrange(64) for _ in range(3)]
                colour[channel] = 255
                Image.new("RGB", (size, size), tuple(colour)).save(folder / name / f"{number:02}.jpg")


def broken_image(scratch: Path) -> None:
    """In `bad` one image is none."""
    good_and_bad(scratch)
    (scratch / "bad" / "red" / "05.jpg").write_bytes(b"no image")


def empty_class(scratch: Path) -> None:
    """In `bad` a third class has no image."""
    good_and_bad(scratch)
    (scratch / "bad" / "blue").mkdir()


PREPARATIONS: dict[str, Callable[[Path], None]] = {
    "hostile_checkpoint": hostile_checkpoint,
    "empty_disk": lambda scratch: (scratch / "disk").mkdir(),
    "broken_image": broken_image,
    "empty_class": empty_class,
    "large_images": lambda scratch: good_and_bad(scratch, 1600),  # as a camera makes them
}


@dataclass(frozen=True)
class Fault:
    """One fault that a learner can cause. Its title and its cure are sentences, `fault.<id>.title` and `.cure`."""

    id: str
    start: str
    """Causes it: for a shell, in the lab's folder. `$SCRATCH` is an empty folder, `$PORT` a free port."""
    cured: str
    """The same, cured."""
    named: str
    """A pattern: the sentence that names the fault has it, and no line of the cured command."""
    prepare: Callable[[Path], None] | None = None
    """Puts into `$SCRATCH` what both commands need."""
    act: Act | None = None
    """What is done to the running command from outside."""
    cured_act: Act | None = None
    needs: tuple[FaultNeed, ...] = ()
    on_gpus: Mapping[str, Any] = field(default_factory=dict)
    """Fields that are others where there are GPUs."""
    limit: float = 120
    """Seconds after which either command is ended."""

    def for_this_machine(self) -> Self:
        """The same, as it is caused here."""
        here = replace(self, **self.on_gpus) if gpus() else self
        if gpus() == 1:  # DP's two replicas share it
            start, cured = (command.replace("--gpus 0,1", "--gpus 0,0") for command in (here.start, here.cured))
            here = replace(here, start=start, cured=cured)
        return here


@cache
def all_faults() -> dict[str, Fault]:
    """Every fault of `faults.toml`, by its id, in the order in which they are caused."""
    tables = tomllib.loads(FAULTS_TABLE.read_text(encoding="utf-8"))
    parts = {"core": str(min(getattr(os, "sched_getaffinity", lambda pid: [0])(0)))}
    for name, text in tables.pop("parts").items():
        parts[name] = text.format_map(parts)
    by_name: dict[str, Mapping[str, Any]] = {"prepare": PREPARATIONS, "act": ACTS, "cured_act": ACTS}
    faults = {}
    for id, fields in tables.items():
        for commands in (fields, fields.get("on_gpus", {})):
            commands |= {name: commands[name].format_map(parts) for name in ("start", "cured") if name in commands}
        fields |= {name: objects[fields[name]] for name, objects in by_name.items() if name in fields}
        faults[id] = TypeAdapter(Fault).validate_python({"id": id, **fields})
    return faults


def missing(fault: Fault) -> FaultNeed | None:
    """The first thing that is not here; None where the fault can be caused."""
    return next((need for need in fault.for_this_machine().needs if not NEEDS[need]()), None)


@cache
def gpus() -> int:
    """GPUs that torch can use. Asked in a process of its own: torch takes seconds to import, and opens them."""
    code = "import torch; print(torch.cuda.device_count())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    return int(done.stdout) if done.returncode == 0 else 0


@cache
def _works(*command: str) -> bool:
    return shutil.which(command[0]) is not None and subprocess.run(command, capture_output=True).returncode == 0


NEEDS: dict[FaultNeed, Callable[[], bool]] = {
    "linux": lambda: sys.platform == "linux",
    "gpu": lambda: gpus() >= 1,
    "two_gpus": lambda: gpus() >= 2,
    "namespaces": lambda: _works(*NAMESPACE),
    "traffic_control": lambda: _works(*NAMESPACE) and shutil.which("tc") is not None,
    "prlimit": lambda: shutil.which("prlimit") is not None,
}
"""Whether each thing that a fault may need is here."""
