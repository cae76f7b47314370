"""Every command of 02, 03 and 04 that a document shows is one that the script understands."""

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
