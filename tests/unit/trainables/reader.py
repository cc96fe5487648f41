"""A family outside of the product: linear maps on the embeddings that its teacher says, and class logits if asked for."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spaces.rules import Number
from trainables.configs import made_config, plain
from trainables.families import FAMILIES
from trainables.families.base import Family, Resolved, Surroundings
from trainables.signals import (
    CAPTION,
    PICTURE,
    Batch,
    Inputs,
    Offer,
    Offers,
    Signals,
    Want,
    Wants,
    classes_meaning,
    modes,
)

KIND = "reader"
IMAGE, TEXT, LOGITS = Want("image", "embedding"), Want("text", "embedding"), Want("image", "logits")


@contextmanager
def installed() -> Iterator[None]:
    """Let the table of families have this one for a while."""
    before = FAMILIES._own
    FAMILIES._own = {**before, KIND: "tests.unit.trainables.reader:Reader"}
    try:
        yield
    finally:
        FAMILIES._own = before


@dataclass(frozen=True, kw_only=True)
class ReaderOptions:
    """Width of the embedding, whether there is a text side, and whether there is a class head: classifier."""

    embedding: int = field(default=4, metadata={"rule": Number(whole=True, low=1)})
    text: bool = True
    classifier: bool = False


@dataclass(frozen=True, kw_only=True)
class ReaderArchitecture:
    """All sizes: of what is read, and of what is said."""

    image: int
    text: int
    embedding: int
    classes: int = 0
    meaning: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able copy."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "ReaderArchitecture":
        """Return the architecture that `to_dict` wrote."""
        return cls(**fields)


@final
class Reader(Family):
    """One linear map a side."""

    Config = ReaderOptions
    Architecture = ReaderArchitecture
    architecture: ReaderArchitecture

    def __init__(self, architecture: ReaderArchitecture) -> None:
        super().__init__()
        self.architecture = a = architecture
        self.image = nn.Linear(a.image, a.embedding)
        self.text = nn.Linear(a.text, a.embedding) if a.text else None
        self.head = nn.Linear(a.embedding, a.classes) if a.classes else None

    @classmethod
    def resolve(cls, options: Mapping[str, Any], sizes: Mapping[str, int]) -> Resolved:
        """Return the options; none is relative."""
        return Resolved(options=plain(made_config(ReaderOptions, options, "student")))

    @classmethod
    def draft(cls, config: ReaderOptions, around: Surroundings) -> ReaderArchitecture:
        """Return the architecture of a student."""
        return ReaderArchitecture(
            image=around.offers[IMAGE].size("E"),
            text=around.offers[TEXT].size("E") if config.text else 0,
            embedding=config.embedding,
            classes=len(around.classes) if config.classifier else 0,
            meaning=classes_meaning(around.classes) if config.classifier else "",
        )

    @classmethod
    def sizes(cls, architecture: ReaderArchitecture) -> dict[str, int]:
        """Return what relative values refer to."""
        return {"embedding": architecture.embedding}

    @classmethod
    def offers(cls, architecture: ReaderArchitecture) -> Offers:
        """Return embeddings, and class logits where there is a head."""
        a, found = architecture, dict[Want, Offer]()
        found[IMAGE] = Offer(axes=("E",), sizes=(a.embedding,), rows=PICTURE)
        if a.text:
            found[TEXT] = Offer(axes=("E",), sizes=(a.embedding,), rows=CAPTION)
        if a.classes:
            found[LOGITS] = Offer(axes=("C",), sizes=(a.classes,), rows=PICTURE, meaning=a.meaning)
        return found

    @classmethod
    def deployed(cls, architecture: ReaderArchitecture, wants: Wants) -> ReaderArchitecture:
        """Return the sides that answer."""
        text = architecture.text if TEXT in wants else 0
        classes = architecture.classes if LOGITS in wants else 0
        return replace(
            architecture, text=text, classes=classes, meaning=architecture.meaning if classes else ""
        )

    def inputs(self, wants: Wants) -> Inputs:
        """Return the embeddings of the same sides."""
        return Inputs(source=frozenset(Want(mode, "embedding") for mode in modes(wants)))

    def forward(
        self, batch: Batch, wants: Wants, given: Signals | None = None, known: Signals | None = None
    ) -> Signals:
        """Return what is wanted."""
        if given is None:
            raise ValueError("a reader was given nothing to read")
        found = Signals()
        if wants & {IMAGE, LOGITS}:
            image = self.image(given[IMAGE])
            found[IMAGE] = F.normalize(image, dim=-1)
            if LOGITS in wants and self.head is not None:
                found[LOGITS] = self.head(image)
        if TEXT in wants and self.text is not None:
            found[TEXT] = F.normalize(self.text(given[TEXT]), dim=-1)
        return found.only(wants)

    def pass_inputs(self, mode: str, tokens: int) -> dict[str, Tensor]:
        """Return what the teacher would say."""
        width = self.architecture.image if mode == "image" else self.architecture.text
        return {"said": torch.zeros(1, width, device=self.device, dtype=self.image.weight.dtype)}

    def run_pass(self, mode: str, inputs: Mapping[str, Tensor]) -> object:
        """Run one side up to its head."""
        if mode == "text":
            assert self.text is not None
            return self.text(inputs["said"])
        image = self.image(inputs["said"])
        return image if self.head is None else self.head(image)
