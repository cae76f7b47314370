"""The page: one HTML file with everything in it. No network, no script."""

from __future__ import annotations

import errno
import re
from collections.abc import Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from common.analysis.page.drawing import Plot
from common.analysis.page.wording import Wording, typeset
from common.analysis.reading.folder import Folder
from common.analysis.sections.report import Report
from common.errors import UsageError
from common.formats import without_controls
from common.records import METHODS
from common.records.disk import write_bytes
from common.requirements import as_recorded
from common.sentences import TEMPLATES, language_of


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


def pages(path: Path, wanted: str | None) -> dict[str, Path]:
    """Where each page goes, by language; with `both`, Chinese stands beside the English one as `NAME.zh-TW.html`."""
    if path.suffix.lower() in (".csv", ".json"):
        raise UsageError(f"--output-report {path}: step 05 has files of that kind itself; give a name with .html")
    if wanted != "both":
        return {wanted or language_of(): path}
    return {"en": path, "zh-TW": path.with_name(f"{path.stem}.zh-TW{path.suffix}")}


def _prose(text: str) -> Markup:
    """Text of a sentence, with what stands in backquotes as code."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))


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
        "svg": lambda drawn: Markup(drawn.on_page),
    }
    engine.globals |= {"translate": words.translate, "methods": METHODS.values()}
    return engine


def render_page(
    folder: Folder,
    report: Report,
    figures: Mapping[str, Plot],
    words: Wording,
    others: Mapping[str, str] | None = None,
    exercise: str = "",
) -> str:
    """The page as text. Everything that comes from a record is escaped by the template engine.

    `others`: the same page in other languages, their addresses by language; `exercise`: the address of the exercise's
    page.
    """
    template = engine_of(words).get_template("report.html.j2")
    page = template.render(
        language=words.language,
        others=(others or {}).items(),
        home="",
        exercise=exercise,
        sections=report.sections,
        report=report,
        figures=figures,
        folder=folder,
        newest=max((run.record.finished_at for run in folder.runs), default="")[:16].replace("T", " "),
    )
    return typeset(_without_unused_terms(page))


def _without_unused_terms(page: str) -> str:
    """The page without the glossary's entries that nothing on it leads to."""
    entry = re.compile(r'\s*<dt id="([^"]*)">.*?</dd>', re.DOTALL)
    return entry.sub(lambda match: match[0] if f'href="#{match[1]}"' in page else "", page)


def render_exercise(
    report: Report, figures: Mapping[str, Plot], words: Wording, home: str, others: Mapping[str, str] | None = None
) -> str:
    """The page of the exercise as text: checkpoints, and the published table. `home`: the address of the report."""
    template = engine_of(words).get_template("checkpoints.html.j2")
    return typeset(
        template.render(
            language=words.language,
            others=(others or {}).items(),
            home=home,
            sections=report.exercise,
            figures=figures,
        )
    )


def exercise_beside(path: Path) -> Path:
    """Where the exercise's page goes: `checkpoints.html` beside the report, or `checkpoints.zh-TW.html`."""
    language = ".zh-TW" if path.stem.endswith(".zh-TW") else ""
    return path.with_name(f"checkpoints{language}{path.suffix}")
