"""A model whose every answer is known beforehand: it says the word that follows most often, whatever it sees."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainables.models.config import BlipConfig
from trainables.outputs import DecoderOutputs, ImageOutputs, TextOutputs


class FakeSpeaker(nn.Module):
    """Says after each token `successors[token]`; embeds a picture by its pixels and a text by its tokens."""

    def __init__(self, config: BlipConfig, successors: dict[int, int], *, constant: bool = False) -> None:
        super().__init__()
        self.config = config
        self.constant = constant
        table = torch.zeros(config.vocabulary.size, config.vocabulary.size)
        for token, following in successors.items():
            table[token, following] = 1.0
        self.register_buffer("table", table)
        self.seen_images: list[Tensor] = []

    def encode_image(self, images: Tensor) -> ImageOutputs:
        """Return the same tokens for all, and an embedding of the mean of each picture's corners."""
        self.seen_images.append(images)
        corners = functional.avg_pool2d(images, images.shape[-1] // 2).flatten(1)
        embedding = torch.ones_like(corners) if self.constant else corners
        return ImageOutputs(tokens_BPD=images[:, :, 0], embedding_BE=functional.normalize(embedding, dim=-1))

    def encode_text(self, ids: Tensor, mask: Tensor) -> TextOutputs:
        """Return an embedding of how often each of 12 groups of tokens occurs."""
        counts = torch.stack([((ids % 12 == k) & mask).sum(1).float() for k in range(12)], dim=1)
        embedding = torch.ones_like(counts) if self.constant else counts
        return TextOutputs(mask_BT=mask, embedding_BE=functional.normalize(embedding, dim=-1))

    def decode(
        self, ids: Tensor, mask: Tensor, image_tokens: Tensor, *, mode: str = "decoder"
    ) -> DecoderOutputs:
        """Return the logits of the successors; the first token becomes [DEC]."""
        causal = ids.clone()
        causal[:, 0] = self.config.vocabulary.dec
        table = self.get_buffer("table")
        return DecoderOutputs(mask_BT=mask, logits_BTV=table[causal])
