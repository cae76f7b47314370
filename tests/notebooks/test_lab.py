"""The notebook: committed without outputs, and executed as a reader would, with real launches of smaller sizes."""

import importlib.metadata
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest
from conftest import ROOT

nbformat = pytest.importorskip("nbformat", reason="nbformat is missing: pip install -e '.[test]'")
NOTEBOOK = ROOT / "notebooks" / "lab.ipynb"


def code_cells():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    return notebook, [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_it_has_five_cells_and_no_outputs():
    _, cells = code_cells()
    assert len(cells) == 5
    assert [(cell.outputs, cell.execution_count) for cell in cells] == [([], None)] * 5


def test_it_runs(tmp_path, monkeypatch):
    nbclient = pytest.importorskip("nbclient", reason="nbclient is missing: pip install -e '.[test]'")
    pytest.importorskip("ipykernel", reason="ipykernel is missing: pip install -e '.[test]'")
    notebook, cells = code_cells()
    smaller = {
        "01_environment_check.py --lang en": "01_environment_check.py --lang en --no-benchmark",
        "GPUS = torch.cuda.device_count()": "GPUS = 0",
        "ROUNDS, BATCH = 3, 32 if GPUS else 8": "ROUNDS, BATCH = 1, 4",
        "--model resnet18 --epochs 2 --samples-per-epoch 128":
            "--model squeezenet1_1 --image-size 32 --epochs 1 --samples-per-epoch 16 --anatomy-steps 0",
        '"results/notebook"': repr(str(tmp_path / "results")),
    }  # fmt: skip
    for cell in cells:
        for usual, small in smaller.items():
            cell.source = cell.source.replace(usual, small)
    assert all(any(small in cell.source for cell in cells) for small in smaller.values())
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    folder = {"metadata": {"path": str(NOTEBOOK.parent)}}
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3", resources=folder).execute()
    setup, checked, measured, page, table = (str(cell.outputs) for cell in cells)
    assert f"torch {version('torch').split('+')[0]}" in setup
    assert "nothing, all was there" in setup
    assert "The lab can run here" in checked
    assert measured.count("parity: passed") == 2
    assert "<iframe srcdoc=" in page
    assert "&lt;!doctype html&gt;" in page
    assert "scaling_efficiency" in table
    assert len(list((tmp_path / "results").glob("0[234]_*.json"))) == 3


@pytest.fixture
def set_up(tmp_path, monkeypatch):
    """Executes the first cell where versions are as given (None: missing); returns what it starts, which ends with
    `code`, and what pip is told to keep."""
    for name in ("pyproject.toml", "05_performance_comparison.py"):
        shutil.copy(ROOT / name, tmp_path)
    monkeypatch.chdir(tmp_path)

    def execute(code=0, **versions):
        def version_of(name):
            found = versions.get(name, version(name))
            if found is None:
                raise importlib.metadata.PackageNotFoundError(name)
            return found

        commands = []

        def run(command):
            commands.append(command)
            return subprocess.CompletedProcess(command, code)

        monkeypatch.setattr(importlib.metadata, "version", version_of)
        monkeypatch.setattr(subprocess, "run", run)
        exec(code_cells()[1][0].source, {})
        return commands, (tmp_path / "kept_versions.txt").read_text()

    return execute


@pytest.mark.parametrize(
    ("versions", "found"),
    [
        ({"torch": None}, "torch is missing"), ({"torchvision": None}, "torchvision is missing"),
        ({"torch": "2.5.1+cu121"}, "torch is 2.5.1+cu121"),
    ],
)  # fmt: skip
def test_a_torch_that_is_missing_or_too_old_is_said_in_one_line(set_up, versions, found):
    with pytest.raises(SystemExit) as ended:
        set_up(**versions)
    assert found in str(ended.value)
    assert "\n" not in str(ended.value)


def test_an_installation_that_fails_is_said_in_one_line(set_up):
    with pytest.raises(SystemExit, match=r"^pip cannot install pandas>=2.2 \(on Kaggle: is Internet on\?\)$"):
        set_up(code=1, pandas=None)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("", r"^the lab is not in .+: give its ADDRESS in the first line of this cell$"),
        ("no_such_folder", r"^git cannot clone no_such_folder \(on Kaggle: is Internet on"),
    ],
)
def test_a_notebook_without_the_lab_says_so_in_one_line(tmp_path, monkeypatch, address, said):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=said):
        exec(code_cells()[1][0].source.replace('ADDRESS = ""', f"ADDRESS = {address!r}"), {})


def test_a_notebook_without_the_lab_clones_it(tmp_path, monkeypatch):
    """As on Colab, in an empty folder."""
    lab = tmp_path / "address"
    lab.mkdir()
    for name in ("pyproject.toml", "05_performance_comparison.py"):
        shutil.copy(ROOT / name, lab)
    git = ["git", "-C", str(lab), "-c", "user.name=x", "-c", "user.email=x@example.org"]
    for words in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "x"]):
        subprocess.run([*git, *words], check=True)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    exec(code_cells()[1][0].source.replace('ADDRESS = ""', f"ADDRESS = {str(lab)!r}"), {})
    assert Path.cwd() == tmp_path / "empty" / "lab"


@pytest.mark.parametrize("numpy", [None, "1.20.0"])
def test_numpy_that_is_missing_or_too_old_is_installed(set_up, capsys, numpy):
    (command,), kept = set_up(numpy=numpy)
    assert [part for part in command if part.startswith("numpy")] == ["numpy>=1.26"]
    assert kept == f"torch=={version('torch')}\n"
    assert "installed: numpy>=1.26" in capsys.readouterr().out


def test_a_newer_torch_stays(set_up):
    _, kept = set_up(torch="99.0", pandas=None)
    assert "torch==99.0\n" in kept
