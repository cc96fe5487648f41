"""Sizes of a CLIP, as its published config gives them, and what a model of these sizes can say."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from spaces.errors import ShapeError
from spaces.rules import show
from trainables.signals import CAPTION, PICTURE, Offer, Offers, Want, Wants, modes

IMAGE, TEXT = "image", "text"
TEMPERATURE = Want("contrast", "temperature")
LEGACY_END = 2  # as an id of the end token: configs written before transformers 4.31 have it, whatever the tokenizer says


@dataclass(frozen=True, kw_only=True)
class ClipEncoder:
    """Sizes of one transformer.

    Attributes:
        width: D.
        inner: width of the feed-forward part.
        depth, heads: layers, and attention heads of each.
        activation: name of the feed-forward part's, as `transformers` has it.
        norm_eps: of all its layer norms.
    """

    width: int
    inner: int
    depth: int
    heads: int
    activation: str = "quick_gelu"
    norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ShapeError(
                f"heads: got {self.heads} with width {self.width}; width must be a multiple of heads."
            )


@dataclass(frozen=True, kw_only=True)
class ClipArchitecture:
    """Everything needed to build a CLIP (Radford et al. 2021, section 2.4) or one side of it.

    Attributes:
        image, text: the two sides; None for one that is not there.
        embedding: E, of the projections; None for a vision model that is published without.
        image_size, patch_size: sides of pictures and patches in pixels; a rest that fills no patch is not seen.
        temperature: whether it has one, learned with both sides.
        words: rows of the word table.
        positions: rows of the table of text positions.
        max_tokens: longest text that is read, the two special tokens included.
        end: id of the token whose state is the text's; `LEGACY_END` stands for the highest id of each text.
    """

    image: ClipEncoder | None
    text: ClipEncoder | None
    embedding: int | None
    image_size: int
    patch_size: int
    temperature: bool = True
    words: int = 0
    positions: int = 0
    max_tokens: int = 0
    end: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.patch_size <= self.image_size:
            raise ShapeError(
                f"patch_size: got {self.patch_size} with image_size {self.image_size}; allowed: 1 to {self.image_size}."
            )
        if self.text is not None and (self.embedding is None or not 2 <= self.max_tokens <= self.positions):
            raise ShapeError(
                f"text: got embedding {show(self.embedding)}, max_tokens {self.max_tokens} and {self.positions} positions; "
                "allowed: a text side has a projection, and 2 or more tokens, each with a position."
            )

    @property
    def grid(self) -> int:
        """Patches along a side."""
        return self.image_size // self.patch_size

    @property
    def image_tokens(self) -> int:
        """Number P of image tokens, class token included."""
        return self.grid**2 + 1

    def only(self, wants: Wants) -> "ClipArchitecture":
        """Return the sides that some wants ask for."""
        asked = modes(wants)
        return replace(
            self,
            image=self.image if IMAGE in asked else None,
            text=self.text if TEXT in asked else None,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able copy; `from_dict` reads it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "ClipArchitecture":
        """Return the architecture that `to_dict` wrote.

        Raises:
            TypeError: a field is missing or unknown.
        """
        sides = {
            side: None if fields[side] is None else ClipEncoder(**fields[side]) for side in (IMAGE, TEXT)
        }
        return cls(**{**fields, **sides})


def sizes_of(a: ClipArchitecture) -> dict[str, int]:
    """Return widths, depths and heads of the sides that are there, and the embedding."""
    found: dict[str, int] = {}
    for name, side in ((IMAGE, a.image), (TEXT, a.text)):
        if side is not None:
            found |= {f"{name}.width": side.width, f"{name}.depth": side.depth, f"{name}.heads": side.heads}
    if a.embedding is not None:
        found["embedding"] = a.embedding
    elif a.image is not None:
        found["embedding"] = a.image.width
    return found


def offers_of(a: ClipArchitecture) -> Offers:
    """Return the offers of both sides, and the temperature where the model has one."""
    found: dict[Want, Offer] = {}
    if a.image is not None:
        found |= _side(a, a.image, IMAGE, ("P", a.image_tokens), "")
        embedding = found[Want(IMAGE, "embedding")].size("E")
        found[Want(IMAGE, "map")] = Offer(
            axes=("E", "Y", "X"), sizes=(embedding, a.grid, a.grid), rows=PICTURE
        )
    if a.text is not None:
        found |= _side(a, a.text, TEXT, ("T", a.max_tokens), f"{CAPTION}.mask")
    if a.temperature:
        found[TEMPERATURE] = Offer()
    return found


def _side(
    a: ClipArchitecture, side: ClipEncoder, mode: str, tokens: tuple[str, int], mask: str
) -> dict[Want, Offer]:
    """Return the offers that both sides have.

    Args:
        a: of the model.
        side: of this side.
        mode: image or text.
        tokens: letter and size of the axis of its tokens.
        mask: the batch field that tells which tokens are real.
    """
    rows, (axis, count), embedding = PICTURE if mode == IMAGE else CAPTION, tokens, a.embedding or side.width
    states = Offer(axes=(axis, "D"), sizes=(count, side.width), rows=rows, mask=mask)
    found = {
        Want(mode, "pooled"): Offer(axes=("D",), sizes=(side.width,), rows=rows),
        Want(mode, "embedding"): Offer(axes=("E",), sizes=(embedding,), rows=rows),
        Want(mode, "tokens"): states,
        Want(mode, "joint"): Offer(axes=(axis, "E"), sizes=(count, embedding), rows=rows, mask=mask),
    }
    for index in range(side.depth):
        found[Want(mode, "hidden", index)] = replace(states, causal=mode != IMAGE)
        found[Want(mode, "attention", index)] = Offer(
            axes=("H", axis, axis), sizes=(side.heads, count, count), rows=rows, mask=mask
        )
    return found
