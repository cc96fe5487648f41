"""What a kind of data lists of one picture before anybody looks at its bytes, and what is left out on the way."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

VQA, VG = "vqa", "vg"


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """A question on a picture.

    Attributes:
        id: as the data names it, "" where it does not.
        text: the question.
        answers: of all annotators in their order, ten in VQAv2: the official accuracy needs each.
        source: `VQA`, or `VG` of Visual Genome, whose single answers count less in training.
    """

    id: str
    text: str
    answers: tuple[str, ...]
    source: str = VQA


@dataclass(frozen=True, kw_only=True, slots=True)
class Statement:
    """A sentence on two pictures, as in NLVR2; it stands with the left one.

    Attributes:
        id: as the data names it.
        text: the sentence.
        other: name of the right picture.
        holds: whether it is true.
    """

    id: str
    text: str
    other: str
    holds: bool


@dataclass(kw_only=True, slots=True)
class Item:
    """One picture with its texts.

    Attributes:
        name: as messages say it; only this picture of its split is called so.
        split: train, val or test.
        place: where the data tells of it, such as `dataset_coco.json images[17]`.
        file: that holds its bytes, relative to the root of the preparation, or absolute.
        offset, size: of its bytes in that file; -1 where it is the file.
        row: of a Parquet file; -1 else.
        captions, questions, statements: in the order of the data.
    """

    name: str
    split: str
    place: str
    file: str
    offset: int = -1
    size: int = -1
    row: int = -1
    captions: list[str] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)
    statements: list[Statement] = field(default_factory=list)

    def to_json(self) -> str:
        """Return it as one line."""
        told = {name: getattr(self, name) for name in _PLAIN}
        told["questions"] = [[one.id, one.text, one.answers, one.source] for one in self.questions]
        told["statements"] = [[one.id, one.text, one.other, one.holds] for one in self.statements]
        return json.dumps(told)

    @classmethod
    def from_json(cls, line: str) -> "Item":
        """Return what `to_json` wrote."""
        told: dict[str, Any] = json.loads(line)
        told["questions"] = [
            Question(id=id, text=text, answers=tuple(answers), source=source)
            for id, text, answers, source in told["questions"]
        ]
        told["statements"] = [
            Statement(id=id, text=text, other=other, holds=holds)
            for id, text, other, holds in told["statements"]
        ]
        return cls(**told)


_PLAIN = ("name", "split", "place", "file", "offset", "size", "row", "captions")


@dataclass(frozen=True, kw_only=True, slots=True)
class LeftOut:
    """A picture or a text that is not used.

    Attributes:
        what: `picture`, `caption`, `question`, `answer`, `statement` or `archive`.
        name: of the picture.
        place: where the data tells of it.
        reason: why, in words.
    """

    what: str
    name: str
    place: str
    reason: str

    def to_dict(self) -> dict[str, str]:
        """Return it as an entry of the quarantine file."""
        return asdict(self)

    @classmethod
    def from_dict(cls, told: Mapping[str, str]) -> "LeftOut":
        """Return what `to_dict` gave."""
        return cls(**told)
