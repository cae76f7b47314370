"""What a model counts: a page on tokens speaks of tokens and sequences, and not of images."""

from __future__ import annotations

import html
import re

import pytest

from analysis.factories import write
from analysis.profile_factories import make_probed, profiled_lab

TOKENS = {"model": "hf:gpt2", "unit": "tokens", "units_per_sample": 128, "sequence_length": 128, "image_size": 0,
          "num_classes": 0}  # fmt: skip


def text_of(page: str) -> str:
    """The words of a page, but for its glossary, and the published table, which is of resnet50."""
    own = re.sub(r'(?s)<(style|script|dl)\b.*?</\1>|<section[^>]* id="published".*?</section>', " ", page)
    return html.unescape(re.sub(r"<[^>]+>", " ", own))


@pytest.mark.parametrize(("language", "of_images"), [("en", "image"), ("zh-TW", "影像")])
def test_a_page_on_tokens_says_nothing_of_images(tmp_path, compare, language, of_images):
    folder = write(tmp_path / "results", *profiled_lab(config=TOKENS), make_probed())
    done = compare(folder, "--lang", language)
    assert done.returncode == 0, done.stderr
    pages = {path.name: text_of(path.read_text()) for path in tmp_path.glob("*.html")}
    for where, text in {"console": done.stdout, **pages}.items():
        about = [text[max(0, found.start() - 60) : found.end() + 60] for found in re.finditer(of_images, text, re.I)]
        assert not about, (where, about)
        rate, other = ("tokens/s", "samples/s") if language == "en" else ("token/秒", "樣本/秒")
        assert re.search(rf"[\d,]+ {rate}", text.replace("\xa0", " ")) or where == "checkpoints.html", where
        assert other not in text, (where, text[max(0, text.find(other) - 80) :][:120])
