"""What can keep Python from importing the lab: options and variables of Python's own, and files with its names."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import environment

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted(path.name for path in ROOT.glob("0[1-5]_*.py"))


def start(script, *options, **env):
    command = [sys.executable, *options, str(ROOT / script), "--help"]
    return subprocess.run(command, env=environment(**env), capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_python_that_leaves_the_scripts_folder_out_finds_it_all_the_same(script, tmp_path):
    for done in (start(script, "-I"), start(script, PYTHONSAFEPATH="1")):
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("usage: ")


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_file_in_the_place_of_a_module_of_pythons_own_is_named(script, tmp_path):
    for content in ("", "import nothing_of_this_name"):
        (tmp_path / "argparse.py").write_text(content)
        done = start(script, PYTHONPATH=str(tmp_path))
        assert done.returncode == 2
        assert done.stderr.startswith(f"error: {tmp_path / 'argparse.py'} has the name of a module of Python's own")
        assert done.stderr.count("\n") == 1
