"""Texts in a plain form, as image-text models are usually trained on (Li et al. 2022, code: captions of 30 words at most)."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

AS_IS, PLAIN = "as_is", "plain"
_DROPPED = re.compile(r"[.!\"()*#:;~]")


def normalised(text: str, form: str, most_words: int = 0) -> str:
    """Return a text as a data set's options ask for it; "" where nothing is left of it.

    Args:
        text: as the data has it.
        form: `as_is`, or `plain`: lower case, and a blank for each of . ! " ( ) * # : ; ~
        most_words: that are kept from the front; 0 for all.
    """
    if form == PLAIN:
        text = _DROPPED.sub(" ", text.lower())
    words = text.split()
    if most_words and len(words) > most_words:
        return " ".join(words[:most_words])
    return " ".join(words) if form == PLAIN else text


def asked(text: str, form: str) -> str:
    """Return a question as a data set's options ask for it: `plain` ones are lower case, too, and lose the signs without a blank.

    One of which nothing is left stays as it is, since its answer would be left alone.
    """
    if form != PLAIN:
        return text
    return " ".join(_DROPPED.sub("", text.lower()).split()) or text


@dataclass(frozen=True, kw_only=True)
class TextForm:
    """How the texts of a data set are read, which whoever asks its students has to do alike.

    Attributes:
        form: see `normalised`.
        max_words: of a caption or statement; 0 for all.
    """

    form: str = AS_IS
    max_words: int = 0

    def caption(self, text: str) -> str:
        """Return a caption or statement as it is read."""
        return normalised(text, self.form, self.max_words)

    def question(self, text: str) -> str:
        """Return a question as it is read."""
        return asked(text, self.form)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able copy; `from_dict` reads it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """Return the form that `to_dict` wrote.

        Raises:
            TypeError: a field is unknown.
            ValueError: a value that there is not.
        """
        made = cls(**fields)
        count = isinstance(made.max_words, int) and not isinstance(made.max_words, bool)
        if made.form not in (AS_IS, PLAIN) or not count or made.max_words < 0:
            raise ValueError(f"got {dict(fields)}; allowed: form as_is or plain, max_words from 0 on")
        return made


AS_THEY_ARE = TextForm()
