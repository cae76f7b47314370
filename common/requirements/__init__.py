"""What the lab needs of a machine, and what to do where it is missing. Reads a record, asks the machine nothing.

A failure means that the lab cannot run. A warning means that it runs, with less to see or with numbers that say less.
"""

import re

from common.formats import number
from common.records import EnvironmentRecord, Requirement
from common.requirements.needed_devices import needs_of_devices, needs_of_gpus
from common.requirements.needed_host import needs_of_host, needs_of_software
from common.sentences import Sentences


def check_requirements(record: EnvironmentRecord, words: Sentences) -> list[Requirement]:
    """A verdict on each requirement that means something on this machine, in the language of `words`."""
    parts = (needs_of_software, needs_of_devices, needs_of_gpus, needs_of_host)
    return [requirement for needs_of in parts for requirement in needs_of(record, words)]


SAID_BEFORE = {"a quiet machine": "no other programs running", "compete for the cores": "use the cores"}
"""Words of older records, and today's."""


def as_recorded(record: EnvironmentRecord, words: Sentences) -> list[tuple[Requirement, bool]]:
    """The verdicts that a record holds, in English, said in the language of `words`; and whether that succeeded: a
    record of another version of the lab may have verdicts that are not drawn today."""
    drawn = zip(check_requirements(record, Sentences("en")), check_requirements(record, words), strict=True)
    translated_of = {_as_today(english): translated for english, translated in drawn}
    verdicts = ((one, translated_of.get(_as_today(one))) for one in record.requirements)
    return [(translated or recorded, translated is not None) for recorded, translated in verdicts]


def _as_today(verdict: Requirement) -> str:
    """Its text, in today's words, with numbers as exact as they are written today."""
    text = verdict.model_dump_json()
    for before, now in SAID_BEFORE.items():
        text = text.replace(before, now)
    return re.sub(r"\d+\.\d+", lambda match: number(float(match[0])), text)
