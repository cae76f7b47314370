"""The faults as data: all there, in both languages, each with a cure that is another command."""

import re
from pathlib import Path
from typing import get_args

import pytest

from common.console.run_lines import LOSS_IS_LOST
from common.records import FaultNeed
from common.sentences import sentences
from lessons.fault_lab import fault
from lessons.fault_lab.fault import all_faults

FAULTS, LESSONS = all_faults(), Path(__file__).parents[2] / "lessons"


@pytest.mark.parametrize("language", ["en", "zh-TW"])
def test_title_and_cure_of_each_in_both_languages(language):
    words = sentences(language)
    needed = {f"fault.{name}.{part}" for name in FAULTS for part in ("title", "cure")}
    needed |= {f"fault_need.{need}" for need in get_args(FaultNeed)}
    assert {id for id in words if id.startswith(("fault.", "fault_need."))} == needed
    assert all(words[id].strip() for id in needed)


def test_no_cure_is_the_fault_itself():
    for one in FAULTS.values():
        re.compile(one.named)
        assert (one.start, one.act) != (one.cured, one.cured_act)
        assert not re.search(one.named, one.start), "the command itself would name it"


def test_every_wrong_program_is_there_and_caused_and_says_how_it_is_started():
    commands = [one.start for one in FAULTS.values()]
    started = re.findall(r"-m lessons\.faults\.(\w+)", " ".join(commands))
    assert sorted(started) == sorted(path.stem for path in (LESSONS / "faults").glob("*.py"))
    for name in started:
        assert f"-m lessons.faults.{name} [--right]" in (LESSONS / "faults" / f"{name}.py").read_text()


def test_on_gpus_others_are_run(monkeypatch):
    monkeypatch.setattr(fault, "gpus", lambda: 1)
    one = FAULTS["out_of_memory"]
    on_gpu = one.for_this_machine()
    assert "prlimit" in one.start
    assert "prlimit" not in on_gpu.start + on_gpu.cured
    assert not on_gpu.needs
    assert on_gpu.named == one.named
    changed = {name for one in FAULTS.values() for name in one.on_gpus}
    assert changed == {"start", "cured", "named", "needs"}
    assert FAULTS["nan_loss"].for_this_machine() == FAULTS["nan_loss"]


@pytest.mark.parametrize(("count", "replicas"), [(0, "0,1"), (1, "0,0"), (2, "0,1")])
def test_two_replicas_share_the_only_gpu(monkeypatch, count, replicas):
    monkeypatch.setattr(fault, "gpus", lambda: count)
    one = FAULTS["batchnorm_one_sample"].for_this_machine()
    assert f"--gpus {replicas} " in one.start
    assert f"--gpus {replicas} " in one.cured


def test_the_sentence_of_a_lost_loss_names_it():
    assert re.search(FAULTS["nan_loss"].named, LOSS_IS_LOST.text)
