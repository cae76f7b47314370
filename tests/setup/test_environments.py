"""Which environment the lab takes, and what it does to it: with tiny packages, a stub of torch and no network."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import sysconfig
import threading
import time
import venv
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT

from common.setup.__main__ import prepared, start_python
from common.setup.environments import MADE, STAMP, Gpus, PythonEnvironment, gpus_here, usable_torch
from common.setup.installation import TURN, EnvironmentKeptError, InstallationError, not_there

PIP = Path(sysconfig.get_path("purelib"), "pip")
"""Not imported, nor looked for: after that setuptools could not take the place of distutils any more."""
TORCH = """
from types import SimpleNamespace
__version__ = "{version}"
version = SimpleNamespace(cuda={cuda!r}, hip=None)
cuda = SimpleNamespace(is_available=lambda: {cuda!r} is not None, get_arch_list=lambda: {architectures})
ones = lambda n: SimpleNamespace(sum=lambda: SimpleNamespace(item=lambda: n))
"""
PROJECT = """
[project]
dependencies = ["torch>=2.6,<2.16", "present>={present}", "missing"]
optional-dependencies = {{ test = ["extra"] }}
"""
UV = """#!{python}
import os, sys, venv
with open("uv.log", "a") as log:
    print(*sys.argv[1:], file=log)
if sys.argv[1] == "venv":
    venv.create(sys.argv[-1], symlinks=True)
elif os.environ.get("UV_FAILS"):
    sys.exit(2)
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A project's folder, a package index of its own, no GPU, no uv and no active environment."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for name, version in (("torch", "2.15.0"), ("present", "2.0"), ("missing", "1.0"), ("extra", "1.0")):
        with zipfile.ZipFile(wheels / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
            for path, content in package(name, version).items():
                wheel.writestr(path, content)
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX", "CUDA_VISIBLE_DEVICES", "PYTHONPATH"):
        monkeypatch.delenv(name, raising=False)
    index = {"CONFIG_FILE": os.devnull, "NO_INDEX": "1", "FIND_LINKS": str(wheels), "REQUIRE_VIRTUALENV": "1"}
    for name, value in index.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.chdir(tmp_path)
    need()
    Path("requirements.lock").touch()
    return tmp_path


def need(present: str = "1") -> None:
    Path("pyproject.toml").write_text(PROJECT.format(present=present))


def program(name: str, source: str) -> None:
    path = Path("bin", name)
    path.write_text(source.replace("{python}", sys.executable))
    path.chmod(0o755)


def driver_says(*lines: str) -> None:
    program("nvidia-smi", "#!/bin/sh\n" + "".join(f"echo '{line}'\n" for line in lines))


def package(name: str, version: str, source: str = "") -> dict[str, str]:
    """Files of an installed package."""
    info = f"{name}-{version}.dist-info"
    return {
        f"{name}/__init__.py": source,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "",
    }


def environment(
    folder: Path, version: str = "2.6.0+own", cuda: str | None = None, built: str = "[]"
) -> PythonEnvironment:
    """One with pip, a torch of its own and the old version of a package."""
    venv.create(folder, symlinks=True)
    [site] = folder.glob("lib/python*/site-packages")
    (site / "pip").symlink_to(PIP)
    torch = TORCH.format(version=version, cuda=cuda, architectures=built)
    for path, content in (package("torch", version, torch) | package("present", "1.0")).items():
        (site / path).parent.mkdir(exist_ok=True)
        (site / path).write_text(content)
    return PythonEnvironment(folder)


def contents(environment: PythonEnvironment) -> dict[str, str]:
    """Every file of its packages."""
    [site] = environment.folder.glob("lib/python*/site-packages")
    return {str(path.relative_to(site)): path.read_text() for path in site.rglob("*") if path.is_file()
            and path.suffix != ".pyc" and path.relative_to(site).parts[0] != "pip"}  # fmt: skip


def asked_of_uv() -> list[str]:
    log = Path("uv.log")
    return log.read_text().splitlines() if log.exists() else []


def test_an_active_environment_keeps_all_that_it_has(place, monkeypatch, capfd):
    active = environment(place / "mine")
    before = contents(active)
    monkeypatch.setenv("VIRTUAL_ENV", str(active.folder))
    assert prepared([]).folder == active.folder
    after = contents(active)
    assert {path: after[path] for path in before} == before  # newer ones lie in the index
    assert {path.split("/")[0] for path in set(after) - set(before)} == {"missing", "missing-1.0.dist-info"}
    said = capfd.readouterr().out
    assert (
        f"Environment: {active.folder}, with its torch 2.6.0+own. Missing, and installed now: missing; nothing is up-"
        in said
    )
    assert not Path(".venv").exists()
    assert prepared([]).folder == active.folder
    assert capfd.readouterr().out == ""  # nothing to do the second time
    assert prepared(["test"]).folder == active.folder
    assert "extra" in {path.split("/")[0] for path in contents(active)}


def test_where_nothing_is_missing_no_installer_is_asked(place, monkeypatch, capfd):
    """An environment that uv has made has no pip."""
    active = environment(place / "mine")
    [site] = active.folder.glob("lib/python*/site-packages")
    (site / "pip").unlink()
    info = site / "Missing-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: Missing\nVersion: 1.0\n")
    monkeypatch.setenv("VIRTUAL_ENV", str(active.folder))
    assert prepared([]).folder == active.folder
    said = f"Environment: {active.folder}, with its torch 2.6.0+own. All that the lab needs is there; nothing is up-"
    assert capfd.readouterr().out == f"{said} or downgraded.\n"


@pytest.mark.parametrize(
    ("requirement", "is_met"),
    [
        ("Pre.Sent>=1.10", True), ("pre-sent", True), ("pre-sent>=1.9, <2", True), ("pre-sent>=1.11", False),
        ("pre-sent<1.10", False), ("pre-sent==1.10", False), ("pre", False),
    ],
)  # fmt: skip
def test_what_is_met(requirement, is_met):
    assert not_there([requirement], [("Pre_sent", "1.10.0+own")]) == ([] if is_met else [requirement])


def test_an_environment_that_would_have_to_change_is_left_alone(place, monkeypatch, capfd):
    need(present="2")
    program("uv", UV)
    monkeypatch.setenv("UV_FAILS", "1")  # so that pip is asked, too
    active = environment(place / "mine")
    before = contents(active)
    monkeypatch.setenv("CONDA_PREFIX", str(active.folder))
    with pytest.raises(InstallationError):
        prepared([])  # the new .venv of this stub of uv has no pip
    assert contents(active) == before
    assert f"{active.folder} is not used: the lab does not go with what is there" in capfd.readouterr().out
    assert asked_of_uv()[2].startswith("venv ")


@pytest.mark.parametrize(
    ("driver", "torch", "reason"),
    [
        ("580.65.06, 8.0", {"cuda": None}, "its torch 2.6.0+own does not reach the GPUs"),
        ("580.65.06, 12.0", {"cuda": "12.4", "built": "['sm_80', 'sm_90']"}, "is not built for sm_120"),
        (None, {"version": "2.5.1"}, "its torch is 2.5.1, and the lab is made for 2.6 to 2.15"),
    ],
)
def test_a_torch_that_does_not_fit_is_named_and_not_used(place, monkeypatch, capfd, driver, torch, reason):
    program("uv", UV)
    if driver:
        driver_says(driver)
    active = environment(place / "mine", **torch)
    monkeypatch.setenv("VIRTUAL_ENV", str(active.folder))
    assert prepared([]).folder == Path(".venv")
    said = capfd.readouterr().out
    assert f"{active.folder} is not used: " in said
    assert reason in said


@pytest.mark.parametrize(
    ("lines", "torch", "said"),
    [
        (["535.183.01, 8.0"] * 2, "torch<2.11", "torch 2.6 to 2.10 (CUDA 12.8), which driver 535.183.01 and sm_80 run"),
        (
            ["550.54.15, 6.0", "550.54.15, 7.5"],
            "torch<2.8",
            "torch 2.6 to 2.7 (CUDA 12.6), which driver 550.54.15 and sm_60, sm_75 run",
        ),
        (["580.65.06, 7.5"], "torch", "torch 2.6 to 2.15 (CUDA 13.2), which driver 580.65.06 and sm_75 run"),
        (["470.256.02, 8.0"], "torch", "runs on driver 470.256.02 and sm_80, CUDA 12 asks for 525.60.13"),
        ([], "torch", "torch 2.6 to 2.15 (CUDA 13.2), which CPU cores run, too: no NVIDIA GPUs were found"),
    ],
)
def test_a_new_environment_has_the_newest_torch_that_runs(place, capfd, lines, torch, said):
    program("uv", UV)
    if lines:
        driver_says(*lines)
    assert prepared(["test"]).folder == Path(".venv")
    made, installed = asked_of_uv()
    assert made.endswith(" .venv")
    before, _, after = installed.partition(" --constraint ")
    assert before == "pip install --python .venv/bin/python"
    assert after.split()[1:] == [torch, "torch>=2.6,<2.16", "present>=1", "missing", "extra"]
    assert said in capfd.readouterr().out
    assert prepared(["test"]).folder == Path(".venv")
    assert len(asked_of_uv()) == 2


def test_the_labs_own_environment_comes_first_and_keeps_its_torch(place, monkeypatch):
    own, active = environment(place / ".venv"), environment(place / "mine")
    monkeypatch.setenv("VIRTUAL_ENV", str(active.folder))
    assert prepared([]).folder == Path(".venv")
    assert 'version__ = "2.6.0+own"' in contents(own)["torch/__init__.py"]
    assert not (active.folder / STAMP).exists()


def half_made() -> Path:
    """What is left of an installation that was stopped, by the lab."""
    venv.create(".venv", symlinks=True)
    Path(".venv", MADE).touch()
    left = Path(".venv/left")
    left.touch()
    return left


def test_a_half_made_one_is_made_anew(place, capfd):
    left = half_made()
    program("uv", UV)
    assert prepared([]).folder == Path(".venv")
    assert ".venv is not used: it has no torch." in capfd.readouterr().out
    assert not left.exists()
    assert Path(".venv", MADE).exists()
    assert not Path(".venv.old").exists()


def test_one_that_cannot_be_made_anew_comes_back(place, monkeypatch):
    left = half_made()
    program("uv", UV)
    monkeypatch.setenv("UV_FAILS", "1")
    with pytest.raises(InstallationError, match="ended with exit code"):
        prepared([])
    assert left.exists()
    assert not Path(".venv.old").exists()


def test_one_that_a_killed_installation_moved_aside_is_deleted_in_the_end(place):
    half_made()
    Path(".venv").rename(".venv.old")
    half_made()
    program("uv", UV)
    prepared([])
    assert not Path(".venv.old").exists()


def test_a_folder_of_that_name_which_the_lab_did_not_make_is_not_deleted(place):
    left = half_made()
    Path(".venv.old").mkdir()
    with pytest.raises(EnvironmentKeptError, match=r"move away what lies there$"):
        prepared([])
    assert left.exists()
    assert Path(".venv.old").exists()


def test_its_own_whose_torch_works_is_kept_where_it_cannot_be_completed(place, monkeypatch, capfd):
    """Without a network, say."""
    own = environment(Path(".venv"))
    own.made.touch()
    before = contents(own)
    Path("wheels/missing-1.0-py3-none-any.whl").unlink()
    assert start_python(["-c", "print(1)"]) == 2
    assert contents(own) == before
    [line] = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")][-1:]
    assert line.startswith("error: .venv stays as it is, its torch works; what the lab lacks there could not be")
    assert line.endswith("try again when that is cured, or remove .venv for a new one")


@pytest.mark.parametrize(
    ("active", "made", "todo"),
    [
        (True, False, "deactivate it and rm -r .venv"),
        (True, True, "deactivate it"),
        (False, False, "rm -r .venv"),
    ],
)
def test_one_that_is_active_or_not_the_labs_is_not_deleted(place, monkeypatch, capfd, active, made, todo):
    program("uv", UV)
    own = environment(place / ".venv", version="2.5.1")
    own.mark_ready([])  # it has been used, and its torch was changed after that
    os.utime(own.folder / STAMP, (0, 0))
    if made:
        own.made.touch()
    if active:
        monkeypatch.setenv("VIRTUAL_ENV", str(own.folder))
    before = contents(own)
    assert start_python(["-c", "print(1)"]) == 2
    assert contents(own) == before
    said = capfd.readouterr()
    assert said.out.count(".venv is not used: its torch is 2.5.1") == 1
    assert said.err == (
        "error: .venv does not serve the lab, and stays, for it is active or not of the lab's making: "
        f"{todo}, and the next make makes a new one\n"
    )
    assert not asked_of_uv()


def test_a_link_to_nowhere_is_not_the_labs(place, capfd):
    Path(".venv").symlink_to("gone")
    assert start_python(["-c", "print(1)"]) == 2
    assert "rm -r .venv, and" in capfd.readouterr().err
    assert Path(".venv").is_symlink()


def test_who_comes_second_waits_and_finds_all_done(place, capfd):
    program("uv", UV)
    got = []
    with TURN.open("a") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        second = threading.Thread(target=lambda: got.append(prepared([])))
        second.start()
        said = ""
        until = time.monotonic() + 60
        while "\n" not in said and time.monotonic() < until:
            said += capfd.readouterr().out
            time.sleep(0.02)
        assert said == f"waiting for another installation ({place / TURN})\n"
        assert not asked_of_uv()
        own = environment(Path(".venv"))
        own.mark_ready([])
    second.join(60)
    assert [one.folder for one in got] == [Path(".venv")]
    assert not asked_of_uv()


def test_two_at_once_install_once(place):
    program("uv", UV + "import time; time.sleep(0.5)\n")
    command = [sys.executable, "-S", "-m", "common.setup", "-c", "print('it runs')"]
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    both = [subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [one.communicate(timeout=120)[0] for one in both]
    assert [one.returncode for one in both] == [0, 0], said
    assert all(one.endswith("it runs\n") for one in said)
    assert len(asked_of_uv()) == 2  # one venv, one installation


def test_where_no_file_can_be_written_nobody_waits(place, monkeypatch):
    TURN.mkdir()
    program("uv", UV)
    assert prepared([]).folder == Path(".venv")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [(["--extra"], ""), (["--extra", "tset", "-c", "print(1)"], "tset"), (["--extra", "-c"], "-c")],
)
def test_an_extra_that_is_not_known_is_refused_first(place, capfd, arguments, named):
    program("uv", UV)
    assert start_python(arguments) == 2
    assert capfd.readouterr() == ("", f"error: --extra {named}: give one of pyproject.toml's: test\n")
    assert not asked_of_uv()
    assert not Path(".venv").exists()


@pytest.mark.parametrize("target", ["/gone/python", "/bin/false", "/bin/true", None])
def test_make_passes_over_a_python_that_does_not_start(place, monkeypatch, target):
    """A link whose Python was updated away, or one that ends at once."""
    monkeypatch.setenv("PATH", os.pathsep.join([str(place / "bin"), os.defpath]))
    for name in ("PYTHON", "MAKEFLAGS", "MAKELEVEL"):  # `make test` has the last two
        monkeypatch.delenv(name, raising=False)
    if target:
        Path(".venv/bin").mkdir(parents=True)
        Path(".venv/bin/python").symlink_to(target)
    command = ["make", "-n", "-f", str(ROOT / "Makefile"), "lab"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    starts = target == "/bin/true"
    assert done.stdout.split()[0] == (".venv/bin/python" if starts else "python3")
    assert done.stderr == ""


def test_the_lock_says_which_version_of_what_is_missing(place, monkeypatch, capfd):
    """And not of what is there; where its versions are not to be had, others are taken."""
    Path("requirements.lock").write_text("# why\nmissing==1.0\nPre.Sent==2.0\n")
    constrained = UV + "print(open(sys.argv[sys.argv.index('--constraint') + 1]).read().split())\n"
    program("uv", constrained)
    prepared([])
    assert "['missing==1.0', 'Pre.Sent==2.0']\n" in capfd.readouterr().out
    shutil.rmtree(".venv")
    active = environment(place / "mine")
    monkeypatch.setenv("VIRTUAL_ENV", str(active.folder))
    Path("bin/uv").unlink()
    Path("requirements.lock").write_text("missing==3.0\n")
    prepared([])
    assert "With the versions of requirements.lock it does not work (" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("lines", "hidden", "found"),
    [
        (["580.65.06, 9.0", "580.65.06, 9.0"], None, Gpus("580.65.06", ["9.0", "9.0"])),
        (["580.65.06, 9.0"], "0", Gpus("580.65.06", ["9.0"])),
        (["580.65.06, 9.0"], "", Gpus(None, [])),
        (["580.65.06, [N/A]"], None, Gpus("580.65.06", [])),
        (["No devices were found"], None, Gpus(None, [])),
        (None, None, Gpus(None, [])),
    ],
)
def test_what_the_driver_says(place, monkeypatch, lines, hidden, found):
    if lines is not None:
        driver_says(*lines)
    if hidden is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert gpus_here() == found


def test_a_torch_that_does_not_load_is_told_in_its_own_words(place):
    broken = environment(place / "mine")
    [file] = broken.folder.glob("lib/python*/site-packages/torch/__init__.py")
    file.write_text("raise ImportError('libcudart.so.13: cannot open shared object file')")
    unusable = usable_torch(broken, Gpus(None, []))
    assert unusable == "its torch does not load (ImportError: libcudart.so.13: cannot open shared object file)"


def test_a_failure_is_one_line_and_exit_code_1(place, monkeypatch, capfd):
    program("uv", "#!/bin/sh\nexit 3\n")
    monkeypatch.setattr("common.setup.installation.sys._base_executable", "/bin/false")
    assert start_python(["-c", "print(1)"]) == 1
    assert capfd.readouterr().err == "error: /bin/false -m venv ended with exit code 1; what it said stands above\n"


def test_how_much_is_installed_is_said_while_it_grows(place, monkeypatch, capfd):
    monkeypatch.setattr("common.setup.installation.EVERY_SECONDS", 0.02)
    program(
        "uv",
        UV
        + """
if sys.argv[1] == "pip":
    import time
    for part in "ab":
        with open(".venv/" + part, "wb") as file:
            file.truncate(3_000_000)
        time.sleep(0.3)
""",
    )
    prepared([])
    lines = [line for line in capfd.readouterr().out.splitlines() if line.endswith(" MB installed in .venv …")]
    assert [int(line.split()[0]) for line in lines] == [3, 6]


def test_as_make_starts_it_on_a_python_without_packages(place, monkeypatch):
    active = environment(place / "mine")
    monkeypatch.setenv("VIRTUAL_ENV", str(active.folder))
    command = [
        sys.executable,
        "-S",
        "-m",
        "common.setup",
        "-c",
        "import missing, sys; print(sys.prefix, sys.argv)",
        "x",
    ]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"{active.folder} ['-c', 'x']"
