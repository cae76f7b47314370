"""The exercise's five checkpoints: what the records prove of each, the reader's own figures, questions and answers."""

from __future__ import annotations

from common.analysis.judging.checkpoints.alone import alone
from common.analysis.judging.checkpoints.choice import choice
from common.analysis.judging.checkpoints.difference import difference
from common.analysis.judging.checkpoints.optimising import optimising
from common.analysis.judging.checkpoints.proofs import Checkpoint, Evidence
from common.analysis.judging.checkpoints.recognised import recognised


def five_checkpoints(here: Evidence) -> list[Checkpoint]:
    """All of them, in the order of the exercise; none where there is no run to take settings from."""
    order = (difference, alone, recognised, choice, optimising)
    return [checkpoint(here) for checkpoint in order] if here.folder.runs else []
