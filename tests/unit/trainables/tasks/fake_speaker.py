"""A model whose every answer is known beforehand: it says the word that follows most often, whatever it sees."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from tests.unit.trainables.answering import Answering
from trainables.families.base import Inputs
from trainables.families.blip.architecture import BlipArchitecture
from trainables.signals import PIXELS, Batch, Signals, Want, Wants

IMAGE, TEXT, MATCH = Want("image", "embedding"), Want("text", "embedding"), Want("fused", "logits")
SPOKEN = {Want("decoder", "logits"): "caption", Want("answer", "logits"): "question"}


class FakeSpeaker(Answering):
    """Says after each token `successors[token]`; embeds a picture by its pixels and a text by its tokens.

    Nothing of a picture is kept for later passes, so that whoever asks has to show it each time.
    """

    def __init__(
        self,
        architecture: BlipArchitecture,
        successors: dict[int, int],
        *,
        matches: Callable[[Tensor, Tensor], Tensor] | None = None,
    ) -> None:
        """Take what follows each token, and what tells from pixels and ids whether they match, (B,) bool."""
        super().__init__()
        self.architecture = architecture
        self.matches = matches
        table = torch.zeros(architecture.vocabulary.size, architecture.vocabulary.size)
        for token, following in successors.items():
            table[token, following] = 1.0
        self.register_buffer("table", table)
        self.seen_images: list[Tensor] = []

    def inputs(self, wants: Wants) -> Inputs:
        """Return pixels for all but the text-only pass, and the texts."""
        fields = {PIXELS} if any(want.mode != "text" for want in wants) else set[str]()
        for want in wants:
            if want.mode != "image":
                kind = SPOKEN.get(want, "caption")
                fields |= {f"{kind}.ids", f"{kind}.mask"}
        return Inputs(fields=frozenset(fields))

    def forward(
        self, batch: Batch, wants: Wants, given: Signals | None = None, known: Signals | None = None
    ) -> Signals:
        """Return what is wanted: the mean of a picture's corners, counts of 12 groups of tokens, the successors."""
        assert not known, "this model keeps nothing of a picture"
        found = Signals()
        if any(want.mode != "text" for want in wants):
            self.seen_images.append(batch[PIXELS])
        if IMAGE in wants:
            corners = functional.avg_pool2d(batch[PIXELS], batch[PIXELS].shape[-1] // 2).flatten(1)
            found[IMAGE] = functional.normalize(corners, dim=-1)
        if TEXT in wants:
            ids, mask = batch["caption.ids"], batch["caption.mask"]
            counts = torch.stack([((ids % 12 == k) & mask).sum(1).float() for k in range(12)], dim=1)
            found[TEXT] = functional.normalize(counts, dim=-1)
        if MATCH in wants:
            assert self.matches is not None
            yes_B = self.matches(batch[PIXELS], batch["caption.ids"]).float()
            found[MATCH] = torch.stack([1 - yes_B, yes_B], dim=1)
        for want in wants & SPOKEN.keys():
            causal = batch[f"{SPOKEN[want]}.ids"].clone()
            causal[:, 0] = self.architecture.vocabulary.dec  # the first token becomes [DEC]
            found[want] = self.get_buffer("table")[causal]
        return found
