"""The pages and their figures: HTML files with everything in them, without network or script; SVG and PNG files."""

import errno
import re
from collections.abc import Mapping
from html import escape as html_escape
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from common.analysis.page import method_plots, reason_plots
from common.analysis.page.charts import CARD, COST_COLOURS, INK, MUTED, PHASE_COLOURS, Plot
from common.analysis.page.typesetting import typeset
from common.analysis.sections.exercise import exercise_sections
from common.analysis.sections.report import Report
from common.errors import UsageError
from common.formats import without_controls
from common.records import METHODS
from common.records.disk import write_bytes
from common.requirements import as_recorded
from common.sentences import TEMPLATES, Sentences, language_of


def draw_figures(report: Report, words: Sentences, with_png: bool) -> dict[str, Plot]:
    """Every figure of what is told in full, by its name on the page, which is its file's, too: `group1_steps`."""
    plots: dict[str, list[Plot | None]] = {"group1": [method_plots.draw_answer(report, words)]}
    for part in report.groups:
        if part.is_in_full:
            plots.setdefault(f"group{part.number}", []).extend([
                reason_plots.draw_breakdowns(part.breakdowns, words),
                reason_plots.draw_steps(part.group, words),
                method_plots.draw_scaling(part, words),
                method_plots.draw_throughput(part.group, words),
                method_plots.draw_memory(part.group, words),
                method_plots.draw_loss(part.group, words),
                reason_plots.draw_options(part.effects, words),
            ])  # fmt: skip
    probed = report.folder.probed
    plots["machine"] = [reason_plots.draw_all_reduce(probed[-1].probes.all_reduce if probed else None, words)]
    plots["all"] = [reason_plots.draw_ladder(report.ladder, words)]
    for number, crossover in enumerate(report.crossovers, start=1):
        plots[f"batches{number}"] = reason_plots.draw_batches(crossover, words)
    figures = {f"{place}_{plot.name}": plot for place, of_place in plots.items() for plot in of_place if plot}
    if with_png and (summary := method_plots.draw_summary(report, words)):
        figures[summary.name] = summary
    for name, plot in figures.items():
        plot.draw(name, with_png)
    return figures


def write_figures(folder: Path, figures: Mapping[str, Plot]) -> int:
    """Write all figures into `folder` as SVG and PNG, and take out those of earlier pages; returns their number.

    UsageError where that fails.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, plot in figures.items():
            write_bytes(folder / f"{name}.svg", plot.svg.encode())
            write_bytes(folder / f"{name}.png", plot.png)
        for path in folder.iterdir():
            is_own = re.fullmatch(r"((group\d+|batches\d+|machine|all)_[a-z_]+|summary)\.(svg|png)", path.name)
            if is_own and path.stem not in figures:
                path.unlink()
    except OSError as error:
        raise UsageError(
            f"cannot write plots to {folder} ({error.strerror}): make room or correct its permissions"
        ) from None
    return len(figures)


def page_files(path: Path, wanted: str | None) -> dict[str, Path]:
    """Where each page goes, by language; with `both`, Chinese stands beside the English one as `NAME.zh-TW.html`."""
    if path.suffix.lower() in (".csv", ".json"):
        raise UsageError(f"--output-report {path}: step 05 has files of that kind itself; give a name with .html")
    if wanted != "both":
        return {wanted or language_of(): path}
    return {"en": path, "zh-TW": path.with_name(f"{path.stem}.zh-TW{path.suffix}")}


def write_pages(report: Report, files: Mapping[str, Path], with_png: str | None) -> tuple[list[Path], dict[str, Plot]]:
    """Write the page into each language's file, and the exercise's beside it as `checkpoints.html`, or
    `checkpoints.zh-TW.html`; returns all of the files, and the figures in the language `with_png`, for files as well.

    UsageError where a file cannot be written, or holds anything but a page.
    """
    exercise = exercise_sections(report)
    plots: dict[str, Plot] = {}
    beside = {language: path.with_name(f"checkpoints{'.zh-TW' if path.stem.endswith('.zh-TW') else ''}{path.suffix}")
              for language, path in files.items()}  # fmt: skip
    for language, path in files.items():
        words = Sentences(language)
        figures = draw_figures(report, words, language == with_png)
        plots = figures if language == with_png else plots
        others = {other: file.name for other, file in files.items() if other != language}
        _write(path, render_page(report, figures, words, others, beside[language].name))
        others = {other: beside[other].name for other in others}
        _write(beside[language], _render("checkpoints.html.j2", words, others=others, home=path.name, sections=exercise,
                                         figures=figures))  # fmt: skip
    return [*files.values(), *beside.values()], plots


def _write(path: Path, page: str) -> None:
    """Write a page, whole or not at all, over a page or an empty file alone: no record, say."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            with open(path, "rb") as file:
                start = file.read(64).lstrip().lower()  # of weights of many GiB, not all
            if start and not start.startswith(b"<!doctype html>"):
                raise FileExistsError(errno.EEXIST, "it is there and no page")
        write_bytes(path, without_controls(page).encode(errors="replace"))
    except OSError as error:
        raise UsageError(
            f"cannot write --output-report {path} ({error.strerror}): give a file that can be written"
        ) from None


def render_page(
    report: Report, figures: Mapping[str, Plot], words: Sentences, others: Mapping[str, str] = {}, exercise: str = ""
) -> str:
    """The page as text. Everything that comes from a record is escaped by the template engine.

    `others`: the same page in other languages, their addresses by language; `exercise`: the address of the exercise's
    page.
    """
    newest = max((run.record.finished_at for run in report.folder.runs), default="")[:16].replace("T", " ")
    return _render("report.html.j2", words, others=others, home="", exercise=exercise, sections=report.sections,
                   report=report, figures=figures, newest=newest)  # fmt: skip


def _render(template: str, words: Sentences, **values) -> str:
    engine = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined,
                         trim_blocks=True, lstrip_blocks=True)  # fmt: skip
    of_words = ("text", "listed", "paragraph", "cell", "interval", "label")
    engine.filters |= {name: getattr(words, name) for name in of_words} | {
        "kind": lambda part: type(part).__name__,
        "requirements": lambda record: as_recorded(record, words),
        # what stands in backquotes, as code
        "prose": lambda text: Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text)))),
        "svg": lambda drawn: Markup(on_page(drawn)),
    }
    engine.globals |= {"translate": words.translate, "methods": METHODS.values(), "language": words.language}
    page = engine.get_template(template).render(**values)
    # without the glossary's entries that nothing leads to
    entry = re.compile(r'\s*<dt id="([^"]*)">.*?</dd>', re.DOTALL)
    return typeset(entry.sub(lambda match: match[0] if f'href="#{match[1]}"' in page else "", page))


def on_page(plot: Plot) -> str:
    """A figure's SVG for within the page: colours and font are the style sheet's, so that it reads in light and dark
    alike; its text is real text."""
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", plot.svg, count=1)
    says = html_escape(f"{plot.title}. {plot.alt}".strip(), quote=True)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', lambda match: f'{match[1]} role="img" aria-label="{says}"', svg,
                 count=1)  # fmt: skip
    svg = svg.replace("'DejaVu Sans'", "var(--font)")
    names = {INK: "ink", MUTED: "grid", CARD: "card"} | {method.colour: method.name for method in METHODS.values()}
    names |= {colour: f"phase-{name.replace(' ', '-')}" for name, colour in PHASE_COLOURS.items()}
    names |= {colour: f"cost-{name.replace('_', '-')}" for name, colour in COST_COLOURS.items()}
    for colour, name in names.items():
        svg = svg.replace(colour, f"var(--{name})")
    return svg
