"""MED text network: post-norm BERT layers, cross-attention in some of them (Li et al. 2022, section 3.1).

Three modes share the weights: text-only (no cross-attention), image-grounded encoder, causal decoder. The
decoder is tied to the encoder except for its self-attention.
"""

from collections.abc import Set
from dataclasses import dataclass, field
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.families.blip.architecture import BlipArchitecture
from trainables.families.blip.asked import chosen, seen_from
from trainables.families.blip.regular import run
from trainables.signals import Signals, Want, Wants, layers


class AttentionBlock(nn.Module):
    """Multi-head attention, output projection, residual and post-norm of one BERT sub-layer."""

    def __init__(self, width: int, heads: int, *, context_width: int, eps: float) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(context_width, width)
        self.value = nn.Linear(context_width, width)
        self.output = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=eps)
        self.dropout, self.map_dropout = nn.Dropout(0.0), nn.Dropout(0.0)

    def _split(self, states: Tensor) -> Tensor:
        batch, tokens, width = states.shape
        return states.view(batch, tokens, self.heads, width // self.heads).transpose(1, 2)

    def forward(
        self, states: Tensor, context: Tensor | None, mask: Tensor | None, *, causal: bool, want_map: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Return new states (B, T, D) and, if asked for, the map (B, H, T, keys).

        Args:
            states: (B, T, D) queries; keys and values too when context is None.
            context: (B, P, image width) for cross-attention, else None.
            mask: (B, 1, 1, keys) bool, True where a key may be seen, or None.
            causal: each token sees itself and earlier ones only.
            want_map: compute the map explicitly; otherwise the fused kernel runs.
        """
        source = states if context is None else context
        query, key, value = (
            self._split(self.query(states)),
            self._split(self.key(source)),
            self._split(self.value(source)),
        )
        attention: Tensor | None = None
        if want_map:
            logits = query @ key.transpose(-2, -1) * (query.shape[-1] ** -0.5)
            if causal:
                seen = torch.ones(logits.shape[-2:], dtype=torch.bool, device=logits.device).tril()
                logits = logits.masked_fill(~seen, float("-inf"))
            if mask is not None:
                logits = logits.masked_fill(~mask, float("-inf"))
            attention = logits.softmax(dim=-1)
            mixed = self.map_dropout(attention) @ value  # the map that is told is whole
        else:
            mixed = F.scaled_dot_product_attention(
                query, key, value, attn_mask=mask, is_causal=causal, dropout_p=self._dropped
            )
        mixed = mixed.transpose(1, 2).reshape(states.shape)
        return self.norm(states + self.dropout(self.output(mixed))), attention

    @property
    def _dropped(self) -> float:
        return self.map_dropout.p if self.training else 0.0

    def keys_values(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys and values (B, H, keys, D / H) of what is attended to (B, keys, D): to be kept, see `go_on`."""
        return self._split(self.key(source)), self._split(self.value(source))

    def go_on(
        self, states: Tensor, keys: Tensor, values: Tensor, *, mask: Tensor | None, causal: bool = False
    ) -> Tensor:
        """Return new states (B, T, D) of tokens that attend to keys and values which are there already.

        Args:
            states: (B, T, D) queries.
            keys, values: (B, H, keys, D / H).
            mask: (T, keys) bool, True where a key may be seen, or None.
            causal: each token sees itself and earlier ones only; of T keys.
        """
        query = self._split(self.query(states))
        mixed = F.scaled_dot_product_attention(query, keys, values, attn_mask=mask, is_causal=causal)
        found: Tensor = self.norm(states + self.output(mixed.transpose(1, 2).reshape(states.shape)))
        return found

    def seen(self, states: Tensor, tokens: Tensor) -> Tensor:
        """Return what states (B, T, D) see of a picture's tokens, before residual and norm (B, T, D)."""
        keys, values = self.keys_values(tokens)
        mixed = F.scaled_dot_product_attention(
            self._split(self.query(states)), keys, values, dropout_p=self._dropped
        )
        found: Tensor = self.output(mixed.transpose(1, 2).reshape(states.shape))
        return found


class SecondPicture(nn.Module):
    """Cross-attention to two pictures, each by a block of its own (Li et al. 2022, section 5.4).

    What both see is merged by a linear layer, or is their mean; residual and norm are those of the first block.
    """

    def __init__(self, config: BlipArchitecture, *, merges: bool) -> None:
        super().__init__()
        width = config.text.width
        self.attention = AttentionBlock(
            width, config.text.heads, context_width=config.image.width, eps=config.text_norm_eps
        )
        self.attention.norm = nn.Identity()  # type: ignore[assignment]
        self.merge = nn.Linear(2 * width, width) if merges else None

    def forward(self, states: Tensor, first: AttentionBlock, tokens: Tensor, tokens_2: Tensor) -> Tensor:
        """Return new states (B, T, D).

        Args:
            states: (B, T, D) queries.
            first: the block that looks at the first picture.
            tokens, tokens_2: (B, P, image width) of the two pictures.
        """
        left, right = first.seen(states, tokens), self.attention.seen(states, tokens_2)
        both = (left + right) / 2 if self.merge is None else self.merge(torch.cat([left, right], dim=-1))
        found: Tensor = first.norm(states + first.dropout(both))
        return found


class TextLayer(nn.Module):
    """One MED layer: self-attention, maybe cross-attention, feed-forward; each with residual, post-norm."""

    def __init__(self, config: BlipArchitecture, index: int) -> None:
        super().__init__()
        width, heads, eps = config.text.width, config.text.heads, config.text_norm_eps
        inner = int(width * config.text.mlp_ratio)
        self.attention = (
            AttentionBlock(width, heads, context_width=width, eps=eps) if config.encoder else None
        )
        self.decoder_attention = (
            AttentionBlock(width, heads, context_width=width, eps=eps) if config.has_decoder else None
        )
        self.cross_attention = (
            AttentionBlock(width, heads, context_width=config.image.width, eps=eps)
            if index in config.fusion
            else None
        )
        self.second = (
            SecondPicture(config, merges=index in (config.merged or ()))
            if config.has_pairs and index in config.fusion
            else None
        )
        self.intermediate = nn.Linear(width, inner)
        self.output = nn.Linear(inner, width)
        self.norm = nn.LayerNorm(width, eps=eps)
        self.dropout = nn.Dropout(0.0)

    def forward(self, states: Tensor, mask: Tensor | None, tokens: Tensor | None, how: "Pass") -> "Seen":
        """Return the states (B, T, D) after the layer, and the maps of its two attentions where they are asked for.

        Args:
            states: (B, T, D); some of a text where `how.among` is all of it.
            mask: of the keys of self-attention, see `attend`.
            tokens: (B, P, image width) for the image-grounded modes, else None.
            how: the pass.
        """
        states, own = self.attend(states, mask, decode=how.decode, want_map=how.own_map, among=how.among)
        seen: Tensor | None = None
        if tokens is not None and self.cross_attention is not None:
            states, seen = self.cross_attention(states, tokens, None, causal=False, want_map=how.cross_map)
        return self.feed_forward(states), own, seen

    def attend(
        self,
        states: Tensor,
        mask: Tensor | None,
        *,
        decode: bool,
        want_map: bool = False,
        among: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Return states (B, T, D) and, if asked for, the map after self-attention: the decoder has its own, a causal one.

        Where states are some of a text, `among` is all of it, and the mask says what each of them sees.
        """
        attention = self.decoder_attention if decode else self.attention
        assert attention is not None  # a model does not decode without decoder, nor encode without encoder
        causal = decode and among is None
        found: tuple[Tensor, Tensor | None] = attention(states, among, mask, causal=causal, want_map=want_map)
        return found

    def with_two(self, states: Tensor, mask: Tensor, tokens: Tensor, tokens_2: Tensor) -> Tensor:
        """Return the states (B, T, D) after the layer of a text that is read with two pictures, see `read_with_two`."""
        states, _ = self.attend(states, mask, decode=False)
        if self.second is not None:
            assert self.cross_attention is not None
            states = self.second(states, self.cross_attention, tokens, tokens_2)
        return self.feed_forward(states)

    def feed_forward(self, states: Tensor) -> Tensor:
        """Return the states (B, T, D) after the feed-forward sub-layer."""
        return self.norm(states + self.dropout(self.output(F.gelu(self.intermediate(states)))))


Seen = tuple[Tensor, Tensor | None, Tensor | None]


@dataclass(frozen=True, kw_only=True)
class Pass:
    """How a layer is run.

    Attributes:
        decode: by the decoder's own self-attention, a causal one.
        own_map, cross_map: which maps are wanted.
        among: all states of the texts, where those of some positions are wanted.
    """

    decode: bool
    own_map: bool
    cross_map: bool
    among: Tensor | None = None


@dataclass(kw_only=True)
class TextTrace:
    """States and maps by layer, filled for the layers asked for."""

    hidden: dict[int, Tensor] = field(default_factory=dict)
    attention: dict[int, Tensor] = field(default_factory=dict)
    cross_attention: dict[int, Tensor] = field(default_factory=dict)

    def trimmed(self, length: int) -> "TextTrace":
        """Return what is about the first tokens of texts that were padded further, which saw none of the padding."""
        return TextTrace(
            hidden={index: one[:, :length] for index, one in self.hidden.items()},
            attention={index: one[:, :, :length, :length] for index, one in self.attention.items()},
            cross_attention={index: one[:, :, :length] for index, one in self.cross_attention.items()},
        )

    def behind(self, first: int) -> "TextTrace":
        """Return what is about the tokens behind the first ones; of their self-attention the part among one another, of sum 1."""
        own = {index: one[:, :, first:, first:] for index, one in self.attention.items()}
        return TextTrace(
            hidden={index: one[:, first:] for index, one in self.hidden.items()},
            attention={index: one / one.sum(-1, keepdim=True) for index, one in own.items()},
            cross_attention={index: one[:, :, first:] for index, one in self.cross_attention.items()},
        )


@dataclass(frozen=True, kw_only=True)
class TraceLayers:
    """Which layers to trace."""

    hidden: Set[int] = frozenset()
    attention: Set[int] = frozenset()
    cross_attention: Set[int] = frozenset()

    def has(self, layer: int) -> bool:
        """Return whether something of a layer is traced."""
        return layer in self.hidden or layer in self.attention or layer in self.cross_attention


class TextNetwork(nn.Module):
    """Embeddings, MED layers and, with a decoder, the language-model head tied to the word table."""

    def __init__(self, config: BlipArchitecture) -> None:
        super().__init__()
        width, vocabulary = config.text.width, config.vocabulary
        self.words = nn.Embedding(vocabulary.size, width, padding_idx=vocabulary.pad)
        self.positions = nn.Embedding(config.positions or config.max_tokens, width)
        self.norm = nn.LayerNorm(width, eps=config.text_norm_eps)
        self.dropout, self.recomputed = nn.Dropout(0.0), False
        self.layers = nn.ModuleList(TextLayer(config, index) for index in range(config.text.depth))
        self.has_decoder = config.has_decoder
        if config.has_decoder:
            self.head_transform = nn.Linear(width, width)
            self.head_norm = nn.LayerNorm(width, eps=config.text_norm_eps)
            self.head_bias = nn.Parameter(torch.zeros(vocabulary.size))

    def forward(
        self,
        ids_BT: Tensor,
        mask_BT: Tensor,
        image_tokens: Tensor | None,
        *,
        decode: bool,
        trace: TraceLayers,
        asked_BA: Tensor | None = None,
    ) -> tuple[Tensor, TextTrace]:
        """Return states (B, T, D) after the last layer, and the trace; (B, A, D) of positions where `asked_BA` tells which.

        Padding stands on the right, so that causal masking alone hides it from the decoder's real tokens.

        Args:
            ids_BT: token ids.
            mask_BT: True on real tokens.
            image_tokens: (B, P, image width) for the image-grounded modes; None for text only.
            decode: causal mode with the decoder's own self-attention.
            trace: the layers to keep.
            asked_BA: the positions that are wanted after the last layer, which then makes no others; all of them are made
                where that layer is traced.
        """
        kept = TextTrace()
        states = self.embed(ids_BT)
        key_mask = None if decode else mask_BT[:, None, None, :]
        last = len(self.layers) - 1
        for index, layer in enumerate(cast("list[TextLayer]", self.layers)):  # torch types it as bare modules
            among = None
            if asked_BA is not None and index == last and not trace.has(last):
                among, states = states, chosen(states, asked_BA)
                key_mask = seen_from(asked_BA, ids_BT.shape[1]) if decode else key_mask
            how = Pass(
                decode=decode,
                own_map=index in trace.attention,
                cross_map=index in trace.cross_attention,
                among=among,
            )
            seen: Seen = run(self.recomputed, layer, states, key_mask, image_tokens, how)
            states, own, crossed = seen
            if own is not None:
                kept.attention[index] = own
            if crossed is not None:
                kept.cross_attention[index] = crossed
            if index in trace.hidden:
                kept.hidden[index] = states
        return states, kept

    def read_with_two(self, ids_BT: Tensor, mask_BT: Tensor, tokens: Tensor, tokens_2: Tensor) -> Tensor:
        """Return states (B, T, D) after the last layer of texts that are read with two pictures.

        Args:
            ids_BT: token ids.
            mask_BT: True on real tokens.
            tokens, tokens_2: (B, P, image width) of the two pictures.
        """
        states, mask = self.embed(ids_BT), mask_BT[:, None, None, :]
        for layer in cast("list[TextLayer]", self.layers):
            states = run(self.recomputed, layer, states, mask, tokens, tokens_2, by=layer.with_two)
        return states

    def embed(self, ids_BT: Tensor, first: int = 0) -> Tensor:
        """Return what the first layer reads (B, T, D): words and positions, with their norm.

        Args:
            ids_BT: token ids.
            first: position of the first of them.
        """
        places = torch.arange(first, first + ids_BT.shape[1], device=ids_BT.device)
        embedded: Tensor = self.dropout(self.norm(self.words(ids_BT) + self.positions(places)))
        return embedded

    def logits(self, states: Tensor) -> Tensor:
        """Return next-token logits (..., V) of decoder states (..., D)."""
        return F.linear(
            self.head_norm(F.gelu(self.head_transform(states))), self.words.weight, self.head_bias
        )


def trace_layers(wants: Wants, mode: str) -> TraceLayers:
    """Return the layers that wants name of a mode."""
    return TraceLayers(
        hidden=frozenset(layers(wants, mode, "hidden")),
        attention=frozenset(layers(wants, mode, "attention")),
        cross_attention=frozenset(layers(wants, mode, "cross_attention")),
    )


def keep_trace(trace: TextTrace, mode: str, found: Signals) -> None:
    """Add what was traced in a pass of a mode to its signals."""
    for what in ("hidden", "attention", "cross_attention"):
        found.update({Want(mode, what, index): one for index, one in getattr(trace, what).items()})
