"""Steps 01 to 04 in the reader's language: the same numbers, commands and paths, and no English sentence left."""

from __future__ import annotations

import io
import re
import string

import pytest
from analysis.factories import make_record
from analysis.profile_factories import make_probed
from conftest import SMALL, environment, records_in, run_script
from rich.cells import cell_len
from rich.console import Console, RenderableType

from common.console.machine_tables import conclusion, gpu_table, machine_table, probe_table, requirement_table
from common.console.run_lines import show_plan
from common.messages import catalogue
from common.records import EnvironmentRecord, Record, Resumed
from common.requirements import check_requirements
from common.sentences import LANGUAGES, Sentences

CHINESE = Sentences("zh-TW")


def printed(*parts: RenderableType) -> str:
    console = Console(file=io.StringIO(), width=500)  # no line is broken
    console.print(*parts, sep="\n")
    return console.file.getvalue()


def left_in_english(text: str) -> list[str]:
    """What stands between the values of the English sentences, where it is two words or more and occurs in `text`."""
    ours = [english for _, english in catalogue("zh-TW")]
    between = {literal.strip(" ,.;:()") for sentence in ours for literal, *_ in string.Formatter().parse(sentence)}
    shown = " ".join(text.split())
    return [words for words in between if re.search("[a-z]{2}.* .*[a-z]{2}", words) and words in shown]


def test_step_02_in_chinese(tmp_path):
    arguments = [*SMALL, "--samples-per-epoch", 8, "--epochs", 1, "--batch-size", 8, "--uncounted-steps", 1]
    done = run_script("02_baseline_single_gpu.py", *arguments, "--lang", "zh-TW", "--results-dir", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    record = Record.model_validate(records_in(tmp_path)[0])
    assert left_in_english(done.stdout) == []
    assert "在單一裝置上訓練" in done.stdout
    assert re.search(rf"吞吐量 +{record.throughput:.1f} 樣本/秒", done.stdout)
    path, following = re.search(r"紀錄 +(\S.*)\n  下一步 +(\S.*)\n", done.stdout).groups()
    assert path == str(tmp_path / f"{record.run_id}.json")
    assert following.startswith("python 03_dataparallel_training.py --batch-size ")
    assert "--lang zh-TW" in following


def test_step_01_in_the_language_of_the_locale(tmp_path):
    arguments = ["--no-benchmark", "--results-dir", tmp_path]
    done = run_script("01_environment_check.py", *arguments, env=environment(LC_ALL="zh_TW.UTF-8"))
    assert (done.returncode, done.stderr) == (0, "")
    (record,) = records_in(tmp_path)
    assert left_in_english(done.stdout) == []
    assert f"本實驗可以在這裡執行，使用 {record['environment']['cpu_cores']} 個 CPU 核心" in done.stdout
    assert f"下一步：python 02_baseline_single_gpu.py --results-dir {tmp_path}\n" in done.stdout
    for requirement in check_requirements(EnvironmentRecord.model_validate(record), CHINESE):
        assert f"{requirement.name} " in done.stdout
        assert requirement.advice in done.stdout
        assert requirement.found in done.stdout


def test_what_step_01_measured_in_chinese():
    record = make_probed()
    english, chinese = (
        printed(
            *(table(record, words) for table in (machine_table, gpu_table, conclusion)),
            requirement_table(check_requirements(record, words), words),
            probe_table(record.probes, words),
        )
        for words in (Sentences("en"), CHINESE)
    )
    assert len(left_in_english(english)) > 10
    assert left_in_english(chinese) == []
    with_units = re.compile(r"\d[\d.,]* (?:[kMGT]?i?B(?:/s)?|[mµ]?s|[GT]FLOP/s)\b")
    assert sorted(with_units.findall(english)) == sorted(with_units.findall(chinese))


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_plan_with_everything_in_it(language):
    record = make_record("ddp", 2)
    world = record.world.model_copy(update={"shared": True, "oversubscribed": True, "restarts": 2})
    config = record.config.model_copy(update={"epochs": 1, "warmup_steps": 1, "accumulation_steps": 2})
    resumed = Resumed(file="cp.pt", epoch=3, steps_done=7, skipped=["half.pt"])
    console = Console(file=io.StringIO(), width=80)
    planned = record.model_copy(update={"config": config, "world": world, "resumed": resumed})
    show_plan(console, Sentences(language), planned)
    text = console.file.getvalue()
    lines = [line for line in text.splitlines() if line.strip()]
    assert all(cell_len(line) <= 80 for line in lines)
    if language == "en":
        assert "samples    " in text
        assert ", 1 epoch " in text
        assert "1 step, not counted" in text
        assert "goes on from cp.pt: epoch 3, after 7 steps" in text
    else:
        assert left_in_english(text) == []
        assert "樣本  每個 epoch" in text  # names are padded by their width on the screen
        assert "暖機  1 步，不計入" in text
        assert "接續 cp.pt：epoch 3，已完成其中 7 步" in text
