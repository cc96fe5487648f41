"""The loop that one would write first: Hugging Face's eager classes as teacher and student, all attentions returned, autocast.

Eager attention is what these classes have. The losses are those of `made.DLIP`, as plain functions of what the two say; each is
read to be logged at every step.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import BlipTextConfig, BlipVisionConfig
from transformers.models.blip.modeling_blip import BlipVisionModel
from transformers.models.blip.modeling_blip_text import BlipTextLMHeadModel, BlipTextModel

from tests.benchmarks.paper_scale.made import Scale, World, teacher_architecture
from trainables.signals import PIXELS, Batch
from trainables.training.sampler import ExampleSampler

ALL = {"output_attentions": True, "output_hidden_states": True}
ENC, DEC = 5, 4


class Eager(nn.Module):
    """Image encoder, text encoder and decoder of Hugging Face, with BLIP's heads."""

    def __init__(
        self, scale: Scale, image: tuple[int, int, int], text: tuple[int, int, int], embedding: int
    ) -> None:
        super().__init__()
        vision = BlipVisionConfig(
            hidden_size=image[0], intermediate_size=4 * image[0], num_hidden_layers=image[1],
            num_attention_heads=image[2], image_size=scale.side, patch_size=16, initializer_range=0.02,
        )  # fmt: skip
        words = BlipTextConfig(
            vocab_size=scale.vocabulary, hidden_size=text[0], encoder_hidden_size=image[0],
            intermediate_size=4 * text[0], num_hidden_layers=text[1], num_attention_heads=text[2],
            max_position_embeddings=64, is_decoder=True,
        )  # fmt: skip
        self.vision = BlipVisionModel(vision)
        self.encoder = BlipTextModel(words, add_pooling_layer=False)
        self.decoder = BlipTextLMHeadModel(words)
        self.image_projection = nn.Linear(image[0], embedding)
        self.text_projection = nn.Linear(text[0], embedding)
        self.itm_head = nn.Linear(text[0], 2)

    def forward(
        self, pixels: Tensor, ids: Tensor, mask: Tensor, pairs: tuple[Tensor, Tensor] | None
    ) -> dict[str, Any]:
        """Return all that both encoders and the decoder say; of the fused pass for the given pairs and two negatives of each."""
        vision = self.vision(pixel_values=pixels, **ALL)
        tokens = vision.last_hidden_state
        text = self.encoder(input_ids=ids, attention_mask=mask, **ALL)
        captions, images = pairs or (torch.arange(len(ids), device=ids.device),) * 2
        met = ids[captions].clone()
        met[:, 0] = ENC
        fused = self.encoder(
            input_ids=met, attention_mask=mask[captions], encoder_hidden_states=tokens[images], **ALL
        )
        spoken = ids.clone()
        spoken[:, 0] = DEC
        decoded = self.decoder(
            input_ids=spoken, attention_mask=mask, encoder_hidden_states=tokens, use_cache=False, **ALL
        )
        return {
            "image": F.normalize(self.image_projection(tokens[:, 0]), dim=-1),
            "text": F.normalize(self.text_projection(text.last_hidden_state[:, 0]), dim=-1),
            "text_maps": text.attentions[-1],
            "match": self.itm_head(fused.last_hidden_state[:, 0]),
            "fused": fused.last_hidden_state[:, 0],
            "cross_maps": fused.cross_attentions[-1],
            "decoder": decoded.hidden_states[-1][:, 0],
            "decoder_maps": decoded.attentions[-1],
            "logits": decoded.logits,
        }


class Straightforward:
    """Teacher, student, optimiser and the losses between them."""

    def __init__(self, world: World, *, batch: int, steps: int) -> None:
        scale, self.world = world.scale, world
        torch.manual_seed(0)
        embedding = teacher_architecture(scale).embedding
        self.teacher = Eager(scale, scale.image, scale.text, embedding).to(world.device).eval()
        self.student = Eager(scale, scale.student_image, scale.student_text, embedding).to(world.device)
        self.teacher.requires_grad_(False)
        widths = scale.student_text[0], scale.text[0]
        self.bridges = nn.ModuleList([nn.Linear(*widths), nn.Linear(*widths)]).to(world.device)
        self.trained = nn.ModuleList([self.student, self.bridges])
        self.optimizer = torch.optim.AdamW(self.trained.parameters(), lr=1e-4, weight_decay=0.02)
        self.sampler = ExampleSampler(world.split, seed=0, batch_size=batch, pairs_per_epoch=steps * batch)

    def run_epoch(self, epoch: int) -> dict[str, float]:
        """Train one epoch; return the last losses."""
        told: dict[str, float] = {}
        self.trained.train()
        for rows in self.sampler.epoch(epoch):
            batch = self.world.split.batch(rows, self.world.device)
            with torch.autocast(self.world.device.type, dtype=torch.bfloat16):
                losses = self._losses(batch)
                total = torch.stack(list(losses.values())).sum()
            self.optimizer.zero_grad()
            total.backward()
            torch.nn.utils.clip_grad_norm_(self.trained.parameters(), 1.0)
            self.optimizer.step()
            told = {name: value.item() for name, value in losses.items()}
        return told

    def _losses(self, batch: Batch) -> dict[str, Tensor]:
        pixels, ids, mask = batch[PIXELS], batch["caption.ids"], batch["caption.mask"]
        with torch.no_grad():
            given = self.teacher(pixels, ids, mask.long(), None)
            alike = (given["image"] @ given["text"].T / 0.07).float()
            alike.fill_diagonal_(float("-inf"))
            negatives = [torch.multinomial(one.softmax(1), 1)[:, 0] for one in (alike, alike.T)]
        rows = torch.arange(len(ids), device=ids.device)
        pairs = torch.cat([rows, negatives[0], rows]), torch.cat([rows, rows, negatives[1]])
        said = self.student(pixels, ids, mask.long(), pairs)
        return _compared(said, given, ids, mask, self.bridges)


def _compared(
    said: dict[str, Any], given: dict[str, Any], ids: Tensor, mask: Tensor, bridges: nn.ModuleList
) -> dict[str, Tensor]:
    """Return the losses of DLIP by name."""
    rows, real = torch.arange(len(ids), device=ids.device), mask[:, 1:]
    similar = said["image"] @ said["text"].T / 0.07
    labels = (torch.arange(3 * len(ids), device=ids.device) < len(ids)).long()
    logits, taught = said["logits"][:, :-1].float(), given["logits"][:, :-1].float()
    wanted = ids[:, 1:].masked_fill(~real, -100)
    divergence = F.kl_div(logits.log_softmax(-1), taught.log_softmax(-1), reduction="none", log_target=True)
    return {
        "itc": (F.cross_entropy(similar, rows) + F.cross_entropy(similar.T, rows)) / 2,
        "itm": F.cross_entropy(said["match"], labels),
        "lm": F.cross_entropy(logits.transpose(1, 2), wanted, label_smoothing=0.1),
        "image_embedding": (1 - F.cosine_similarity(said["image"], given["image"])).mean(),
        "text_embedding": (1 - F.cosine_similarity(said["text"], given["text"])).mean(),
        "fused_hidden": (1 - F.cosine_similarity(bridges[0](said["fused"][: len(ids)]), given["fused"])).mean(),
        "decoder_hidden": (1 - F.cosine_similarity(bridges[1](said["decoder"]), given["decoder"])).mean(),
        "lm_logit": (divergence.sum(-1) * real).sum() / real.sum(),
        **{
            name: _maps(said[key][: len(ids)], given[key], mask)
            for name, key in (
                ("text_attention", "text_maps"), ("cross_attention", "cross_maps"), ("decoder_attention", "decoder_maps"),
            )
        },
    }  # fmt: skip


def _maps(mine: Tensor, theirs: Tensor, mask: Tensor) -> Tensor:
    """Return the divergence of attention averaged over heads, over real queries."""
    mine, theirs = mine.float().mean(1), theirs.float().mean(1)
    terms = torch.xlogy(theirs, theirs) - theirs * mine.clamp(min=1e-7).log()
    return (terms.sum(-1) * mask).sum() / mask.sum()
