"""The page: one HTML file with everything in it. No network, no script."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from common.analysis.judging.judgement import MAX_GROUPS_IN_FULL, Judgement
from common.analysis.page.figures import Figures
from common.analysis.page.wording import TEMPLATES, Wording
from common.analysis.reading.folder import Folder
from common.errors import UsageError

MAX_LISTED = 100


def write_report(
    path: Path,
    folder: Folder,
    judgement: Judgement,
    figures: Figures,
    words: Wording,
    others: Mapping[str, str] | None = None,
) -> None:
    """Write the page, whole or not at all. UsageError where `path` cannot be written."""
    page = render_page(folder, judgement, figures, words, others)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=path.parent, prefix=".report-", delete=False
        ) as file:
            temporary = Path(file.name)
            file.write(page)
        temporary.chmod(0o644)
        os.replace(temporary, path)
    except OSError as error:
        if temporary:
            temporary.unlink(missing_ok=True)
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


def render_page(
    folder: Folder, judgement: Judgement, figures: Figures, words: Wording, others: Mapping[str, str] | None = None
) -> str:
    """The page as text. Everything that comes from a record is escaped by the template engine.

    `others`: the same page in other languages, their addresses by language.
    """
    engine = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    engine.filters |= {
        "text": words.text,
        "lines": words.lines,
        "cell": words.cell,
        "interval": words.interval,
        "header": words.header,
        "label": words.label,
        "title_of": words.title,
        "facts": words.facts,
        "prose": _prose,
        "unbroken": _unbroken,
        "svg": lambda drawn: Markup(drawn.on_page),
    }
    engine.globals |= {"say": words.say, "max_listed": MAX_LISTED}
    return engine.get_template("report.html.j2").render(
        contents=[],
        language=words.language,
        others=(others or {}).items(),
        judgement=judgement,
        figures=figures,
        folder=folder,
        groups_in_full=MAX_GROUPS_IN_FULL,
        left_out=max(0, len(judgement.unfinished) - MAX_LISTED) + max(0, len(folder.skipped) - MAX_LISTED),
        newest=max((run.record.finished_at for run in folder.runs), default="")[:16].replace("T", " "),
    )
