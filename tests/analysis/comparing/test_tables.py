"""The tables, and the CSV files that anybody can go on with."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from analysis.comparing.test_energy import make as drawing
from analysis.factories import make_record, typical_lab, write
from analysis.profile_factories import make_probed, profiled_lab
from analysis.views import folder_of, rows_of
from common.analysis.comparing.csv_files import BEGINNINGS, run_line, table_of, write_tables
from common.records import Failure

DOCUMENT = (Path(__file__).parents[3] / "docs" / "tables.md").read_text()


def test_whole_numbers_stay_whole_where_some_are_missing(tmp_path):
    runs = table_of(map(run_line, folder_of(*typical_lab(), make_record(flops_per_sample=10**9)).runs))
    write_tables(tmp_path, {"runs.csv": runs})
    written = pd.read_csv(tmp_path / "runs.csv", dtype=str)
    assert set(written["flops_per_sample"].dropna()) == {"1000000000"}


def test_runs_that_lack_a_fact_are_not_lost():
    """A missing version is a value like any other."""
    assert len(rows_of(make_record(environment={"torchvision": None}), make_record())) == 2


def test_nothing_at_all_makes_empty_tables():
    assert table_of([]).empty


def documented(part: str) -> set[str]:
    columns = set()
    for names, meaning in re.findall(r"^\| (`.+?`) \| (.+) \|$", part, flags=re.MULTILINE):
        for name in re.findall(r"`(\w+)`", names):
            columns |= {name, f"{name}_low", f"{name}_high"} if "`_low`" in meaning else {name}
    return columns


def test_all_files_are_documented_column_by_column(tmp_path, compare):
    other = make_record("ddp", 2, config={"precision": "bf16"})
    folder = write(tmp_path / "results", *profiled_lab(), make_probed(), drawing("single", 1, 1000.0), other)
    before = write(tmp_path / "before", make_record())
    assert compare(folder, "--against", before).returncode == 0
    parts = re.split(r"^## `(\w+\.csv)`", DOCUMENT, flags=re.MULTILINE)[1:]
    written = {path.name for path in folder.glob("*.csv")}
    assert written == set(parts[::2])
    for name, part in zip(parts[::2], parts[1::2], strict=True):
        assert documented(part) == set(pd.read_csv(folder / name).columns), name


def test_the_documents_lines_of_pandas_draw_the_figure(tmp_path, compare, monkeypatch):
    compare(write(tmp_path / "results", *typical_lab()))
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", DOCUMENT, flags=re.DOTALL)
    names = {}
    exec(code, names)
    assert list(names["speed"].index) == ["single", "dp x2", "ddp x2"]


def test_runs_that_failed_are_in_the_runs_table(tmp_path, compare):
    failure = Failure(kind="exception", rank=0, message="-", advice="-")
    folder = write(tmp_path / "results", *typical_lab(), make_record(status="failed", failure=failure))
    compare(folder)
    runs = pd.read_csv(folder / "runs.csv")
    assert runs["status"].tolist() == ["completed"] * 3 + ["failed"]
    assert runs["devices"].dtype == "int64"


def test_the_files_are_not_taken_for_records(tmp_path, compare):
    folder = write(tmp_path / "results", *typical_lab())
    compare(folder)
    assert {path.name for path in folder.iterdir() if path.suffix == ".csv"} == {"comparison.csv", "runs.csv"}
    done = compare(folder)
    assert "skipped" not in done.stdout
    assert not list(folder.glob(".table-*"))


def test_a_folder_that_cannot_be_written_to_does_not_lose_the_report(tmp_path, compare):
    folder = write(tmp_path / "results", *typical_lab())
    (folder / "runs.csv").mkdir()
    done = compare(folder)
    assert done.returncode == 0
    assert done.stderr.startswith("no CSV tables: cannot write to")
    assert done.stderr.count("\n") == 1
    assert (tmp_path / "report.html").exists()


MINE = {"comparison.csv": "what,I\ncompare,1\n", "runs.csv": "5 km,24:10\n", "predictions.csv": "it will rain\n",
        "one_change.csv": "fact,before\n"}  # fmt: skip


def test_tables_of_the_users_own_stay(tmp_path, compare):
    folder = write(tmp_path / "results", *typical_lab())
    for name, content in MINE.items():
        (folder / name).write_text(content)
    done = compare(folder)
    assert done.returncode == 0
    assert {name: (folder / name).read_text() for name in MINE} == MINE
    assert done.stderr.count("\n") == 1
    assert all(name in done.stderr for name in MINE)
    assert "another --results-dir" in done.stderr


def test_a_table_that_is_a_link_to_a_record_does_not_replace_it(tmp_path, compare):
    folder = write(tmp_path / "results", *typical_lab())
    record = min(folder.glob("*.json"))
    before = record.read_text()
    (folder / "comparison.csv").symlink_to(record)
    (folder / "predictions.csv").symlink_to(tmp_path / "nowhere")
    done = compare(folder)
    assert done.returncode == 0
    assert record.read_text() == before
    assert (folder / "comparison.csv").is_symlink()
    assert (folder / "predictions.csv").is_symlink()
    assert "comparison.csv" in done.stderr
    assert (folder / "runs.csv").exists()


def test_tables_of_step_05_itself_are_renewed_and_taken_away(tmp_path):
    some, none = pd.DataFrame({name: [1] for name in BEGINNINGS["predictions.csv"]}), pd.DataFrame()
    path = tmp_path / "predictions.csv"
    assert write_tables(tmp_path, {"predictions.csv": some}) == ([path], [])
    assert write_tables(tmp_path, {"predictions.csv": some.assign(more=2)}) == ([path], [])
    assert "more" in path.read_text()
    assert write_tables(tmp_path, {"predictions.csv": none}) == ([], [])
    assert not path.exists()


def test_text_that_a_spreadsheet_would_take_for_a_formula_is_harmless(tmp_path):
    texts = ["=1+2", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "resnet18", "1-2"]
    table = pd.DataFrame({"fact": texts, "before": -1.5, "after": 1, "method": None})
    write_tables(tmp_path, {"one_change.csv": table})
    read = pd.read_csv(tmp_path / "one_change.csv")
    assert [text.strip("\ufffd") for text in read["fact"]] == [
        "'=1+2",
        "'+1",
        "'-1",
        "'@SUM(A1)",
        "'\t=1",
        "'\ufffd=1",
        "'\n=1",
        *texts[7:],
    ]
    assert read["before"].tolist() == [-1.5] * len(texts)


def test_a_models_name_is_no_formula_in_any_table(tmp_path, compare):
    formula = '=HYPERLINK("http://x","y")'
    compare(
        write(
            tmp_path / "results", *(make_record(*of, config={"model": formula}) for of in (("single", 1), ("ddp", 2)))
        )
    )
    for path in (tmp_path / "results").glob("*.csv"):
        cells = pd.read_csv(path, dtype=str).fillna("").to_numpy().ravel()
        assert not [cell for cell in cells if cell.startswith("=")], path.name
        assert any(cell == f"'{formula}" for cell in cells), path.name
