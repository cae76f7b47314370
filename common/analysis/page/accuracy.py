"""What the models got right on validation images, where a run had any."""

from __future__ import annotations

from common.analysis.comparing.groups import Group
from common.analysis.page.sheets import Sheet
from common.analysis.page.table import Cell
from common.formats import percent

MOST_ROWS = 48


def accuracy_sheet(group: Group) -> Sheet | None:
    """Top-1 and top-5 after the last epoch of each row's newest run; None where nothing was validated."""
    lines = []
    for row in group.rows[:MOST_ROWS]:
        epoch = row.record.epochs[-1]
        if found := epoch.validation:
            shares = [Cell(percent(share, 1), value=share) for share in (found.top1, found.top5)]
            loss = "not finite" if found.mean_loss is None else f"{found.mean_loss:.3f}"
            place = [Cell(row.label), Cell(str(epoch.epoch)), Cell(f"{found.samples:,}")]
            lines.append((row.method, [*place, *shares, Cell(loss)]))
    if not lines:
        return None
    columns = [("Row", "method"), ("After epoch", "accuracy"), ("Images", "accuracy"), ("Top-1", "accuracy"),
               ("Top-5", "accuracy"), ("Mean loss", "accuracy")]  # fmt: skip
    hint = "Each row's newest run. Rows of other global batches made other steps: equal accuracy is not to be expected."
    return Sheet("Validation accuracy", columns, lines, hint)
