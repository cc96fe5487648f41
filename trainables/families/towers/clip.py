"""CLIP's two transformers as `transformers` has them, said in signals (Radford et al. 2021)."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.families.base import Sample, noise
from trainables.families.towers.base import TeachingOnly
from trainables.families.towers.clip_architecture import (
    IMAGE,
    LEGACY_END,
    TEMPERATURE,
    TEXT,
    ClipArchitecture,
    ClipEncoder,
    offers_of,
    sizes_of,
)
from trainables.signals import PIXELS, Batch, Inputs, Offers, Signals, Want, Wants, layers, modes

LOGIT_SCALE = 2.6592  # ln(1 / 0.07), where CLIP starts
PROJECTED = frozenset({"embedding", "joint", "map"})
LAST = PROJECTED | {"pooled", "tokens"}  # what is made of the last layer's state


@final
class Clip(TeachingOnly):
    """Both sides of a `CLIPModel`, or one, under the names that its weights have there.

    A text is what the state of its first end token says: that token is also what texts are padded with. Layers run in the
    fused kernel, up to the last one that a want needs; maps are computed apart, for the layers that a want names.
    """

    Architecture = ClipArchitecture
    architecture: ClipArchitecture
    vision_model: Any  # the library's classes, which are imported when the first one is made
    text_model: Any

    def __init__(self, architecture: ClipArchitecture) -> None:
        super().__init__()
        a = self.architecture = architecture
        self.vision_model = _vision(a, a.image) if a.image else None
        self.text_model = _text(a, a.text) if a.text else None
        self.visual_projection = _projection(a, a.image)
        self.text_projection = _projection(a, a.text)
        self.logit_scale = nn.Parameter(torch.tensor(LOGIT_SCALE)) if a.temperature else None

    @classmethod
    def sizes(cls, architecture: ClipArchitecture) -> dict[str, int]:
        """Return widths, depths and heads of its sides, and the embedding."""
        return sizes_of(architecture)

    @classmethod
    def offers(cls, architecture: ClipArchitecture) -> Offers:
        """Return all that such a model can say, see `clip_architecture.offers_of`."""
        return offers_of(architecture)

    @classmethod
    def deployed(cls, architecture: ClipArchitecture, wants: Wants) -> ClipArchitecture:
        """Return the sides that are asked for."""
        return architecture.only(wants)

    @classmethod
    def sample(cls, architecture: ClipArchitecture) -> Sample:
        """Return one layer of each side."""
        sides = {
            name: side for name, side in ((IMAGE, architecture.image), (TEXT, architecture.text)) if side
        }
        paths = {IMAGE: "vision_model.encoder.layers.0", TEXT: "text_model.encoder.layers.0"}
        small: dict[str, Any] = {name: replace(side, depth=1) for name, side in sides.items()}
        return Sample(
            architecture=replace(architecture, **small),
            repeats={paths[name]: side.depth for name, side in sides.items()},
        )

    def inputs(self, wants: Wants) -> Inputs:
        """Return pixels and captions as far as the sides read them."""
        asked, fields = modes(wants), set[str]()
        if IMAGE in asked:
            fields.add(PIXELS)
        if TEXT in asked:
            fields |= {"caption.ids", "caption.mask"}
        return Inputs(fields=frozenset(fields))

    def forward(
        self, batch: Batch, wants: Wants, given: Signals | None = None, known: Signals | None = None
    ) -> Signals:
        """Return the signals; only the sides and layers that they need are run."""
        asked, found = modes(wants), Signals()
        if TEMPERATURE in wants:
            assert self.logit_scale is not None  # else it is not offered
            found[TEMPERATURE] = torch.exp(-self.logit_scale)
        if IMAGE in asked:
            self._image(batch[PIXELS], wants, found)
        if TEXT in asked:
            self._text(batch["caption.ids"], batch["caption.mask"], wants, found)
        return found.only(wants)

    def pass_inputs(self, mode: str, tokens: int) -> dict[str, Tensor]:
        """Return noise for a picture; for a text ids within the vocabulary, the end token last, no padding."""
        a, like = self.architecture, next(self.parameters())
        if mode == IMAGE:
            return {"pixels": noise(like, 1, 3, a.image_size, a.image_size)}
        mask = torch.ones((1, tokens), dtype=torch.bool, device=like.device)
        if like.is_meta:
            return {"ids": torch.empty((1, tokens), dtype=torch.long, device="meta"), "mask": mask}
        ids = torch.randint(0, a.words, (1, tokens), generator=torch.Generator().manual_seed(0))
        ids[:, -1] = a.words - 1 if a.end == LEGACY_END else a.end
        return {"ids": ids.to(like.device), "mask": mask}

    def run_pass(self, mode: str, inputs: Mapping[str, Tensor]) -> object:
        """Run one side up to its embedding."""
        found, embedding = Signals(), Want(mode, "embedding")
        if mode == IMAGE:
            self._image(inputs["pixels"], frozenset({embedding}), found)
        else:
            self._text(inputs["ids"], inputs["mask"], frozenset({embedding}), found)
        return found[embedding]

    def _image(self, pixels: Tensor, wants: Wants, found: Signals) -> None:
        vision = self.vision_model
        assert vision is not None  # else nothing of it is offered
        tokens = vision.pre_layrnorm(vision.embeddings(pixels))
        tokens = _run(vision.encoder.layers, tokens, None, mode=IMAGE, wants=wants, found=found)
        asked = {want.what for want in wants if want.mode == IMAGE}
        if not asked & LAST:
            return
        found[Want(IMAGE, "tokens")] = tokens
        if asked & {"joint", "map"}:
            joint = _projected(self.visual_projection, vision.post_layernorm(tokens))
            found[Want(IMAGE, "joint")] = joint
            grid = self.architecture.grid
            found[Want(IMAGE, "map")] = joint[:, 1:].transpose(1, 2).unflatten(2, (grid, grid))
        if asked & {"pooled", "embedding"}:
            pooled = found[Want(IMAGE, "pooled")] = vision.post_layernorm(tokens[:, 0])
            if "embedding" in asked:
                found[Want(IMAGE, "embedding")] = _unit(_projected(self.visual_projection, pooled))

    def _text(self, ids_BT: Tensor, mask_BT: Tensor, wants: Wants, found: Signals) -> None:
        text = self.text_model
        assert text is not None  # else nothing of it is offered
        length = ids_BT.shape[1]
        causal_TT = torch.ones((length, length), dtype=torch.bool, device=ids_BT.device).tril()
        allowed = causal_TT & mask_BT[:, None, None, :]  # the first token is real: no row is without a key
        tokens = text.embeddings(input_ids=ids_BT)
        tokens = _run(text.encoder.layers, tokens, allowed, mode=TEXT, wants=wants, found=found)
        asked = {want.what for want in wants if want.mode == TEXT}
        if not asked & LAST:
            return
        tokens = found[Want(TEXT, "tokens")] = text.final_layer_norm(tokens)
        if "joint" in asked:
            found[Want(TEXT, "joint")] = _projected(self.text_projection, tokens)
        if asked & {"pooled", "embedding"}:
            rows = torch.arange(len(ids_BT), device=ids_BT.device)
            pooled = found[Want(TEXT, "pooled")] = tokens[rows, self._ends(ids_BT)]
            if "embedding" in asked:
                found[Want(TEXT, "embedding")] = _unit(_projected(self.text_projection, pooled))

    def _ends(self, ids_BT: Tensor) -> Tensor:
        """Return the position (B,) of each text's first end token."""
        end = self.architecture.end
        return (ids_BT if end == LEGACY_END else (ids_BT == end).int()).argmax(dim=-1)


def _run(
    blocks: nn.ModuleList, tokens: Tensor, allowed: Tensor | None, *, mode: str, wants: Wants, found: Signals
) -> Tensor:
    """Return the states after the last layer that is needed, and note states and maps of those that are wanted.

    Args:
        blocks: layers of one side.
        tokens: (B, T, D), of pictures P for T.
        allowed: (B, 1, T, T) True where a token may be looked at; None for everywhere.
        mode: image or text.
        wants: decide which layers are needed.
        found: gets states and maps.
    """
    hidden, attention = layers(wants, mode, "hidden"), layers(wants, mode, "attention")
    last = any(want.mode == mode and want.what in LAST for want in wants)
    needed = len(blocks) if last else 1 + max((*hidden, *attention))
    for index, block in enumerate(list(blocks)[:needed]):
        layer: Any = block  # torch types it as a bare module
        if index in attention:
            found[Want(mode, "attention", index)] = _maps(layer.self_attn, layer.layer_norm1(tokens), allowed)
        tokens = layer(tokens, allowed, is_causal=False)
        if index in hidden:
            found[Want(mode, "hidden", index)] = tokens
    return tokens


def _maps(attention: Any, states: Tensor, allowed: Tensor | None) -> Tensor:
    """Return the softmax maps (B, H, T, T), which the fused kernel keeps to itself."""
    split = (attention.num_heads, attention.head_dim)
    query, key = (
        one(states).unflatten(-1, split).transpose(1, 2) for one in (attention.q_proj, attention.k_proj)
    )
    scores = query @ key.transpose(-1, -2) * attention.scale
    if allowed is not None:
        scores = scores.masked_fill(~allowed, float("-inf"))
    return torch.softmax(scores.float(), dim=-1)


def _projected(projection: nn.Module | None, states: Tensor) -> Tensor:
    """Return states (..., D) through a projection, or as they are where the model is published without."""
    if projection is None:
        return states
    found: Tensor = projection(states)
    return found


def _unit(features: Tensor) -> Tensor:
    return F.normalize(features.float(), dim=-1)


def _projection(a: ClipArchitecture, side: ClipEncoder | None) -> nn.Linear | None:
    return nn.Linear(side.width, a.embedding, bias=False) if side and a.embedding else None


def _encoder(side: ClipEncoder) -> dict[str, Any]:
    return {
        "hidden_size": side.width,
        "intermediate_size": side.inner,
        "num_hidden_layers": side.depth,
        "num_attention_heads": side.heads,
        "hidden_act": side.activation,
        "layer_norm_eps": side.norm_eps,
        "attn_implementation": "sdpa",
    }


def _vision(a: ClipArchitecture, side: ClipEncoder) -> nn.Module:
    from transformers import CLIPVisionConfig, CLIPVisionModel

    return CLIPVisionModel(
        CLIPVisionConfig(**_encoder(side), image_size=a.image_size, patch_size=a.patch_size)
    )


def _text(a: ClipArchitecture, side: ClipEncoder) -> nn.Module:
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(
        CLIPTextConfig(
            **_encoder(side),
            vocab_size=a.words,
            max_position_embeddings=a.positions,
            eos_token_id=a.end,
            bos_token_id=None,  # neither of the two is read, and the usual ones lie outside of small word tables
            pad_token_id=None,
        )
    )
