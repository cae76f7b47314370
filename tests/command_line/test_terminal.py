"""Printing never fails a run: readers that go away, full disks, encodings without our letters."""

import importlib.util
import sys

import pytest
from conftest import ROOT, SMALL, environment, planted, records_in, run_script

from common.command_line import terminal

SINGLE = "02_baseline_single_gpu.py"
BROKEN = {
    "a full disk": "import os; os.dup2(os.open('/dev/full', os.O_WRONLY), 1)",
    "a reader that has gone": "import os; r, w = os.pipe(); os.close(r); os.dup2(w, 1)",
    "ascii": "sys.stdout.reconfigure(encoding='ascii', errors='strict')",
    "closed": "import os; os.close(1); sys.stdout = None",
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_run_outlives_what_it_prints_on(tmp_path, how):
    script = planted(tmp_path, SINGLE, BROKEN[how])
    process = run_script(script, *SMALL, "--batch-size", 32, "--results-dir", tmp_path / "results")
    assert (process.returncode, process.stderr) == (0, "")
    assert [record["status"] for record in records_in(tmp_path / "results")] == ["completed"]


@pytest.mark.parametrize("how", ["a full disk", "a reader that has gone"])
def test_step_05_writes_its_page_all_the_same(tmp_path, small_lab, run_comparison, how):
    script, usual = tmp_path / "script.py", str(ROOT / "05_performance_comparison.py")
    script.write_text(
        f"import runpy, sys; sys.path.insert(0, {str(ROOT)!r}); {BROKEN[how]}\n"
        f"runpy.run_path({usual!r}, run_name='__main__')\n"
    )
    process = run_comparison("--results-dir", small_lab[0], "--output-report", tmp_path / "page.html", script=script)
    assert (process.returncode, process.stderr) == (0, "")
    assert (tmp_path / "page.html").read_text().rstrip().endswith("</html>")


def test_help_in_an_encoding_without_our_letters(tmp_path):
    assert "--timeout" in run_script(planted(tmp_path, "04_ddp_training.py", BROKEN["ascii"]), "--help").stdout


def test_a_rank_number_by_hand_silences_nothing(tmp_path):
    process = run_script(SINGLE, "--epochs", 0, env=environment(RANK="1"))
    assert (process.returncode, process.stderr[:7]) == (2, "error: ")


def test_torchrun_does_not_start_two_copies_of_a_script_that_is_one_process(tmp_path):
    process = run_script(SINGLE, *SMALL, "--results-dir", tmp_path, ranks=2)
    assert process.returncode == 2
    assert process.stderr.count("run python 02_baseline_single_gpu.py") == 1
    assert records_in(tmp_path) == []


def test_names_that_are_no_text(tmp_path):
    folder = f"{tmp_path}/r\udcff"
    process = run_script(SINGLE, *SMALL, "--batch-size", 32, "--results-dir", folder)
    assert process.returncode == 0, process.stderr
    assert len(records_in(tmp_path / "r\udcff")) == 1


@pytest.mark.parametrize("flags", [["--seed", 2**64], ["--timeout", "1e300"], ["--bucket-cap-mb", "1e300"]])
def test_numbers_that_torch_cannot_take(flags):
    process = run_script("04_ddp_training.py", *flags)
    assert process.returncode == 2
    assert flags[0] in process.stderr
    assert process.stderr.count("\n") == 1


@pytest.mark.parametrize("variables", [{"RANK": "x"}, {"MASTER_ADDR": "nowhere.invalid"}])
def test_variables_of_torchrun_set_by_hand(variables, tmp_path):
    """Of no meaning, and of a machine that does not exist."""
    whole = {"LOCAL_RANK": "0", "RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1", "MASTER_PORT": "1"}
    flags = [*SMALL, "--batch-size", 32, "--timeout", 2, "--results-dir", tmp_path]
    process = run_script("04_ddp_training.py", *flags, env=environment(**(whole | variables)))
    assert process.returncode == 2, process.stderr
    assert "error: " in process.stderr
    assert "Traceback" not in process.stderr


def test_the_c_library_is_asked_for_on_linux_alone(monkeypatch):
    """Windows has none by that name, and step 05 imports this module there, too."""

    def refuse(name: None) -> None:
        raise TypeError("no library without a name")

    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(terminal.ctypes, "CDLL", refuse)
    specification = importlib.util.find_spec(terminal.__name__)
    specification.loader.exec_module(importlib.util.module_from_spec(specification))
