"""What documents name exists: the commands, flags and `make` targets that they show, the modules of the lesson."""

import re
import shlex

import pytest
from conftest import ROOT

from common.command_line.options import training_parser

METHODS = {"02": "single", "03": "dp", "04": "ddp"}
COMMAND = re.compile(r"^    (?:python|torchrun) .*?(0[234])_\w+\.py(.*)$", re.MULTILINE)
COMMANDS = [
    (path.name, METHODS[step], rest.partition(" # ")[0].partition(" > ")[0])
    for path in [*ROOT.glob("README*.md"), *(ROOT / "docs").glob("*.md")]
    for step, rest in COMMAND.findall(path.read_text())
    if not re.search(r"[…|\\$]", rest)
]


def test_documents_show_commands():
    assert len(COMMANDS) > 40


@pytest.mark.parametrize(("name", "method", "rest"), COMMANDS)
def test_a_command_of_a_document_parses(name, method, rest):
    arguments = [word for word in shlex.split(rest) if word != "--model-template"]
    training_parser(method).parse_args(arguments)


TEXTS = [
    path
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "results" / "examples" / "README.md"]
    if path.name != "CHANGELOG.md"
]
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z0-9_-]*")
OF_OTHERS = {
    "docker": {"--gpus", "--shm-size"},
    "git": {"--force"},
    "pytest": {"--dist"},
    "sbatch": {"--account", "--cpus-per-task", "--exclusive", "--gpus", "--gpus-per-node", "--nodes", "--partition",
               "--signal", "--time"},
    "torchrun": {"--local-addr", "--master-port", "--max-restarts", "--nnodes", "--node-rank", "--nproc_per_node",
                 "--rdzv-backend", "--rdzv-conf", "--rdzv-endpoint", "--rdzv-id", "--standalone",
                 "--virtual-local-rank"},
    "unix": {"--as", "--help", "--version"},
}  # fmt: skip
"""Flags in documents that no parser of the lab has, by whose they are."""
PLACEHOLDERS = {"--my-switch"}


def own_flags() -> set[str]:
    """Of 02, 03 and 04 by their parsers, of all else by the source."""
    declared = {flag for method in METHODS.values() for flag in training_parser(method)._option_string_actions}
    sources = [path for folder in ("benchmarks", "common", "lessons") for path in (ROOT / folder).rglob("*.py")]
    written = {flag for path in [*sources, *ROOT.glob("0*.py")]
               for flag in re.findall(rf'"({FLAG.pattern})"', path.read_text())}  # fmt: skip
    return declared | written | {flag.replace("--", "--no-", 1) for flag in written}


@pytest.fixture(scope="module")
def known_flags() -> set[str]:
    return own_flags().union(PLACEHOLDERS, *OF_OTHERS.values())


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_a_flag_of_a_document_exists(path, known_flags):
    assert set(FLAG.findall(path.read_text())) - known_flags == set()


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_a_make_target_of_a_document_exists(path):
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    shown = re.findall(r"(?:`|^    )make ([a-z_]+)", path.read_text(), re.MULTILINE)
    assert set(shown) <= set(phony[1].split())


@pytest.mark.parametrize("name", ["lesson.md", "lesson.zh-TW.md"])
def test_a_module_that_the_lesson_names_is_where_it_says(name):
    """In the table of rooms: `a/`, `b/` in the first column, names of modules in parentheses in the second."""
    rows = re.findall(r"^\| (`.*?`) \| (.*) \|$", (ROOT / "docs" / name).read_text(), re.MULTILINE)
    named = [
        (re.findall(r"`([\w/]+)/`", rooms), module)
        for rooms, text in rows
        for inside in re.findall(r"[(（](.*?)[)）]", text)
        for module in re.findall(r"`([a-z_]+)`", inside)
    ]
    assert len(named) > 25
    there = {path.relative_to(ROOT / "common").with_suffix("").as_posix() for path in (ROOT / "common").rglob("*.py")}
    assert [(rooms, module) for rooms, module in named if rooms
            and not there.intersection(f"{room}/{module}" for room in rooms)] == []  # fmt: skip
