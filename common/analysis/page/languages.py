"""The languages of the page: which file is which."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from common.errors import UsageError
from common.sentences import language_of


def pages(path: Path, wanted: str | None) -> dict[str, Path]:
    """Where each page goes, by language; with `both`, Chinese stands beside the English one as `NAME.zh-TW.html`."""
    if path.suffix.lower() in (".csv", ".json"):
        raise UsageError(f"--output-report {path}: step 05 has files of that kind itself; give a name with .html")
    if wanted != "both":
        return {wanted or language_of(): path}
    return {"en": path, "zh-TW": path.with_name(f"{path.stem}.zh-TW{path.suffix}")}


def links(own: Path, all_pages: Mapping[str, Path]) -> dict[str, str]:
    """The other pages' addresses by language, as seen from one of them."""
    return {language: path.name for language, path in all_pages.items() if path != own}
