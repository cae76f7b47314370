"""The page: one HTML file with everything in it. No network, no script."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from jinja2 import Environment, FileSystemBytecodeCache, FileSystemLoader, StrictUndefined
from jinja2.bccache import Bucket
from markupsafe import Markup, escape

from common.analysis.page.figures import Figures, draw_figures
from common.analysis.page.second_drawer import SecondDrawer
from common.analysis.page.typesetting import typeset
from common.analysis.page.wording import Wording
from common.analysis.predicting.question import Question
from common.analysis.reading.folder import Folder, our_fault
from common.analysis.reading.runs import Run
from common.analysis.sections.judgement import Judgement, judge
from common.errors import UsageError
from common.formats import without_controls
from common.records import METHODS
from common.records.files import write_bytes
from common.requirements import as_recorded
from common.sentences import TEMPLATES


class _Compiled(FileSystemBytecodeCache):
    """Compiled templates, kept as Python keeps its own: to compile them takes longer than to fill them in.

    Where none can be kept or read, they are compiled anew.
    """

    def load_bytecode(self, bucket: Bucket) -> None:
        with suppress(Exception):
            super().load_bytecode(bucket)

    def dump_bytecode(self, bucket: Bucket) -> None:
        if not sys.dont_write_bytecode:
            with suppress(OSError):
                os.makedirs(self.directory, exist_ok=True)
                super().dump_bytecode(bucket)


def compose(
    folder: Folder,
    words: Wording,
    with_png: bool,
    question: Question | None = None,
    others: Mapping[str, str] | None = None,
    second: SecondDrawer | None = None,
) -> tuple[Judgement, Figures, str]:
    """Judge, draw, and render the page. Runs that a mistake of ours stumbles over are moved to `folder.skipped`."""

    def attempt() -> tuple[Judgement, Figures, str]:
        judgement = judge(folder, question)
        figures = draw_figures(judgement, words, with_png, second)
        return judgement, figures, render_page(folder, judgement, figures, words, others)

    try:
        return attempt()
    except Exception:
        found = {run.file: _mistake(run, folder, words) for run in folder.runs}
        if not any(found.values()) or all(found.values()):
            raise
    folder.skipped += [our_fault(file, error) for file, error in found.items() if error]
    folder.runs = [run for run in folder.runs if not found[run.file]]
    return attempt()


def _mistake(run: Run, folder: Folder, words: Wording) -> Exception | None:
    """What goes wrong with a page about this run alone."""
    alone = replace(folder, runs=[run], skipped=[])
    try:
        judgement = judge(alone)
        render_page(alone, judgement, draw_figures(judgement, words, with_png=False), words)
    except Exception as error:
        return error
    return None


def write_report(path: Path, page: str) -> None:
    """Write the page, whole or not at all. UsageError where `path` cannot be written, or holds anything but a page."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file() and not _is_page(path):  # a record, say
            raise FileExistsError(errno.EEXIST, "it is there and no page")
        write_bytes(path, without_controls(page).encode(errors="replace"))
    except OSError as error:
        raise UsageError(
            f"cannot write --output-report {path} ({error.strerror}): give a file that can be written"
        ) from None


def _prose(text: str) -> Markup:
    """Text of a sentence, with what stands in backquotes as code."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _unbroken(text: str) -> str:
    """No line ends between a number and its unit, nor within `DP × 2` or an interval."""
    text = re.sub(r"(?<=\d)–(?=\d)", "\u2060–\u2060", text)
    return re.sub(r"(?<=P) (?=× \d)|(?<=P ×) (?=\d)|(?<=\d) (?=[×%]|[mµ]?s\b|[KMG]iB)", "\u00a0", text)


def _is_page(path: Path) -> bool:
    with open(path, "rb") as file:
        start = file.read(64).lstrip()
    return not start or start.lower().startswith(b"<!doctype html>")


def engine_of(words: Wording) -> Environment:
    """The template engine with everything that a template calls."""
    engine = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        bytecode_cache=_Compiled(str(TEMPLATES / "__pycache__")),
    )
    engine.filters |= {
        "text": words.text,
        "listed": words.listed,
        "paragraph": words.paragraph,
        "cell": words.cell,
        "interval": words.interval,
        "header": words.header,
        "label": words.label,
        "kind": lambda part: type(part).__name__,
        "requirements": lambda record: as_recorded(record, words),
        "prose": _prose,
        "unbroken": _unbroken,
        "svg": lambda drawn: Markup(drawn.on_page),
    }
    engine.globals |= {"say": words.say, "methods": METHODS.values()}
    return engine


def render_page(
    folder: Folder, judgement: Judgement, figures: Figures, words: Wording, others: Mapping[str, str] | None = None
) -> str:
    """The page as text. Everything that comes from a record is escaped by the template engine.

    `others`: the same page in other languages, their addresses by language.
    """
    template = engine_of(words).get_template("report.html.j2")
    page = template.render(
        language=words.language,
        others=(others or {}).items(),
        judgement=judgement,
        figures={plot.name: plot for plot in figures},
        folder=folder,
        newest=max((run.record.finished_at for run in folder.runs), default="")[:16].replace("T", " "),
    )
    return typeset(page)
