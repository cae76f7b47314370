"""What the lab needs of a machine, and what to do where it is missing. Reads a record, asks the machine nothing.

A failure means that the lab cannot run. A warning means that it runs, with less to see or with numbers that say less.
"""

from __future__ import annotations

from common.records import EnvironmentRecord, Requirement
from common.requirements.needed_devices import needs_of_devices
from common.requirements.needed_host import needs_of_host, needs_of_software
from common.sentences import Sentences


def check_requirements(record: EnvironmentRecord, words: Sentences) -> list[Requirement]:
    """A verdict on each requirement that means something on this machine, in the language of `words`."""
    return [*needs_of_software(record, words), *needs_of_devices(record, words), *needs_of_host(record, words)]


def as_recorded(record: EnvironmentRecord, words: Sentences) -> list[tuple[Requirement, bool]]:
    """The verdicts that a record holds, in English, said in the language of `words`; and whether that succeeded: a
    record of another version of the lab may have verdicts that are not drawn today."""
    drawn = zip(check_requirements(record, Sentences("en")), check_requirements(record, words), strict=True)
    said = {english.model_dump_json(): translated for english, translated in drawn}
    verdicts = ((one, said.get(one.model_dump_json())) for one in record.requirements)
    return [(translated or recorded, translated is not None) for recorded, translated in verdicts]
