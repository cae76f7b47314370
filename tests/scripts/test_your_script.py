"""The scripts that `docs/your_script.md` shows: they train, they save what one GPU's loads, and they are shown."""

import difflib
import re

import pytest
import torch
from conftest import ROOT, environment, run_in_fork

SCRIPTS = ROOT / "examples" / "your_script"


def trained(name: str, folder, ranks: int = 0):
    done = run_in_fork("training", [str(SCRIPTS / name)], cwd=str(folder), ranks=ranks, env=environment())
    assert done.returncode == 0, done.stderr
    return [float(loss) for loss in re.findall(r"^epoch \d: loss ([\d.]+)$", done.stdout, re.MULTILINE)]


@pytest.mark.parametrize(("name", "ranks"), [("one_gpu.py", 0), ("data_parallel.py", 0), ("distributed.py", 2)])
def test_each_script_trains_and_saves_the_same_names(name, ranks, tmp_path):
    losses = trained(name, tmp_path, ranks)
    assert len(losses) == 5  # of one process, also under DDP
    assert losses[-1] < 0.8 * losses[0]
    assert list(torch.load(tmp_path / "model.pt")) == ["0.weight", "0.bias", "2.weight", "2.bias"]


@pytest.mark.parametrize("document", ["your_script.md", "your_script.zh-TW.md"])
def test_the_document_shows_the_scripts_and_their_differences(document):
    text = (ROOT / "docs" / document).read_text()
    one, *others = ((SCRIPTS / name).read_text() for name in ("one_gpu.py", "data_parallel.py", "distributed.py"))
    assert f"```python\n{one}```" in text
    shown = re.findall(r"```diff\n(.*?)\n```", text, flags=re.DOTALL)
    for other, diff in zip(others, shown, strict=True):
        lines = list(difflib.unified_diff(one.splitlines(), other.splitlines(), lineterm="", n=1))[2:]
        assert diff == "\n".join(line for line in lines if not line.startswith("@@"))


def test_each_difference_is_marked():
    marks = {name: set(re.findall(r"# \((\d)\)", (SCRIPTS / name).read_text())) for name in
             ("one_gpu.py", "data_parallel.py", "distributed.py")}  # fmt: skip
    assert marks == {"one_gpu.py": set(), "data_parallel.py": set("235"), "distributed.py": set("12345")}
