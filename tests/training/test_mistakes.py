"""What users do wrong in a file of their own ends in one line that names the file, the line, and what to do."""

import importlib
import sys
from textwrap import dedent

import pytest
from factories import make_config, make_place

from common.command_line.model_names import source_of
from common.errors import UsageError
from common.records import DdpOptions
from common.training import data
from common.training.data import create_dataset, find_data
from common.training.models import create_model, create_workload
from common.training.user_file import UserFile

HEAD = "import torch\nfrom torch import nn\nfrom common.workload import Workload\n"
FITTING = "nn.Sequential(nn.Flatten(), nn.Linear(8, 3))"
SAMPLE = "lambda seed, index: (torch.full((8,), float(index)), torch.tensor(index % 3))"


def try_file(tmp_path, monkeypatch, code, name="my_model.py", **changes):
    """All that a script does with a file before its first step."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "my_model", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_model.py").write_text(HEAD + dedent(code))
    model = f"{name}:{changes.pop('function', 'build')}"
    config = make_config(model=model, model_source=source_of(model), num_classes=0, optimizer="own", **changes)
    workload = create_workload(config)
    return config, create_dataset(workload, config), create_model(workload, config, make_place())


def workload(**parts):
    """The code of a build() that returns a workload with these parts."""
    named = {"model": FITTING, "sample": SAMPLE} | parts
    return f"def build():\n    return Workload({', '.join(f'{name}={code}' for name, code in named.items())})\n"


MODULE = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.other = nn.Linear(8, 3), nn.Linear(8, 3)
        self.register_buffer("seen", torch.zeros(1))
        self.own = torch.Generator().manual_seed(1)
        {init}
    def forward(self, x):
        {forward}
"""


def net(init="pass", forward="return self.layer(x)", **parts):
    return MODULE.format(init=init, forward=forward) + workload(model="Net()", **parts)


UNUSED = {"ddp": DdpOptions()}
MISTAKES = {
    "no such function": ("def bild():\n    pass\n", {}, r"my_model.py:build: there is no function build; it has bild"),
    "a syntax error": ("def build(:\n    pass\n", {}, r"my_model.py:4: SyntaxError"),
    "an import that fails": ("import nothing_like_it\n", {}, r"my_model.py:4: ModuleNotFoundError.*install it"),
    "an import that raises": ("x = 1 / 0\n", {}, r"my_model.py:4: ZeroDivisionError"),
    "build raises": ("def build():\n    return nn.Linear(8)\n", {}, r"my_model.py:5: TypeError"),
    "nothing returned": (
        "def build():\n    nn.Linear(8, 3)\n",
        {},
        r"my_model.py:4: build\(\) returns nothing: return an",
    ),
    "a class returned": (
        "def build():\n    return nn.Linear\n",
        {},
        r"my_model.py:4: .*the class Linear.*return an nn.Mod",
    ),
    "no module in it": (workload(model="7"), {}, r"my_model.py:4: the workload's model is a int: give an nn.Module"),
    "nothing to train": (workload(model="nn.Flatten()"), {}, r"my_model.py:4: no parameter.*nothing to train"),
    "moves itself in build": (
        "def build():\n    return nn.Linear(8, 3).cuda()\n",
        {},
        r"my_model.py:5: the model moves itself"
        r".*leave out .cuda\(\)",
    ),
    "moves itself in forward": (
        net(forward="return self.layer(x.cuda())"),
        {},
        r"my_model.py:13: .*leave out .cuda\(\)",
    ),
    "shapes that do not fit": (
        net("self.layer = nn.Linear(9, 3)"),
        {},
        r"my_model.py:13: RuntimeError: .*mat1 and mat2 .*"
        r"called with float32 \(4, 8\)",
    ),
    "a batch that does not stack": (
        workload(sample="lambda seed, index: (torch.ones(8 + index), 0)"),
        {},
        r"my_model.py:5: RuntimeError: stack expects.*pad or crop",
    ),
    "a sample of three": (
        workload(sample="lambda seed, index: (1, 2, 3)"),
        {},
        r"my_model.py:5: TypeError: a sample is a pair",
    ),
    "a sample with a string": (
        workload(sample="lambda seed, index: ('a', 0)"),
        {},
        r"my_model.py:5: TypeError: .*holds a str",
    ),
    "a sample that changes": (
        workload(sample="lambda seed, index: (torch.randn(8), 0)"),
        {},
        r"my_model.py:5: the sample of one seed and index is another one each time: draw it from",
    ),
    "labels beyond the classes": (
        workload(sample="lambda seed, index: (torch.ones(8), 7)"),
        {},
        r"out of bounds.*classes",
    ),
    "a loss that is no scalar": (
        workload(loss="lambda outputs, targets: outputs"),
        {},
        r"my_model.py:5: the loss is a tensor of shape \(4, 3\): return a scalar",
    ),
    "a loss without gradient": (
        workload(loss="lambda outputs, targets: outputs.detach().mean()"),
        {},
        r"leave out detach",
    ),
    "no loss at all": (
        workload(sample="lambda seed, index: torch.ones(8)"),
        {},
        r"no targets.*give the workload a loss",
    ),
    "a model that returns nothing": (
        net(forward="self.layer(x)"),
        {},
        r"my_model.py:5: forward returns NoneType: return a",
    ),
    "randomness of its own": (
        net(forward="return self.layer(x) * torch.randn(4, 3, generator=self.own)"),
        {},
        r"my_model.py:5: the same samples and random seed gave two .*draw with torch.rand",
    ),
    "a buffer updated in place": (
        net(forward="y = self.layer(x) * self.seen; self.seen += 1; return y"),
        {},
        r"RuntimeError: .*inplace operation.*in place of \+=",
    ),
    "parameters without gradient": (
        net(),
        UNUSED,
        r"my_model.py:5: other.weight and 1 more has no part.*--find-unused",
    ),
    "another module's name": ("", {"name": "json.py"}, r"json is the name of another module; rename the file"),
    "a wrong --sample": (
        "def build():\n    return nn.Linear(8, 3)\n",
        {"sample": "8 by 8"},
        "--sample '8 by 8': give a shape",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_ends_in_one_line_that_says_what_to_do(mistake, tmp_path, monkeypatch):
    code, changes, said = MISTAKES[mistake]
    (tmp_path / "json.py").write_text("")
    with pytest.raises(UsageError, match=said) as caught:
        try_file(tmp_path, monkeypatch, code, **changes)
    trace = caught.value.trace
    assert "\n" not in str(caught.value)
    assert len(trace) <= 4
    assert all(line.startswith("  my_model.py:") for line in trace)
    assert "common/" not in str(caught.value)


def test_a_file_that_is_not_there():
    with pytest.raises(UsageError, match=r"there is no file missing\.py"):
        source_of("missing.py:build")


def test_a_buffer_that_forward_changes_is_a_warning_with_several_devices(tmp_path, monkeypatch, capsys):
    code = net(forward="self.seen.add_(1); return self.layer(x) + self.other(x)")
    try_file(tmp_path, monkeypatch, code, per_device_batch_size=4)
    assert "my_model.py:5: forward changes the buffer seen" in capsys.readouterr().err


def test_what_is_right_is_left_as_it_was(tmp_path, monkeypatch):
    """Also with dropout inside torch's attention, which is no layer of its own."""
    code = (
        "class Net(nn.TransformerEncoderLayer):\n    def forward(self, x):\n        return super().forward(x).mean(1)\n"
    )
    parts = {"model": "Net(8, 2, 16, batch_first=True)", "unit": "'tokens'", "units_per_sample": "5"}
    parts["sample"] = "lambda seed, index: (torch.full((5, 8), float(index)), index % 3)"
    config, samples, model = try_file(tmp_path, monkeypatch, code + workload(**parts))
    assert (config.unit, config.units_per_sample, config.optimizer, config.image_size) == ("tokens", 5, "sgd", 0)
    assert samples.__getitems__([(0, 2)]).inputs.shape == (1, 5, 8)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not model.repeats_random_numbers


@pytest.mark.parametrize("reentrant", [True, False])
def test_a_model_with_checkpointed_layers_is_left_as_it_was(reentrant, tmp_path, monkeypatch):
    """They run again during the backward pass, on the model's own weights and buffers."""
    _, _, model = try_file(
        tmp_path,
        monkeypatch,
        net(
            "self.norm = nn.BatchNorm1d(3)",
            f"return torch.utils.checkpoint.checkpoint(self.norm, self.layer(x), use_reentrant={reentrant})",
            sample=SAMPLE,
        ),
    )
    assert model.backbone.norm.num_batches_tracked == 0
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_buffers_of_a_loss_are_left_as_they_were(tmp_path, monkeypatch):
    loss = """
class Loss(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))
    def forward(self, outputs, targets):
        self.calls += 1
        return nn.functional.cross_entropy(outputs, targets)
"""
    _, _, model = try_file(tmp_path, monkeypatch, loss + workload(loss="Loss()"))
    assert model.loss.calls == 0


def test_a_buffer_that_grows_in_the_first_step_is_no_error(tmp_path, monkeypatch):
    code = net(forward="self.seen = torch.zeros(len(x) + 1)\n        return self.layer(x)")
    _, _, model = try_file(tmp_path, monkeypatch, code)
    assert model.backbone.seen.shape == (1,)


def test_a_plain_module_is_given_images_and_labels_among_its_classes(tmp_path, monkeypatch):
    code = "def build():\n    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 7))\n"
    config, samples, model = try_file(tmp_path, monkeypatch, code)
    assert (config.num_classes, config.unit) == (7, "images")
    batch = samples.__getitems__([(0, index) for index in range(8)])
    assert batch.targets.max() < 7
    assert model(batch.inputs).shape == (8, 7)


def test_a_declared_shape_is_what_the_model_is_given(tmp_path, monkeypatch):
    code = "SAMPLE = '12 int64 100'\ndef build():\n    return nn.Sequential(nn.EmbeddingBag(100, 8), nn.Linear(8, 5))\n"
    config, samples, _ = try_file(tmp_path, monkeypatch, code)
    assert (config.sample, config.num_classes, config.image_size) == ("12 int64 100", 5, 0)
    assert samples.__getitems__([(0, 1)]).inputs.shape == (1, 12)


ITERABLE = """
class Numbers(torch.utils.data.IterableDataset):
    def __iter__(self):
        return iter(range(9))
dataset = Numbers
"""


def test_an_iterable_data_set_is_refused_with_the_reason(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "numbers_of_mine.py").write_text(HEAD + ITERABLE)
    options = type("Options", (), {"settings": {"data": "numbers_of_mine.py:dataset"}})
    with pytest.raises(UsageError, match=r"numbers_of_mine.py:5: an iterable data set has no sample number i"):
        find_data(options)


def test_a_file_of_any_name_is_found_by_its_place(tmp_path, monkeypatch):
    """Be there a dot in the name, a package of the same name beside it, or the file itself in another folder."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    (tmp_path / "net_of_mine").mkdir()
    (tmp_path / "net_of_mine" / "__init__.py").touch()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link_of_mine.py").symlink_to(tmp_path / "elsewhere" / "real_one.py")
    for name in ("resnet.v2.py", "net_of_mine.py", "link_of_mine.py"):
        path = tmp_path / name
        path.write_text(f"def build():\n    return {name!r}\n")
        assert UserFile(str(path), "build", "--model").call()[0] == name
        monkeypatch.delitem(sys.modules, path.stem)


def test_a_change_in_what_the_file_of_a_data_set_imports_is_another_data_set(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    code = "from sizes_of_mine import WIDTH\ndef dataset():\n    return [(torch.ones(WIDTH), 1)] * 8\n"
    (tmp_path / "data_of_mine.py").write_text(HEAD + code)
    options = type("Options", (), {"settings": {"data": "data_of_mine.py:dataset"}})
    sources = set()
    for width in (3, 5):
        (tmp_path / "sizes_of_mine.py").write_text(f"WIDTH = {width}  # {'x' * width}\n")
        for name in ("data_of_mine", "sizes_of_mine"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        importlib.invalidate_caches()
        data._own_dataset.cache_clear()
        sources.add(find_data(options).source)
    assert len(sources) == 2


def test_a_change_in_what_a_file_imports_is_another_model(tmp_path, monkeypatch):
    """Modules beneath its folder, be they in a package or in a folder without __init__.py."""
    names = ("parts.layer", "sizes")
    (tmp_path / "parts").mkdir()
    code = "from parts.layer import make\nfrom sizes import WIDTH\n" + workload(model="make(WIDTH)")

    def source(width=3):
        for name in (*names, "parts"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        (tmp_path / "parts" / "layer.py").write_text(HEAD + "def make(width):\n    return nn.Linear(8, width)\n")
        (tmp_path / "sizes.py").write_text(f"WIDTH = {width}  # {'x' * width}\n")
        importlib.invalidate_caches()
        return try_file(tmp_path, monkeypatch, code)[0].model_source

    first = source()
    assert first != source_of(str(tmp_path / "my_model.py"))
    assert source() == first
    assert source(width=5) != first
