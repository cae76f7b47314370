"""The page: one HTML file with everything in it. No network, no script."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from common.analysis.comparing.groups import Group, Row
from common.analysis.comparing.peak_memory import memory_of
from common.analysis.judging import explain
from common.analysis.judging.advice import advise
from common.analysis.judging.options_effect import options_sheet, without_default
from common.analysis.judging.verdict import headline, verdicts
from common.analysis.judging.why import reasons, wrapper_price
from common.analysis.page import why_plots
from common.analysis.page.accuracy import accuracy_sheet
from common.analysis.page.drawing import to_files, to_svg
from common.analysis.page.machine_tables import machines, step_01_facts
from common.analysis.page.options_plot import options
from common.analysis.page.plots import Plot, draw_all
from common.analysis.page.probe_sheets import all_reduce_sheet, missing_probes, probe_sheets
from common.analysis.page.sheets import detail_sheets, why_sheets
from common.analysis.page.table import columns
from common.analysis.reading.folder import Folder
from common.errors import UsageError
from common.formats import gib

TEMPLATES = Path(__file__).parents[3] / "templates"
GROUPS_WITH_FIGURES = 4
"""The most telling groups get figures, reasons and advice; a folder of many models would make the page endless."""
MOST_ROWS, MOST_LISTED = 60, 100


def write_report(path: Path, folder: Folder, groups: list[Group]) -> None:
    """Write the page, whole or not at all. UsageError where `path` cannot be written."""
    page = render(folder, groups)
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


def write_plots(target: Path, folder: Folder, groups: list[Group]) -> int:
    """Write all figures of the page into `target` as SVG and PNG; their number. UsageError where that fails."""
    written = 0
    try:
        target.mkdir(parents=True, exist_ok=True)
        for position, group in enumerate(groups[:GROUPS_WITH_FIGURES], start=1):
            for plot in filter(None, [why_plots.steps(group), *draw_all(group), options(group)]):
                to_files(plot.figure, target / f"group{position}_{plot.name}")
                written += 1
        if curve := _all_reduce(folder):
            to_files(curve.figure, target / curve.name)
            written += 1
    except OSError as error:
        raise UsageError(
            f"cannot write plots to {target} ({error.strerror}): make room or mend its permissions"
        ) from None
    return written


def render(folder: Folder, groups: list[Group]) -> str:
    """The page as text. Everything that comes from a record is escaped by the template engine."""
    engine = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    engine.filters["gib"] = gib
    unfinished = [run for run in folder.runs if not run.is_comparable]
    return engine.get_template("report.html.j2").render(
        headline=headline(groups),
        banners=explain.banners(groups),
        single_runs=any(len(row.runs) < 3 for group in groups for row in group.rows),
        groups=[_section(position, group, folder) for position, group in enumerate(groups, start=1)],
        groups_with_figures=GROUPS_WITH_FIGURES,
        why_separate=explain.why_separate(groups),
        unfinished=unfinished[-MOST_LISTED:],
        skipped=folder.skipped[:MOST_LISTED],
        left_out=max(0, len(unfinished) - MOST_LISTED) + max(0, len(folder.skipped) - MOST_LISTED),
        machines=machines(folder),
        step_01=folder.environment,
        step_01_facts=step_01_facts(folder.environment) if folder.environment else [],
        parts_measured=_parts(folder),
        runs=len(folder.runs),
        newest=max((run.record.finished_at for run in folder.runs), default="")[:16].replace("T", " "),
    )


def _section(position: int, group: Group, folder: Folder) -> dict:
    """What the page shows of one group."""
    told_in_full = position <= GROUPS_WITH_FIGURES
    rows, all_rows = group.main_rows[:MOST_ROWS], group.rows[:MOST_ROWS]
    ratios = options(group) if told_in_full else None
    return {
        "id": f"group-{position}",
        "title": explain.group_title(group),
        "scaling": explain.scaling_in_words(group),
        "columns": columns(group),
        "rows": rows,
        "rows_left_out": len(group.main_rows) - len(rows),
        "on_gpu": rows[0].record.world.device_kind == "cuda",
        "verdicts": [verdict.text for verdict in verdicts(group)][:MOST_LISTED],
        "differences": group.differences,
        "options": options_sheet(group),
        "options_plot": _drawn(ratios, f"group{position}") if ratios else None,
        "without_default": without_default(group),
        "why": _why(position, group, folder) if told_in_full else None,
        "plots": [_drawn(plot, f"group{position}") for plot in draw_all(group)] if told_in_full else [],
        "accuracy": accuracy_sheet(group),
        "memory": [(row, peak) for row in all_rows for peak in memory_of(row)],
        "checks": [_checks(row) for row in all_rows],
        "settings": list({**group.key, **_common_facts(group)}.items()),
        "commands": [(row, list(Counter(run.record.command for run in row.runs).items())[:5]) for row in all_rows],
    }


def _why(position: int, group: Group, folder: Folder) -> dict:
    """Reasons and advice for one group."""
    probed = folder.probes
    steps = why_plots.steps(group)
    return {
        "steps": _drawn(steps, f"group{position}") if steps else None,
        "reasons": reasons(group),
        "notes": [f"{row.label}: {run.anatomy_note}" for row in group.rows for run in row.runs if run.anatomy_note],
        "sheets": why_sheets(group, probed),
        "details": detail_sheets(group),
        "wrapper": wrapper_price(group),
        "advice": advise(group, probed),
    }


def _parts(folder: Folder) -> dict | None:
    """What step 01 measured of the machine's parts, the newest; None where it has not."""
    if not folder.probed:
        return None
    newest, plot = folder.probed[-1], _all_reduce(folder)
    curve = newest.probes.all_reduce
    return {
        "host": newest.environment.hostname,
        "sheets": probe_sheets(newest.probes),
        "plot": _drawn(plot, "machine") if plot else None,
        "curve": all_reduce_sheet(curve) if curve else None,
        "missing": missing_probes(newest.probes),
    }


def _all_reduce(folder: Folder) -> Plot | None:
    curve = folder.probed[-1].probes.all_reduce if folder.probed else None
    return why_plots.all_reduce(curve) if curve else None


def _drawn(plot: Plot, place: str) -> tuple[Plot, Markup]:
    return plot, Markup(to_svg(plot.figure, f"{place}-{plot.name}"))


def _common_facts(group: Group) -> dict[str, str]:
    """Facts on which all rows that have them agree; the others are named as differences."""
    values: dict[str, set[str]] = {}
    for row in group.rows:
        for name, value in row.facts.items():
            values.setdefault(name, set()).add(value)
    return {name: next(iter(known)) for name, known in values.items() if len(known) == 1}


def _checks(row: Row) -> dict:
    """A row's self-checks: over its runs the worst outcome of each, with the reason of the newest run that had it."""
    severity = ("failed", "warning", "not measured", "passed", "not applicable")
    by_name: dict[str, list] = {}
    for run in reversed(row.runs):
        for check in run.checks:
            by_name.setdefault(check.name, []).append(check)
    for check in row.checks:
        by_name[check.name] = [check]
    told = []
    for name, checks in by_name.items():
        worst = min(checks, key=lambda check: severity.index(check.outcome))
        alike = sum(check.outcome == worst.outcome for check in checks)
        share = f" ({alike} of {len(checks)} runs)" if alike < len(checks) else ""
        told.append({"name": name, "outcome": worst.outcome, "reason": worst.reason + share})
    doubts = [check["name"] for check in told if check["outcome"] in ("failed", "warning")]
    return {"row": row, "checks": told, "doubts": doubts, "open": any(check["outcome"] == "failed" for check in told)}
