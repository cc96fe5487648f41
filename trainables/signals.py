"""What models say to losses and tasks: named tensors, what may be asked of a model, and the batch they are about.

Families, tasks, losses, teachers and data sets do not know one another; they meet in the names of this file. Modes and
kinds are open words: a new family may say `statement.hidden.2` without an edit here. Dimension letters:
`trainables.shapes`. Words that several rooms know, `image` standing for `text`, too, where a model has one:

| want | axes | what it is |
|---|---|---|
| `image.pooled` | D | the pooled feature, as the model's own class returns it |
| `image.embedding` | E | of unit norm: the pooled feature, through the model's projection where it has one |
| `image.tokens` | P, D | all last tokens, the special ones first |
| `image.joint` | P, E | each of them taken the way on which the pooled one becomes the embedding, before it gets unit norm |
| `image.map` | E, Y, X | `image.joint` without special tokens, as a grid; of a convolutional trunk its last map, (D, Y, X) |
| `image.hidden.3` | P, D | state after a layer |
| `image.attention.3` | H, P, P | map of a layer |
| `image.logits` | C | one for each class; `classes_meaning` names them |
| `text.joint`, `text.hidden.3`, `text.attention.3` | T, E; T, D; H, T, T | masked by `caption.mask` |
| `decoder.logits`, `answer.logits` | T, V | of the next token; in training zeros may stand where that is no target |
| `contrast.temperature` | | what similarities of embeddings are divided by |
| `twin.image.embedding` | E | the same, said by the student's own twin: a moving average of its weights |
| `keys.image.embedding` | E | what the twin says of the batches of all workers, in order of rank, and has said lately |
| `keys.picture`, `keys.caption` | | of each key, the number of its picture, and `caption.key`; below -1 of one of nobody |
| `keys.own` | | of each example of this worker, the place of its own key |
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from spaces.errors import DatasetError
from trainables.transfer import to_device

PICTURE, CAPTION, QUESTION, LABEL, STATEMENT = "picture", "caption", "question", "label", "statement"
"""Kinds of rows that data sets have; another one may have others. A label is one of a picture's own; a statement is about a
picture and a second one, and belongs to the first."""
TEXTS = frozenset({CAPTION, QUESTION, STATEMENT})
FALSEHOOD = "falsehood"
"""Of fields `.ids` and `.mask` beside those of captions: each caption made false of its picture, where a batch has that."""
PIXELS = "picture.pixels"
CLASS = "picture.label"
SECOND = "picture_2"
PIXELS_2 = f"{SECOND}.pixels"
HOLDS = "statement.label"


class Want(NamedTuple):
    """Name one output of a model.

    Attributes:
        mode: a pass of the model, such as `image`, `text`, `fused`, `decoder`, `answer`.
        what: `embedding`, `hidden`, `attention`, `logits`, or another word that the family offers.
        layer: absolute index for what each layer has, counted from 0 at the input side; else None. `hidden` is the
            state *after* the layer.
    """

    mode: str
    what: str
    layer: int | None = None

    def __str__(self) -> str:
        return f"{self.mode}.{self.what}" + ("" if self.layer is None else f".{self.layer}")


Wants = frozenset[Want]
NOTHING: Wants = frozenset()
TWIN, KEYS = "twin", "keys"
KEY_PICTURE, KEY_CAPTION, KEY_OWN = Want(KEYS, PICTURE), Want(KEYS, CAPTION), Want(KEYS, "own")


def of_twin(want: Want) -> Want:
    """Return how a want is called that the student's twin answers."""
    return want._replace(mode=f"{TWIN}.{want.mode}")


def of_keys(want: Want) -> Want:
    """Return how what the twin says of all workers' batches, and has said lately, is called."""
    return want._replace(mode=f"{KEYS}.{want.mode}")


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What a model can say about one want, known from its sizes alone.

    Attributes:
        axes: letter of each axis behind the rows, such as ("T", "D").
        sizes: of each axis; of T the largest, since texts are padded to the longest of a batch.
        rows: kind of row that the tensor has one entry for (`picture`, `caption`, ...); "" for a single value of the model.
        mask: the batch field that is True on real tokens; "" where nothing is padding.
        meaning: what the entries of the last axis are, where two models must agree on it: a vocabulary, a list of classes.
        causal: whether each token hangs on those before it alone, so that the first one says the same of every row.
    """

    axes: tuple[str, ...] = ()
    sizes: tuple[int, ...] = ()
    rows: str = ""
    mask: str = ""
    meaning: str = ""
    causal: bool = False

    def size(self, axis: str) -> int:
        """Return the size of an axis by its letter.

        Raises:
            KeyError: the signal has no such axis.
        """
        return dict(zip(self.axes, self.sizes, strict=True))[axis]


Offers = Mapping[Want, Offer]


def classes_meaning(names: Iterable[str]) -> str:
    """Return the `meaning` of class logits: equal for equal classes in an equal order."""
    told = json.dumps(list(names), ensure_ascii=False)
    return f"classes {hashlib.sha256(told.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"


def reads_texts(offers: Offers) -> bool:
    """Return whether a model with these offers needs a tokenizer from raw input to answer."""
    return any(offer.rows not in ("", PICTURE) for offer in offers.values())


def layers(wants: Iterable[Want], mode: str, what: str) -> tuple[int, ...]:
    """Return the layers that wants or offers name for one mode and kind, rising."""
    return tuple(
        sorted({w.layer for w in wants if w.mode == mode and w.what == what and w.layer is not None})
    )


def modes(wants: Iterable[Want]) -> frozenset[str]:
    """Return the modes of wants."""
    return frozenset(want.mode for want in wants)


class Signals(dict[Want, Tensor]):
    """What a model said about one batch: a tensor for each want, and nothing that nobody asked for."""

    def __missing__(self, want: Want) -> Tensor:
        raise ValueError(f"{want} is not filled; ask the model for it.")

    def only(self, wants: Iterable[Want]) -> "Signals":
        """Return those that are asked for.

        Raises:
            ValueError: one is not there.
        """
        return Signals({want: self[want] for want in wants})

    def blinded(self, seen: Wants) -> "Signals":
        """Return them with zeros in place of what tells of pictures: `Teaching.pictured` says which do."""
        return Signals(
            {want: torch.zeros_like(value) if want in seen else value for want, value in self.items()}
        )


@dataclass(kw_only=True)
class Batch:
    """B examples: named fields, and where each of them stands in its split.

    Attributes:
        fields: name -> tensor (B, ...). The shipped data sets give `picture.pixels` (B, 3, S, S) float, normalised as
            the teacher's preprocessing says; `picture.label` (B,) int64, the class among the data's `classes`; of
            captions, questions and statements `.ids` (B, T) int64, padded and trimmed to the longest of the batch, `.mask` (B, T)
            True on real tokens, and `.targets` (B, T) True at positions whose *next* token is to be predicted; `caption.key` (B,)
            int64, equal for equal captions; `caption.prompt` (B, N) int64 where a decoder reads one before the caption;
            `question.weight` (B,) float32 where questions do not all count 1 in training; beside statements
            `picture_2.pixels`, of their second pictures, and `statement.label` (B,)
            int64, 1 for a true one, 0 for a false one, -1 where an example has none.
        rows: kind of row -> (B,) int64, its number in the split: the keys of the teacher cache. -1 where an example has
            no such row.
        split: name of the split that the rows are numbers in; "" for examples of none.
        seed: of all that is random about this view of the examples: negatives, and augmentations where there are any.
        epochs: that were trained before it, the begun one in part: what grows over a training goes by it.
        hosted: fields and rows, by name and kind, as the host has them that made the batch: what is asked of them there
            needs no value from the device, for which the host would wait. It may lack any.
    """

    fields: dict[str, Tensor]
    rows: dict[str, Tensor]
    split: str = ""
    seed: int = 0
    epochs: float = 0.0
    hosted: dict[str, np.ndarray] = field(default_factory=dict)
    _chosen: dict[tuple[str, int, int], tuple[Tensor, ...]] = field(default_factory=dict, repr=False)

    def numbers(self, kind: str) -> np.ndarray:
        """Return the rows of a kind on the host, (B,) int64."""
        if kind not in self.hosted:
            self.hosted[kind] = self.rows[kind].cpu().numpy()
        return self.hosted[kind]

    def chosen(self, name: str, rows: int, columns: int) -> tuple[Tensor, ...]:
        """Return where a mask is True, as two indices (n,): `x[batch.chosen(...)]` is `x[mask]`, in value and gradient.

        Args:
            name: of a field (B, T).
            rows, columns: of the mask that count; those behind are left out.
        """
        key = (name, rows, columns)
        if key not in self._chosen:
            if name in self.hosted:
                places = np.nonzero(self.hosted[name][:rows, :columns])
                found = tuple(to_device(torch.from_numpy(one), self.device) for one in places)
            else:
                found = self[name][:rows, :columns].nonzero(as_tuple=True)
            self._chosen[key] = found
        return self._chosen[key]

    def __getitem__(self, name: str) -> Tensor:
        """Return a field.

        Raises:
            DatasetError: the data does not have it.
        """
        if name not in self.fields:
            raise DatasetError(
                f"batch: has no {name}; the data gives {', '.join(sorted(self.fields))}. "
                "Leave out the loss or task that needs it, or give data that has it."
            )
        return self.fields[name]

    def __contains__(self, name: str) -> bool:
        return name in self.fields

    @property
    def device(self) -> torch.device:
        """Where its tensors are; one that only cached signals are asked about has no field."""
        return next(iter((*self.fields.values(), *self.rows.values()))).device

    def blinded(self) -> "Batch":
        """Return the batch with black pictures, for the baseline that sees nothing; see `Signals.blinded`, too."""
        black = {
            name: torch.zeros_like(self.fields[name]) for name in (PIXELS, PIXELS_2) if name in self.fields
        }
        return replace(self, fields={**self.fields, **black}) if black else self


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What a model needs for some wants.

    Attributes:
        fields: of the batch.
        source: signals of the teacher, live or cached, that are its input: what a head on teacher features reads, or by
            what negatives are drawn. `forward` gets them as `given`.
    """

    fields: frozenset[str] = frozenset()
    source: Wants = NOTHING


@dataclass(frozen=True, kw_only=True)
class Serving:
    """A pass of a deployed model, and how often it runs to serve one example.

    Attributes:
        mode: the pass.
        tokens: length of its text; 0 where it has none.
        repeats: runs of it: decoding takes one a token.
    """

    mode: str
    tokens: int = 0
    repeats: int = 1


class Source(Protocol):
    """Who says what students learn from: the live teacher, or the cache of what it said."""

    def signals(self, batch: Batch, wants: Wants) -> Signals:
        """Return the signals for the given examples, without gradient."""

    def fields(self, split: str, wants: Wants) -> frozenset[str]:
        """Return the fields of batches of a split that it looks at to say so: a cache needs no pixels."""


class Teaching(Source, Protocol):
    """A source that knows of its signals what they are made of."""

    def pictured(self, wants: Wants) -> Wants:
        """Return those that tell of pictures: a student that is to see nothing gets zeros in their place."""


class NoSource:
    """The source of a training without a teacher."""

    def signals(self, batch: Batch, wants: Wants) -> Signals:
        """Return nothing."""
        return Signals()

    def fields(self, split: str, wants: Wants) -> frozenset[str]:
        """Return nothing."""
        return frozenset()

    def pictured(self, wants: Wants) -> Wants:
        """Return nothing."""
        return NOTHING


def looks_at_pictures(fields: Iterable[str]) -> bool:
    """Return whether some of these fields of a batch are what pictures look like."""
    return any(name.startswith((f"{PICTURE}.", f"{SECOND}.")) and name != CLASS for name in fields)
