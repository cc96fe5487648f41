"""The decoder token by token: keys and values of what was read are kept, and those of the picture are made once."""

from typing import Any, cast, final

import torch
from torch import Tensor

from trainables.families.blip.architecture import ANSWER
from trainables.families.blip.offers import ANSWERS, IMAGE_TOKENS
from trainables.families.blip.text_network import TextLayer, TextNetwork
from trainables.signals import Signals, Want

Kept = tuple[Tensor, Tensor]


def decoder_state(model: Any, want: Want, known: Signals) -> "CachedDecoding | None":
    """Return the beginning of texts on some pictures; None of a model that says no such text by its decoder.

    Args:
        model: a `Blip`.
        want: logits of captions or answers.
        known: with the tokens of the pictures.
    """
    a = model.architecture
    apart = want.mode == ANSWER and a.has_answerer  # reads the question and says the answer in two networks
    if want.mode not in ANSWERS or apart or not a.has_decoder:
        return None
    return CachedDecoding(model.text_network, known[IMAGE_TOKENS], a.vocabulary.dec)


@final
class CachedDecoding:
    """N texts of B pictures that are being decoded, see `families.base.DecoderState`.

    What a fusion layer attends to hangs on the picture alone: all texts of a picture share it.
    """

    def __init__(self, network: TextNetwork, tokens_BPD: Tensor, begin: int) -> None:
        """Begin with one text for each picture.

        Args:
            network: with a decoder.
            tokens_BPD: of the pictures.
            begin: the token [DEC], which the first of each text becomes.
        """
        self._network, self._begin = network, begin
        self._layers = cast("list[TextLayer]", network.layers)
        self._seen: dict[int, Kept] = {
            index: layer.cross_attention.keys_values(tokens_BPD)
            for index, layer in enumerate(self._layers)
            if layer.cross_attention is not None
        }
        self._read: list[Kept] = []
        self._pictures, self._width, self._length = len(tokens_BPD), 1, 0

    @torch.no_grad()
    def read(self, ids: Tensor) -> Tensor:
        """Return next-token logits (N, T, V) of tokens (N, T) behind those before."""
        texts, new = ids.shape
        if not self._length:
            ids = torch.cat([torch.full_like(ids[:, :1], self._begin), ids[:, 1:]], dim=1)
        states = self._network.embed(ids, self._length)
        mask = self._mask(new, ids.device)
        for index, layer in enumerate(self._layers):
            attention = layer.decoder_attention
            assert attention is not None  # of a network with a decoder
            keys, values = self._joined(index, attention.keys_values(states))
            states = attention.go_on(states, keys, values, mask=mask, causal=mask is None and new > 1)
            if index in self._seen:
                assert layer.cross_attention is not None
                by_picture = states.view(self._pictures, self._width * new, -1)
                grounded = layer.cross_attention.go_on(by_picture, *self._seen[index], mask=None)
                states = grounded.view(texts, new, -1)
            states = layer.feed_forward(states)
        self._length += new
        return self._network.logits(states)

    @torch.no_grad()
    def keep(self, rows: Tensor, width: int) -> None:
        """Go on from the texts at some rows, `width` of each picture that is left."""
        pictures = rows[::width] // self._width
        self._read = [(keys[rows], values[rows]) for keys, values in self._read]
        if len(pictures) < self._pictures:
            self._seen = {
                index: (keys[pictures], values[pictures]) for index, (keys, values) in self._seen.items()
            }
        self._pictures, self._width = len(pictures), width

    def _joined(self, index: int, new: Kept) -> Kept:
        """Return keys and values of a layer, those of new tokens behind the others, and keep them."""
        if index == len(self._read):
            self._read.append(new)
        else:
            old = self._read[index]
            self._read[index] = (torch.cat([old[0], new[0]], dim=2), torch.cat([old[1], new[1]], dim=2))
        return self._read[index]

    def _mask(self, new: int, device: torch.device) -> Tensor | None:
        """Return which tokens each of several new ones may see (new, all); None where it is all of them, or none is old."""
        if new == 1 or not self._length:
            return None
        seen = torch.ones(new, self._length + new, dtype=torch.bool, device=device)
        return seen.tril(self._length)
