"""Imports run one way: no circle, none against the order of the rooms, no torch where it does not belong.

No module and no public thing has a name twice.

Everything is read from the source (ast); nothing is imported.
"""

from __future__ import annotations

import ast
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BOTTOM = {"catalogue", "content", "errors", "formats", "messages", "sentences", "workload"}
"""Everybody may import these."""
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "workload": set(),
    "formats": set(),
    "messages": set(),
    "catalogue": set(),
    "content": set(),
    "sentences": {"records"},
    "records": set(),
    "setup": set(),
    "requirements": {"records", "setup"},
    "command_line": {"records"},
    "machine": {"records", "command_line"},
    "measuring": {"records", "command_line", "machine"},
    "training": {"records", "command_line", "machine", "measuring"},
    "examining": {"records", "command_line", "machine", "measuring", "training"},
    "hangs": {"records", "command_line", "machine"},
    "running": {"records", "command_line", "machine", "measuring", "training", "examining", "hangs", "console"},
    "probes": {"records", "step_01", "command_line", "machine", "measuring"},
    "step_01": {"records"},
    "console": {"records", "command_line", "step_01"},
    "campaigns": {"records", "command_line", "requirements", "analysis.statistics"},
    "lessons.fault_lab": {"records", "command_line", "analysis.page"},
    "lessons.grading": {"records", "command_line", "console", "analysis.statistics", "analysis.reading",
                "analysis.comparing", "analysis.sections"},
    "analysis.statistics": set(),
    "analysis.reading": {"records", "analysis.statistics"},
    "analysis.comparing": {"records", "analysis.statistics", "analysis.reading"},
    "analysis.predicting": {"records", "analysis.statistics", "analysis.reading",
                            "analysis.comparing"},
    "analysis.judging": {"records", "analysis.statistics", "analysis.reading",
                         "analysis.comparing", "analysis.predicting"},
    "analysis.sections": {"records", "step_01", "analysis.judging", "analysis.statistics", "analysis.reading",
                         "analysis.comparing", "analysis.predicting"},
    "analysis.before_after": {"records", "analysis.statistics", "analysis.reading", "analysis.comparing",
                              "analysis.judging", "analysis.sections"},
    "analysis.page": {"records", "console", "requirements", "analysis.statistics", "analysis.reading",
                      "analysis.comparing", "analysis.predicting", "analysis.judging", "analysis.sections"},
}  # fmt: skip
WITHOUT_TORCH = (
    "setup",
    "sentences",
    "records",
    "content",
    "step_01",
    "command_line",
    "console",
    "campaigns",
    "analysis",
    "lessons.fault_lab",
    "lessons.grading",
)


def modules() -> dict[str, Path]:
    """Every module of common/ by its dotted name without `common.`; a package by its folder's name. And two of the
    lessons' folders: the others have programs for themselves."""
    paths = {}
    folders = ("common", "lessons/fault_lab", "lessons/grading")
    for path in sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        paths[name.removeprefix("common").lstrip(".")] = path
    return paths


MODULES = modules()


def imports(module: str) -> set[str]:
    """Modules that one imports, anywhere in its source: its own without `common.`, others by their first name."""
    names = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {_resolved(name) for name in names}


def _resolved(name: str) -> str:
    if not name.startswith(("common", "lessons")):
        return name.split(".")[0]
    name = name.removeprefix("common").lstrip(".")
    return name if name in MODULES else name.rpartition(".")[0]


@cache
def graph() -> dict[str, set[str]]:
    """What each module imports. Read for the first test that asks: not by those of pytest's processes that run none."""
    return {module: imports(module) for module in MODULES}


def room(module: str) -> str:
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] in ("analysis", "lessons") and len(parts) > 1 else parts[0]


def test_no_import_runs_against_the_order():
    wrong = {
        (module, other)
        for module, others in graph().items()
        for other in others & set(MODULES)
        if module and room(other) not in {room(module), *BOTTOM, *MAY_IMPORT[room(module)]}
    }
    assert wrong == set()


def test_every_room_has_its_place_in_the_order():
    assert {room(module) for module in MODULES} - {"", "analysis"} <= set(MAY_IMPORT)


def test_no_circle_between_modules():
    done, path = set(), []

    def visit(module: str) -> None:
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        if module not in done:
            path.append(module)
            for other in sorted(graph()[module] & set(MODULES)):
                visit(other)
            done.add(path.pop())

    for module in MODULES:
        visit(module)


def reached(module: str) -> set[str]:
    """All that a module imports, directly or through others."""
    known, open_ = set(), [module]
    while open_:
        for other in graph().get(open_.pop(), ()):
            if other not in known:
                known.add(other)
                open_.append(other)
    return known


@pytest.mark.parametrize("without", WITHOUT_TORCH)
def test_these_never_import_torch(without):
    for module in MODULES:
        if without in (module.split(".")[0], room(module)):
            assert not reached(module) & {"torch", "torchvision"}, module


def test_no_two_modules_of_one_name():
    """On a side: what is measured and what is read of it (`analysis/reading/`) may share
    theirs."""
    names = Counter(
        ("analysis" in path.parts, path.stem) for path in MODULES.values() if path.stem not in ("__init__", "__main__")
    )
    assert [name for name, count in names.items() if count > 1] == []


def test_no_two_public_names_alike():
    owners: dict[str, list[str]] = {}
    for module, path in MODULES.items():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                owners.setdefault(node.name, []).append(module)
    assert {name: where for name, where in owners.items() if len(where) > 1} == {}
