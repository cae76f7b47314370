"""Fixtures of the analysis wing's tests: step 05 as a process, and a headless browser."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from conftest import run_step_05

from analysis.factories import make_record, write
from analysis.profile_factories import make_probed, profiled_lab
from common.records import DdpOptions

ROOT = Path(__file__).parents[2]
PAGES = {"en": "report.html", "zh-TW": "report.zh-TW.html"}
NETWORK_OFF = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic"]


@pytest.fixture
def compare(tmp_path, run_comparison):
    """Run step 05 on a folder; returns the finished process. The report goes to `tmp_path/report.html`.

    It is forked from a process that has imported pandas, for speed; with an `env` of its own it starts anew.
    """

    def run(folder, *options, env=None):
        options = ["--results-dir", str(folder), *options]
        if "--output-report" not in options:
            options += ["--output-report", str(tmp_path / "report.html")]
        if env is None:
            return run_comparison(*options)
        command = [sys.executable, str(ROOT / "05_performance_comparison.py"), *options]
        env = {**os.environ, **env}
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=env, timeout=120)

    return run


@pytest.fixture(scope="session")
def browser():
    """Headless Chromium. Skipped, and counted as skipped, where there is none."""
    playwright = pytest.importorskip("playwright.sync_api")
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("no chromium on this machine")
    with playwright.sync_playwright() as driver:
        flags = ["--no-sandbox", "--disable-gpu", "--no-first-run", *NETWORK_OFF]
        window = driver.chromium.launch(executable_path=program, args=flags)
        yield window
        window.close()


@pytest.fixture(scope="session")
def lab_page(once):
    """The page of a lab that was profiled, with probes; like the next two written once, for many tests to read."""
    return once("lab_page", lambda folder: _report(folder, *profiled_lab(epochs=3), make_probed()))


@pytest.fixture(scope="session")
def wide_page(once):
    """A page with long names, options that were tried, several nodes and several groups."""
    long = make_record(config={"model": "a_model_with_a_very_long_name_" * 4}, command="python " + "x" * 300)
    tried = {"ddp": DdpOptions(one_bucket=True, comm_hook="powersgd", gradient_as_bucket_view=False, static_graph=True)}
    across = make_record("ddp", 2, world={"nodes": 2, "restarts": 1})
    records = [*profiled_lab(), make_record("ddp", 2, config=tried), across, make_record("ddp", 4, 1.0), long]
    return once("wide_page", lambda folder: _report(folder, *records, make_probed()))


@pytest.fixture(scope="session")
def h100_page(once):
    """The page of two H100s."""
    examples = ROOT / "results" / "examples" / "h100x2"
    return once("h100_page", lambda folder: _report(shutil.copytree(examples, folder, dirs_exist_ok=True)))


@pytest.fixture(scope="session")
def example_pages(once):
    """An example's pages by language, `example_pages("cpu")["en"]`: as step 05 writes both at once."""

    def made(example: str) -> dict[str, str]:
        folder = once(f"pages-{example}", partial(_both_pages, example))
        return {language: (folder / file).read_text(encoding="utf-8") for language, file in PAGES.items()}

    return made


def _both_pages(example: str, folder: Path) -> Path:
    results = shutil.copytree(ROOT / "results" / "examples" / example, folder / "results")
    done = run_step_05(folder, "--results-dir", results, "--output-report", "report.html", "--lang", "both", "--quiet")
    assert (done.returncode, done.stdout) == (0, "")
    return folder


def _report(folder: Path, *records) -> Path:
    """The page of a folder, with these records in it."""
    page = write(folder, *records) / "report.html"
    done = run_step_05(folder, "--results-dir", folder, "--output-report", page)
    assert done.returncode == 0, done.stderr
    return page


AS_IT_CAME = """() => {
    const parts = [...document.querySelectorAll('details')];
    window.open_at_first ??= parts.filter(part => part.open);
    parts.forEach(part => part.open = window.open_at_first.includes(part));
    document.activeElement.blur();
    getSelection().removeAllRanges();
}"""
"""Folds and unfolds a page's parts as they were when this was called first, and takes back focus and selection."""


@pytest.fixture(scope="session")
def tabs(browser):
    """Open tabs, by what they show: to load a page takes more than a second of a core, to show it in another way
    next to nothing."""
    return {}


@pytest.fixture
def open_page(tmp_path, compare, browser, tabs):
    """Open a report, or write one of the given records first; requests and console messages are kept.

    Tests that look at the same report share its tab, so they change nothing on it but what `AS_IT_CAME` takes back.
    What lies in `tmp_path` is a test's own.
    """

    def open_(what, width=1280, scheme="light"):
        report = what
        if not isinstance(what, Path):
            report = tmp_path / "report.html"
            done = compare(write(tmp_path / "results", *what))
            assert done.returncode == 0, done.stderr
        name = "own" if report.parent == tmp_path else report
        tab = tabs.get(name) or tabs.setdefault(name, _new_tab(browser))
        tab.set_viewport_size({"width": width, "height": 900})
        tab.emulate_media(media="null", color_scheme=scheme)
        if tab.url != report.as_uri():
            tab.requests, tab.messages = [], []
            tab.goto(report.as_uri())
        tab.evaluate(AS_IT_CAME)
        return tab

    return open_


def _new_tab(browser):
    tab = browser.new_page()
    tab.on("request", lambda request: tab.requests.append(request.url))
    tab.on("console", lambda message: tab.messages.append(message.text))
    tab.on("pageerror", lambda error: tab.messages.append(str(error)))
    tab.on("dialog", lambda dialog: (tab.messages.append(dialog.message), dialog.dismiss()))
    return tab


@pytest.fixture
def run_help():
    """The flags that a script's --help names."""

    def flags(script):
        done = subprocess.run(
            [sys.executable, str(ROOT / script), "--help"], capture_output=True, text=True, timeout=60
        )
        return re.findall(r"--[a-z][a-z-]+", done.stdout)

    return flags
