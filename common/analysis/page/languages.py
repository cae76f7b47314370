"""The languages of the page: which one is wanted, and which file is which."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

LANGUAGES = ("en", "zh-TW")
TRADITIONAL = ("zh_tw", "zh_hk", "zh_mo", "zh_hant")
"""How the names of locales begin whose readers write Traditional Chinese."""


def language_of(environment: Mapping[str, str] = os.environ) -> str:
    """The reader's language by POSIX' variables, the first one that is set; English where it is none of ours."""
    name = next(filter(None, map(environment.get, ("LC_ALL", "LC_MESSAGES", "LANG"))), "")
    return "zh-TW" if name.lower().replace("-", "_").startswith(TRADITIONAL) else "en"


def pages(path: Path, wanted: str | None) -> dict[str, Path]:
    """Where each page goes, by language; with `both`, Chinese stands beside the English one as `NAME.zh-TW.html`."""
    if wanted != "both":
        return {wanted or language_of(): path}
    return {"en": path, "zh-TW": path.with_name(f"{path.stem}.zh-TW{path.suffix}")}


def links(own: Path, all_pages: Mapping[str, Path]) -> dict[str, str]:
    """The other pages' addresses by language, as seen from one of them."""
    return {language: path.name for language, path in all_pages.items() if path != own}
