"""Messages put into words: what the analysis adds to the sentences of a language, names of rows and of facts."""

from __future__ import annotations

from typing import Any

from common.analysis.comparing.row_name import RowName
from common.content import Message
from common.records import METHODS
from common.sentences import Sentences


class Wording(Sentences):
    """Writes messages in one language."""

    def text(self, thing: Any) -> str:
        """A message, a row's name, or a plain value as text."""
        if isinstance(thing, Message) and thing.text.startswith("fact_value."):
            known = (f"{thing.text}_{thing.values['value']}", thing.text, "fact_value.any")
            return self.translate(next(id for id in known if id in self._sentences), **thing.values)
        if isinstance(thing, RowName):
            return self._row(thing, "row.single")
        return super().text(thing)

    def format_field(self, value: Any, spec: str) -> str:
        """How one value stands in a sentence."""
        if spec == "within":
            return self._row(value, "row.single_within")
        if spec == "or_defaults":
            return value or self._sentences["defaults.name"]
        if spec == "checks":
            return self._short([self._sentences[f"check_name.{id}"] for id in value])
        return super().format_field(value, spec)

    def _row(self, name: RowName, single: str) -> str:
        text = self.translate(
            f"row.{name.method}" if METHODS[name.method].is_parallel else single, devices=name.devices
        )
        for id, value, is_said in (
            ("on_nodes", {"nodes": name.nodes}, name.nodes > 1),
            ("letter", {"letter": name.letter}, name.letter),
            ("options", {"options": name.options}, name.options),
            ("not_valid", {}, not name.is_valid),
        ):
            text = self.translate(f"row.{id}", row=text, **value) if is_said else text
        return text
