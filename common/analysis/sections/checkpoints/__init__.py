"""The exercise's five checkpoints: what the records prove of each, the reader's own figures, questions and answers."""

from collections.abc import Sequence

from common.analysis.sections.checkpoints.checkpoints_1_to_3 import alone, difference, recognised
from common.analysis.sections.checkpoints.checkpoints_4_and_5 import choice, optimising
from common.analysis.sections.checkpoints.proofs import Checkpoint, Evidence
from common.content import Section, lead, message


def five_checkpoints(here: Evidence) -> list[Checkpoint]:
    """All of them, in the order of the exercise; none where there is no run to take settings from."""
    order = (difference, alone, recognised, choice, optimising)
    return [checkpoint(here) for checkpoint in order] if here.folder.runs else []


def checkpoints_section(checkpoints: Sequence[Checkpoint]) -> Section | None:
    """None without a run."""
    if not checkpoints:
        return None
    parts = [checkpoint.section(number) for number, checkpoint in enumerate(checkpoints, start=1)]
    return Section(
        "checkpoints", message("page.checkpoints"), [lead(message("page.checkpoints_lead")), *parts], style="group"
    )
