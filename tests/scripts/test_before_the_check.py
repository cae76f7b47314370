"""Another environment's Python, or one without packages: one clear line from every step."""

from __future__ import annotations

import subprocess
import sys

import pytest
from conftest import ROOT, environment

STEPS = sorted(path.name for path in ROOT.glob("0*.py"))


def run_under(preparation: str, script: str, *options: str) -> subprocess.CompletedProcess:
    """A script in a Python in which `preparation` has run."""
    code = f"import sys, runpy; sys.argv[1:] = []; {preparation}; sys.path.insert(1, '.')\nrunpy.run_path({script!r}, "
    command = [sys.executable, *options, "-c", f"{code}run_name='__main__')"]
    return subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=100)


def assert_one_line(done: subprocess.CompletedProcess, *said: str) -> None:
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("error: ")
    for words in said:
        assert words in done.stderr


@pytest.mark.parametrize("script", STEPS)
def test_an_older_python_is_named(script):
    assert_one_line(run_under("sys.version_info = (3, 10, 13)", script), "Python 3.11 or newer", "3.10", "make lab")


@pytest.mark.parametrize("script", STEPS)
def test_a_python_without_packages_is_named(script):
    assert_one_line(run_under("pass", script, "-S"), "pydantic is missing in " + sys.executable, "make lab")


@pytest.mark.parametrize(("script", "package"), [*((name, "torch") for name in STEPS[:4]), (STEPS[4], "pandas")])
def test_one_missing_package_is_named(script, package, tmp_path):
    arguments = f"sys.argv = [{script!r}, '--results-dir', {str(tmp_path)!r}]"
    torchrun = "import os; os.environ.update(TORCHELASTIC_RUN_ID='1', LOCAL_RANK='0')" if "04" in script else "pass"
    done = run_under(f"sys.modules[{package!r}] = None; {arguments}; {torchrun}", script)
    assert_one_line(done, f"{package} is missing in ", "pip install -e .")


def test_a_torch_whose_libraries_are_gone_is_one_line(tmp_path):
    """A build for another CUDA, say."""
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise ImportError('libcudart.so.13: cannot open shared object')")
    results = f"sys.argv = ['02', '--results-dir', {str(tmp_path)!r}]"
    done = run_under(f"sys.path.insert(0, {str(tmp_path)!r}); {results}", STEPS[1])
    assert_one_line(done, "torch does not load", "libcudart.so.13")


def test_an_import_that_fails_for_another_reason_keeps_its_cause():
    code = (
        "from common.command_line.parser import start\n"
        "def main():\n"
        "    try: 1 / 0\n"
        "    except ZeroDivisionError as error: raise ImportError('a file of mine') from error\n"
        "start(main)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    assert "direct cause" in done.stderr


def test_ctrl_c_that_torch_swallows_as_it_loads_is_no_broken_torch(tmp_path):
    """It does where it imports numpy, which then fails to load."""
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text(
        "import os, signal\n"
        "try: os.kill(os.getpid(), signal.SIGINT)\n"
        "except KeyboardInterrupt: pass\n"
        "raise ImportError('cannot load module more than once per process')"
    )
    results = f"sys.argv = ['02', '--results-dir', {str(tmp_path)!r}]"
    done = run_under(f"sys.path.insert(0, {str(tmp_path)!r}); {results}", STEPS[1])
    assert (done.returncode, done.stderr) == (130, "stopped from the keyboard (Ctrl-C)\n")


@pytest.mark.parametrize("script", STEPS)
def test_ctrl_c_while_the_lab_itself_is_read_is_one_line(script):
    stop = (
        "class Stop:\n"
        "    def find_spec(self, name, *more):\n"
        "        if name == 'common.errors': raise KeyboardInterrupt\n"
    )
    code = f"import sys, runpy\n{stop}sys.meta_path.insert(0, Stop())\nrunpy.run_path({script!r}, run_name='__main__')"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=100)
    assert done.stderr == "stopped from the keyboard (Ctrl-C)\n"
