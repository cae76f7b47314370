"""The notebook: committed without outputs, and executed as a reader would, with real launches of smaller sizes."""

from importlib.metadata import version

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
