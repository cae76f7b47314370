"""Every message has a sentence, every sentence a message, and no other module says anything in English."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import get_args

import pytest
from conftest import ROOT

from analysis.factories import make_record, typical_lab, write
from analysis.profile_factories import make_probed, profiled_lab
from analysis.views import WORDS, fact
from common.analysis.comparing.facts import BATCH, GROUP_KEY, OTHER_FACTS
from common.analysis.comparing.rows import RowName
from common.analysis.page.rendering import draw_figures, render_page
from common.analysis.reading.folder import Skipped, read_folder
from common.analysis.reading.step_profile import PHASES
from common.analysis.sections import report
from common.analysis.sections.report import build_report
from common.records import FailureKind
from common.sentences import sentences

ANALYSIS = Path(report.__file__).parents[1]
OTHERS = ("command_line", "console", "running", "measuring", "machine")
SPEAKING = [ANALYSIS, ROOT / "lessons" / "fault_lab", *(ANALYSIS.parent / name for name in OTHERS)]
"""What speaks the reader's language; step 01 does, too."""
ID = re.compile(r"[a-z_]+\.[a-z_.]+")
SAYING = {"message", "Message", "translate", "text", "answer"}


def sources() -> list[Path]:
    single = ("01_environment_check.py", "05_performance_comparison.py", "common/requirements/needed_host.py",
              "common/content.py", "common/step_01.py")  # fmt: skip
    return [*(path for folder in SPEAKING for path in folder.rglob("*.py")), *(ROOT / name for name in single)]


def patterns() -> set[str]:
    """Every id that the code may use, as regular expressions: what an f-string fills in may be anything."""
    found = set()
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(re.escape(node.value))
            elif isinstance(node, ast.JoinedStr):
                parts = [re.escape(part.value) if isinstance(part, ast.Constant) else ".+" for part in node.values]
                found.add("".join(parts))
    return found


def test_every_sentence_is_used():
    """Ids that code puts together from parts, `check.<id>.<reason>`, count where such a pattern stands in the code."""
    templates = " ".join(path.read_text() for path in (ANALYSIS.parents[1] / "templates").glob("*.j2"))
    known = [re.compile(pattern) for pattern in patterns() if re.search("[a-z]{3}", pattern)]
    looked_up = {"bool", "check_name", "column", "defaults", "device", "doing", "fact", "fact_value", "fault_need",
                 "list", "outcome", "precision_kind", "published_care", "row", "short", "status", "unit"}  # fmt: skip
    unused = [
        id
        for id in sentences()
        if id.split(".")[0] not in looked_up
        and id not in templates
        and not any(one.fullmatch(id) or one.fullmatch(id.removesuffix("s")) for one in known)  # `counted` adds the s
    ]
    assert unused == []


def test_every_message_that_is_named_in_full_has_a_sentence():
    missing = []
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
                name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                id = node.args[0].value
                if name in SAYING - {"answer"} and isinstance(id, str) and ID.fullmatch(id) and id not in sentences():
                    missing.append((path.name, id))
                if name == "answer" and f"check_name.{id}" not in sentences():
                    missing.append((path.name, id))
    assert missing == []


def reasons_of_checks() -> set[str]:
    """`check.<id>.<reason>` of every `not_passed(id, outcome, reason)` and `warning_if(is_wrong, id, reason)`; a reason
    that is a name may be each text that its function assigns to it."""
    ids = set()
    for path in (ANALYSIS / "judging").glob("*_checks.py"):
        for function in (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)):
            nodes = list(ast.walk(function))
            for call in nodes:
                place = {"not_passed": 0, "warning_if": 1}.get(getattr(getattr(call, "func", None), "id", ""))
                if place is None or not isinstance(call.args[place], ast.Constant):
                    continue
                given = [call.args[2]]
                if isinstance(call.args[2], ast.Name):
                    names = {call.args[2].id}
                    given = [one.value for one in nodes if isinstance(one, ast.Assign) and names & {
                             part.id for target in one.targets for part in ast.walk(target)
                             if isinstance(part, ast.Name)}]  # fmt: skip
                texts = [part.value for one in given for part in ast.walk(one) if isinstance(part, ast.Constant)]
                ids |= {f"check.{call.args[place].value}.{text}" for text in texts if isinstance(text, str)}
    return ids


def test_every_check_reason_has_a_sentence():
    ids = reasons_of_checks()
    assert len(ids) > 20
    assert ids - set(sentences()) == set()


def test_every_fact_phase_and_kind_of_failure_has_a_name():
    for name in (*GROUP_KEY, *BATCH.values(), *OTHER_FACTS):
        assert f"fact.{name}" in sentences()
    for phase in PHASES:
        assert {f"phase.{phase}", f"doing.{phase}"} <= set(sentences())
    for kind in get_args(FailureKind):
        assert f"failure_kind.{kind}" in sentences()


@pytest.mark.parametrize(
    ("name", "text", "within"),
    [
        (RowName("single", 1), "One device", "one device"),
        (RowName("ddp", 2), "DDP × 2", "DDP × 2"),
        (RowName("ddp", 2, nodes=2, letter="b"), "DDP × 2 on 2 nodes (b)", "DDP × 2 on 2 nodes (b)"),
        (RowName("ddp", 2, options="--one-bucket", is_valid=False), "DDP × 2 with --one-bucket (not valid)", None),
    ],
)
def test_names_of_rows(name, text, within):
    assert WORDS.text(name) == text
    assert WORDS.format_field(name, "within") == (within or text)


def test_lists_values_and_facts():
    many = [f"r{number}" for number in range(7)]
    assert WORDS.format_field(many, "short") == "r0, r1, r2, r3 and 3 more"
    assert WORDS.format_field([2, 4], "and") == "2 and 4"
    assert fact("compile", True) == ("compiled", "yes")
    assert fact("image_size_px", 64) == ("image size", "64 px")
    assert fact("ddp_options", "") == ("DDP's options", "the defaults")


def report_of(folder):
    return build_report(read_folder(folder))


def test_a_mistake_of_ours_stands_out_on_the_page(tmp_path):
    judged = report_of(write(tmp_path, *typical_lab()))
    judged.folder.skipped.append(Skipped("bad.json", "KeyError: 'x'", is_our_fault=True))
    page = render_page(judged, draw_figures(judged, WORDS, with_png=False), WORDS)
    assert "a mistake in this program</span> KeyError" in page


def test_another_language_needs_nothing_but_its_sentences(tmp_path, monkeypatch):
    """With every sentence replaced by its id, no message's English is left on the page outside the templates."""
    judged = report_of(write(tmp_path, *profiled_lab(), make_probed(), make_record("ddp", 2, config={"seed": 1})))
    monkeypatch.setattr(WORDS, "_sentences", {id: f"<{id}>" for id in sentences()})
    page = render_page(judged, draw_figures(judged, WORDS, with_png=False), WORDS)
    main = page[page.index("<header>") : page.index('id="glossary"')]
    for english in ("Use DDP", "times as fast", "samples per device", "Throughput", "Bars:", "no interval", "spends",
                    "Scaling", "imbalance", "3 runs", "Emulated"):  # fmt: skip
        assert english not in main, english
