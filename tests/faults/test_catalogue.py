"""The faults as data: all there, in both languages, each with a cure that is another command."""

import re
from typing import get_args

import pytest

from common.faults.catalogue import FAULTS
from common.records import FaultName, FaultNeed
from common.sentences import sentences


def test_the_catalogue_has_every_name_of_the_records_and_no_other():
    assert set(FAULTS) == set(get_args(FaultName))
    assert all(fault.id == name for name, fault in FAULTS.items())


@pytest.mark.parametrize("language", ["en", "zh-TW"])
def test_title_and_cure_of_each_in_both_languages(language):
    words = sentences(language)
    needed = {f"fault.{name}.{part}" for name in FAULTS for part in ("title", "cure")}
    needed |= {f"fault_need.{need}" for need in get_args(FaultNeed)}
    assert {id for id in words if id.startswith(("fault.", "fault_need."))} == needed
    assert all(words[id].strip() for id in needed)


def test_no_cure_is_the_fault_itself():
    for fault in FAULTS.values():
        re.compile(fault.named)
        assert (fault.start, fault.act) != (fault.cured, fault.cured_act)
        assert not re.search(fault.named, fault.start), "the command itself would name it"
