"""A setting is declared once: nothing that differs in one is pooled, and a new one is at once everywhere."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import pytest
from conftest import ROOT, SQUEEZENET, environment, records_in

from analysis.factories import make_record
from analysis.views import folder_of
from common.analysis.comparing.groups import compare_runs
from common.campaigns.adaptive import SWITCHES
from common.records import DdpOptions, RunConfig, settings_of

BATCHES = {"global_batch_size", "per_device_batch_size"}
"""They are no settings of their own: they follow from --batch-size and the devices."""
FIELDS = [(model, name) for model in (RunConfig, DdpOptions) for name in model.model_fields if name != "ddp"]


def another(model: type, name: str, value: Any) -> Any:
    """Some other value of a field."""
    kinds = get_args(model.model_fields[name].annotation) or (model.model_fields[name].annotation,)
    if get_origin(model.model_fields[name].annotation) is Literal:
        return next(one for one in kinds if one != value)
    (kind,) = (one for one in kinds if one is not NoneType)
    if kind is bool:
        return not value
    return f"{value} or so" if kind is str else 2 * (value or 0) + 2


@pytest.mark.parametrize(("model", "name"), FIELDS)
def test_runs_that_differ_in_any_setting_are_never_pooled(model, name):
    usual, other = make_record("ddp", 2), make_record("ddp", 2, seed=1)
    config = other.config if model is RunConfig else other.config.ddp
    setattr(config, name, another(model, name, getattr(config, name)))
    compared = compare_runs(folder_of(usual, other))
    declared = settings_of(model).get(name)
    assert len(compared.configurations + compared.withheld) == (1 if declared and declared.exempt else 2)


def test_every_field_is_declared_as_a_setting():
    assert set(settings_of(RunConfig)) == set(RunConfig.model_fields) - BATCHES
    assert set(settings_of(DdpOptions)) == set(DdpOptions.model_fields)


def test_the_ladder_tries_what_is_declared_as_its_switches():
    tried = {flag.split()[0] for flags in SWITCHES.values() for flag in flags if flag}
    assert tried == {f"--{one.flag}" for one in settings_of(RunConfig).values() if one.in_ladder}


def test_a_switch_that_is_only_declared_is_flag_key_group_and_command(tmp_path):
    """A copy of the lab with one declaration more, and its sentences."""
    for folder in ("common", "templates"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    for script in ("02_baseline_single_gpu.py", "05_performance_comparison.py"):
        shutil.copy(ROOT / script, tmp_path)
    insert(
        tmp_path / "common/records/settings.py",
        "    deterministic: bool",
        '    made_up: bool = setting(False, help="new")\n',
    )
    for head in ("[title]\n", "[fact]\n"):
        insert(tmp_path / "templates/sentences.en.toml", head, 'made_up = "quite made up"\n', after=True)

    def run(*command: object) -> str:
        words = [sys.executable, *map(str, command)]
        done = subprocess.run(words, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stderr
        return done.stdout

    said = run("02_baseline_single_gpu.py", *SQUEEZENET, "--batch-size", 32, "--made-up")
    assert re.search(r"^ *practice +made-up *$", said, re.MULTILINE)
    (record,) = records_in(tmp_path / "results")
    assert record["config"]["made_up"] is True
    plain = record | {"run_id": "plain", "config": record["config"] | {"made_up": False}}
    (tmp_path / "results/plain.json").write_text(json.dumps(plain))
    page = tmp_path / "page.html"
    run("05_performance_comparison.py", "--output-report", page)
    text = page.read_text()
    assert "quite made up" in text
    assert "03_dataparallel_training.py" in text
    assert "--made-up" in text[text.index("03_dataparallel_training.py") :]


def insert(path, place: str, line: str, after: bool = False) -> None:
    """Put a line before `place`, which the file has once, or after it."""
    text = path.read_text()
    assert text.count(place) == 1
    path.write_text(text.replace(place, place + line if after else line + place))
