"""Step 05 as a user runs it: a process, its console, its exit code, its files."""

from __future__ import annotations

import os

import pytest

from analysis.factories import in_rounds, make_environment_record, make_record, typical_lab, write
from analysis.views import without_marks
from common.records import Failure


def test_a_lab_becomes_a_table_a_page_and_plots(tmp_path, compare):
    folder = write(tmp_path / "results", *in_rounds(*typical_lab()), make_environment_record())
    done = compare(folder, "--generate-plots")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "16 images per core: DDP is 1.67 times as fast as one CPU core" in " ".join(done.stdout.split())
    assert "DDP × 2 is 1.3" in done.stdout
    assert "Emulated: DP × 2" in done.stdout
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "<script" not in page
    plots = {path.name for path in (folder / "plots").iterdir()}
    assert {"group1_throughput.svg", "group1_throughput.png", "group1_memory.png", "group1_scaling.svg"} <= plots


def test_it_never_imports_torch(tmp_path, compare):
    trap = tmp_path / "trap"
    for name in ("torch", "torchvision"):
        (trap / name).mkdir(parents=True)
        (trap / name / "__init__.py").write_text("raise SystemExit('torch was imported')")
    folder = write(tmp_path / "results", *typical_lab())
    done = compare(folder, "--generate-plots", env={"PYTHONPATH": str(trap)})
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_notebooks_backend_is_not_needed(tmp_path, run_comparison):
    folder = write(tmp_path / "results", *typical_lab())
    notebook = os.environ | {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    done = run_comparison("--results-dir", folder, "--generate-plots", env=notebook)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_quiet_says_nothing_and_writes_the_page(tmp_path, compare):
    done = compare(write(tmp_path / "results", *typical_lab()), "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "report.html").exists()


def test_brief_says_what_to_do_without_tables(tmp_path, compare):
    done = compare(write(tmp_path / "results", *typical_lab()), "--brief")
    assert done.returncode == 0
    assert done.stdout.startswith(f"\nWritten: {tmp_path}/report.html, {tmp_path}/checkpoints.html, ")
    assert "\nVerdict: " in done.stdout
    assert "\nNext: " in done.stdout
    assert "Speed-up" not in done.stdout


def one_line_error(done):
    """The line, where the process ended as bad input should end."""
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_no_records_says_what_to_run(tmp_path, compare):
    (tmp_path / "results").mkdir()
    assert "02_baseline_single_gpu.py" in one_line_error(compare(tmp_path / "results"))
    (tmp_path / "results" / "x.json").write_text("{}")
    assert "x.json: JSON, but not a record of this lab" in one_line_error(compare(tmp_path / "results"))
    write(tmp_path / "results", make_environment_record())
    assert "03_dataparallel_training.py" in one_line_error(compare(tmp_path / "results"))


def test_no_folder(tmp_path, compare):
    assert "--results-dir" in one_line_error(compare(tmp_path / "nowhere"))
    (tmp_path / "file").write_text("")
    assert "--results-dir" in one_line_error(compare(tmp_path / "file"))


def test_unknown_flag(tmp_path, compare):
    assert "--frobnicate" in one_line_error(compare(tmp_path, "--frobnicate"))


@pytest.mark.parametrize(
    "target", ["file/report.html", "folder", "pipe", "weights.pt", "results/single.json", "results/runs.csv"]
)
def test_a_page_that_cannot_be_written(tmp_path, compare, target):
    """A record is not overwritten, nor is what is no file (/dev/null, say) replaced, nor all of a large file read."""
    folder = write(tmp_path / "results", *typical_lab())
    (folder / "single.json").write_text(before := make_record().model_dump_json())
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "weights.pt").touch()
    os.truncate(tmp_path / "weights.pt", 2**40)  # more than any memory; it takes no room
    done = compare(folder, "--quiet", "--output-report", str(tmp_path / target))
    assert "--output-report" in one_line_error(done)
    assert not list(tmp_path.rglob("*.part"))
    assert (folder / "single.json").read_text() == before
    assert (tmp_path / "pipe").is_fifo()


def test_a_page_behind_a_link_is_renewed_and_the_link_stays(tmp_path, compare):
    folder = write(tmp_path / "results", *typical_lab())
    (tmp_path / "elsewhere.html").write_text("")
    (tmp_path / "link.html").symlink_to(tmp_path / "elsewhere.html")
    for _ in range(2):
        assert compare(folder, "--quiet", "--output-report", str(tmp_path / "link.html")).returncode == 0
    assert (tmp_path / "link.html").is_symlink()
    assert (tmp_path / "elsewhere.html").read_text().startswith("<!doctype html>")


def test_plots_that_cannot_be_written(tmp_path, compare):
    folder = write(tmp_path / "results", *typical_lab())
    (folder / "plots").write_text("in the way")
    assert "plots" in one_line_error(compare(folder, "--quiet", "--generate-plots"))


def test_bad_files_are_named_and_the_rest_is_compared(tmp_path, compare):
    records = typical_lab()
    folder = write(tmp_path / "results", *records)
    text = records[0].model_dump_json()
    (folder / "cut.json").write_text(text[:700])
    (folder / os.fsdecode(b"\xff.json")).write_text("a name that is not UTF-8")
    (folder / "future.json").write_text(text.replace('"schema_version":1', '"schema_version":2'))
    (folder / "nan.json").write_text(text.replace('"step_seconds":[', '"step_seconds":[NaN,'))
    (folder / "negative.json").write_text(text.replace('"step_seconds":[', '"step_seconds":[-1.0,'))
    write(folder, make_record(config={"model": "resnet50"}))
    done = compare(folder)
    assert done.returncode == 0
    page = (tmp_path / "report.html").read_text()
    for name in ("cut.json", "future.json", "nan.json", "negative.json"):
        assert name in done.stdout
        assert name in page
    assert "model resnet18 (group 1) and resnet50 (group 2)" in done.stdout


def test_markup_in_names_is_text(tmp_path, compare):
    nasty = "<script>alert(1)</script>[/bold]$x_1${{ 7*7 }}\x1b[31m"
    failure = Failure(kind="exception", rank=0, message=nasty, advice=nasty)
    records = [
        make_record(config={"model": nasty}, command=nasty, environment={"hostname": nasty, "cpu_model": nasty}),
        make_record("dp", 2, config={"model": nasty}, world={"device_model": nasty}),
        make_record("ddp", 2, status="failed", failure=failure, run_id="<img src=x onerror=alert(2)>"),
    ]
    done = compare(write(tmp_path / "results", *records), "--generate-plots")
    assert done.returncode == 0, done.stderr
    assert "<script>alert(1)</script>[/bold]$x_1${{ 7*7 }}" in done.stdout
    assert "\x1b[31m" not in done.stdout
    page = (tmp_path / "report.html").read_text()
    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;[/bold]$x_1${{ 7*7 }}" in page
    assert "\x1b" not in page + "".join(path.read_text() for path in (tmp_path / "results").glob("*.csv"))


def test_only_unfinished_runs_still_make_a_page(tmp_path, compare):
    failure = Failure(kind="out_of_memory", rank=1, message="CUDA out of memory", advice="lower --batch-size")
    silent = make_record(status="failed", failure=failure).model_copy(update={"ranks": []})
    lost = make_record("ddp", 2, status="failed", failure=failure).model_copy(update={"ranks": [], "epochs": []})
    done = compare(write(tmp_path / "results", lost, silent))
    assert done.returncode == 0, done.stderr
    assert "No run completed" in done.stdout
    page = without_marks((tmp_path / "report.html").read_text())
    assert "out of memory on rank 1: CUDA out of memory" in page
    assert "lower --batch-size" in page


def test_gpu_records_speak_of_gpu_memory(tmp_path, compare):
    done = compare(write(tmp_path / "results", *typical_lab(kind="cuda")))
    assert "GPU memory" in done.stdout
    assert "1.76 GiB / 900 MiB" in done.stdout
    assert "imbalance 2.00" in done.stdout
    assert "stand in" not in done.stdout


def test_pipes_among_the_records_are_not_waited_for(tmp_path, compare):
    folder = write(tmp_path / "results", *typical_lab())
    (folder / "faults").mkdir()
    for name in ("faults/fault_disk_full_x.json", "01_environment-x.json", "02_single_x.json", "comparison.csv"):
        os.mkfifo(folder / name)
    done = compare(folder)
    assert done.returncode == 0, done.stderr
    for name in ("faults/fault_disk_full_x.json", "01_environment-x.json", "02_single_x.json"):
        assert name in done.stdout + (tmp_path / "report.html").read_text()


def test_a_page_that_is_a_link_in_a_circle(tmp_path, compare):
    folder = write(tmp_path / "results", *typical_lab())
    (tmp_path / "one.html").symlink_to(tmp_path / "two.html")
    (tmp_path / "two.html").symlink_to(tmp_path / "one.html")
    assert "symbolic links" in one_line_error(compare(folder, "--output-report", str(tmp_path / "one.html"), "--quiet"))
    assert (tmp_path / "one.html").is_symlink()


def test_where_home_cannot_be_written_matplotlib_says_nothing_and_leaves_nothing(tmp_path, compare):
    folder = write(tmp_path / "results", *typical_lab())
    (tmp_path / "home").write_text("no folder")
    (tmp_path / "temporary").mkdir()
    env = {
        "HOME": str(tmp_path / "home"),
        "TMPDIR": str(tmp_path / "temporary"),
        "XDG_CACHE_HOME": "",
        "MPLCONFIGDIR": "",
    }
    done = compare(folder, "--quiet", env=env | {"XDG_CONFIG_HOME": ""})
    assert (done.returncode, done.stderr) == (0, "")
    assert os.listdir(tmp_path / "temporary") == []
