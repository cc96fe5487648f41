"""What the fields of a row are called: those that are read, slips of the pen, and those that nobody reads.

A misspelt `split` must not pass in silence: the pictures would be divided by ratio, and the figures be of other pictures.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from spaces.plugins import folded, meant, near
from trainables.datasets.jsonl_files import shown

NOTED = 1000  # names of fields that nobody reads
SHORT = 5  # letters up to which one slip makes another word, and two would be one


@dataclass(frozen=True, kw_only=True)
class Fields:
    """Names of the fields of a row; captions may also stand under `<caption>s`, as a list or as one text.

    Attributes:
        image, caption, split: as the user names them.
        unread: fields that rows have and nobody reads, in the order of the file; noted by `slip`.
    """

    image: str
    caption: str
    split: str
    unread: dict[str, None] = field(default_factory=dict, compare=False)
    _guesses: dict[str, str] = field(default_factory=dict, compare=False)

    def _groups(self) -> tuple[tuple[str, ...], ...]:
        """Return the fields that are read; those of a group say the same."""
        captions = (self.caption, f"{self.caption}s")
        return (self.image,), captions, (self.split,), ("question", "questions"), ("answer", "questions")

    def slip(self, row: Mapping[str, Any]) -> str:
        """Return what is wrong with a field that is likely meant as one that the row lacks; "" for nothing.

        All others that nobody reads are noted.
        """
        groups = self._groups()
        known = dict.fromkeys(name for group in groups for name in group)
        for name in row:
            if name in known or row[name] in (None, "", [], {}):  # there nothing can be lost
                continue
            guess = self._guess(name, known)
            lacking = any(guess in group and all(row.get(one) is None for one in group) for group in groups)
            if guess and lacking:
                return f"{shown(name, 40)}: is a field that nobody reads, and there is no {guess!r}. {meant(name, [guess])}"
            if len(self.unread) < NOTED:
                self.unread[name] = None
        return ""

    def _guess(self, name: str, known: Mapping[str, None]) -> str:
        """Return the field of which a name is a slip, "" for none; what was found is kept."""
        if name in self._guesses:
            return self._guesses[name]
        found = near(name, known) or ""
        if found and not _is_slip(folded(name[:200]), folded(found)):
            found = ""  # `image_id` is near `image`, and a field of its own
        if len(self._guesses) < NOTED:
            self._guesses[name] = found
        return found


def _is_slip(got: str, wanted: str) -> bool:
    """Return whether a name is another one with a letter or two lost, doubled, changed or swapped; `answered` is another word."""
    most = 1 if len(wanted) <= SHORT else 2
    return abs(len(got) - len(wanted)) <= 1 and _slips(got, wanted) <= most


def _slips(got: str, wanted: str) -> int:
    """Return how many letters are lost, added, changed, or swapped with their neighbour (optimal string alignment)."""
    before: list[int] = []
    row = list(range(len(wanted) + 1))
    for i, letter in enumerate(got):
        last, before, row = before, row, [i + 1]
        for j, other in enumerate(wanted):
            best = min(row[j] + 1, before[j + 1] + 1, before[j] + (letter != other))
            if i and j and letter == wanted[j - 1] and got[i - 1] == other:
                best = min(best, last[j - 1] + 1)
            row.append(best)
    return row[-1]
