"""Sizes of one BLIP-family model: teacher and student differ in this record only."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from spaces.errors import ShapeError
from trainables.tokenizer import VocabularyConfig

PLACEMENTS = ("last", "first", "even")
DECODER, ANSWER = "decoder", "answer"
DECODES = (DECODER, ANSWER)
"""What a decoder may be made for: captions, and answers that go on from their question."""


def fusion_positions(depth: int, num_layers: int, placement: str) -> tuple[int, ...]:
    """Return which of `depth` text layers hold cross-attention.

    `even` spreads them so that the last text layer is one of them: layer round((i + 1) * depth / n) - 1.

    Raises:
        ShapeError: more fusion layers than text layers, or an unknown placement.
    """
    if not 0 <= num_layers <= depth:
        raise ShapeError(
            f"fusion layers: got {num_layers} with text depth {depth}; allowed 0..{depth}. "
            "Lower student.fusion.layers or raise student.text.depth."
        )
    if placement == "last":
        return tuple(range(depth - num_layers, depth))
    if placement == "first":
        return tuple(range(num_layers))
    if placement == "even":
        return tuple(round((i + 1) * depth / num_layers) - 1 for i in range(num_layers))
    raise ShapeError(f"fusion placement: got {placement!r}; allowed: {', '.join(PLACEMENTS)}.")


def merged_layers(depth: int, fusion: tuple[int, ...]) -> tuple[int, ...]:
    """Return the fusion layers that merge two pictures by a linear layer: those in the upper half of the text side.

    Of BLIP's 12 layers those are 6 to 11 (Li et al. 2022, section 5.4); the layers below take the mean.
    """
    return tuple(index for index in fusion if 2 * index >= depth)


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """Width D, number of layers, attention heads and feed-forward ratio of one encoder."""

    width: int
    depth: int
    heads: int
    mlp_ratio: float = 4.0

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ShapeError(
                f"heads: got {self.heads} with width {self.width}; width must be a multiple of heads."
            )


@dataclass(frozen=True, kw_only=True)
class BlipArchitecture:
    """Everything needed to build a BLIP-family model (Li et al. 2022, section 3.1).

    `fusion` lists the text layers that hold cross-attention; with none the model is a dual encoder without
    ITM head and decoder. `decoder` is False where there is no language-model head, `matching` where there is no ITM head.
    `side` is `image` or `text` where the model has that side alone, which happens to what is deployed only. `merged` is None
    where no statement is read with two pictures; else the fusion layers that merge what they see of both by a linear layer, the
    others taking the mean.

    The rest is for published checkpoints, none of which holds every part.

    Attributes:
        contrast: whether there are ITC projections, and a temperature; without, texts are not encoded by themselves.
        encoder: whether text layers have the self-attention of an encoder; what captions alone has only that of its decoder.
        decodes: what the decoder was made for: a part of `DECODES`.
        answerer: whether questions are read with the picture, and answered by a decoder of its own that looks at the states of
            the question (Li et al. 2022, section 5.3); it shares nothing with the encoder.
        temperature_given: whether the ITC temperature is no weight, but a constant from elsewhere.
        positions: rows of the table of positions, where it has more than `max_tokens`; 0 where it has not.
    """

    image: EncoderConfig
    text: EncoderConfig
    fusion: tuple[int, ...]
    embedding: int
    image_size: int
    patch_size: int
    max_tokens: int
    vocabulary: VocabularyConfig
    decoder: bool = True
    matching: bool = True
    image_norm_eps: float = 1e-6
    text_norm_eps: float = 1e-12
    side: str = ""
    contrast: bool = True
    encoder: bool = True
    decodes: tuple[str, ...] = DECODES
    answerer: bool = False
    temperature_given: bool = False
    positions: int = 0
    merged: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if any(not 0 <= i < self.text.depth for i in self.fusion):
            raise ShapeError(f"fusion layers: got {self.fusion} with text depth {self.text.depth}.")
        if self.fusion and self.vocabulary.enc is None:
            raise ShapeError(
                f"student.fusion.layers: got {len(self.fusion)} with a tokenizer that has no token for the beginning of a text "
                "that is read together with a picture; allowed: 0. Give that, or another teacher."
            )

    @property
    def has_fusion(self) -> bool:
        """Whether the model has an image-grounded encoder."""
        return bool(self.fusion)

    @property
    def has_matching(self) -> bool:
        """Whether the model has an ITM head."""
        return self.matching and bool(self.fusion)

    @property
    def has_decoder(self) -> bool:
        """Whether the model can caption or answer: a decoder that sees no image is none."""
        return self.decoder and bool(self.fusion) and self.vocabulary.dec is not None

    @property
    def has_answerer(self) -> bool:
        """Whether the model answers by a decoder apart from its encoder."""
        return self.answerer and bool(self.fusion)

    @property
    def captions(self) -> bool:
        """Whether it says captions."""
        return self.has_decoder and DECODER in self.decodes

    @property
    def answers(self) -> bool:
        """Whether it says answers, in whichever way."""
        return self.has_answerer or (self.has_decoder and ANSWER in self.decodes)

    @property
    def answering(self) -> "BlipArchitecture":
        """The decoder of an answerer, as the text side of a model of its own: what it looks at is as wide as a text state."""
        return replace(
            self,
            image=replace(self.image, width=self.text.width, heads=1),
            decoder=True,
            encoder=False,
            answerer=False,
        )

    @property
    def taught(self) -> "BlipArchitecture":
        """What a student has of a model like this: all that it can say, in the form of BLIP's pre-training (section 3.1)."""
        able = tuple(mode for mode, has in ((DECODER, self.captions), (ANSWER, self.answers)) if has)
        return replace(
            self,
            decoder=self.decoder or bool(able),
            decodes=able or DECODES,
            matching=self.contrast,
            encoder=self.contrast,
            answerer=False,
            temperature_given=False,
            positions=0,
        )

    @property
    def has_pairs(self) -> bool:
        """Whether it reads statements about two pictures."""
        return self.merged is not None and self.encoder and bool(self.fusion)

    @property
    def image_tokens(self) -> int:
        """Number P of image tokens, class token included."""
        return self.grid**2 + 1

    @property
    def grid(self) -> int:
        """Patches along a side."""
        return self.image_size // self.patch_size

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able copy; `from_dict` reads it back."""
        fields = asdict(self) | {"fusion": list(self.fusion), "decodes": list(self.decodes)}
        for name in YOUNGER:  # than the fingerprints of published folders
            if getattr(self, name) == type(self).__dataclass_fields__[name].default:
                del fields[name]
        if self.merged is not None:
            fields["merged"] = list(self.merged)
        return fields

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "BlipArchitecture":
        """Return the config that `to_dict` wrote.

        Raises:
            TypeError: a field is missing or unknown.
        """
        parts = dict(fields)
        parts["image"] = EncoderConfig(**parts["image"])
        parts["text"] = EncoderConfig(**parts["text"])
        parts["vocabulary"] = VocabularyConfig(**parts["vocabulary"])
        parts["fusion"] = tuple(parts["fusion"])
        if "decodes" in parts:
            parts["decodes"] = tuple(parts["decodes"])
        if "merged" in parts:
            parts["merged"] = tuple(parts["merged"])
        return cls(**parts)


YOUNGER = (
    "matching",
    "side",
    "contrast",
    "encoder",
    "decodes",
    "answerer",
    "temperature_given",
    "positions",
    "merged",
)
"""Fields that are written only where they differ from their defaults."""
