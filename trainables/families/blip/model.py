"""The model family of teacher and student: BLIP's MED (Li et al. 2022), free in width, depth and fusion."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.models.config import BlipConfig
from trainables.models.image_encoder import ImageEncoder
from trainables.models.text_network import TextNetwork, TraceLayers
from trainables.outputs import DecoderOutputs, FusedOutputs, ImageOutputs, TextOutputs, Wants, layers

INITIAL_TEMPERATURE = 0.07  # BLIP and CLIP
TEMPERATURE_RANGE = (
    0.01,
    0.5,
)  # CLIP stops at 0.01 (BLIP at 0.001, where one step of a small student diverges)


def _trace(wants: Wants, mode: str) -> TraceLayers:
    return TraceLayers(
        hidden=layers(wants, mode, "hidden"),
        attention=layers(wants, mode, "attention"),
        cross_attention=layers(wants, mode, "cross_attention"),
    )


class Blip(nn.Module):
    """ITC projections on two encoders; with fusion layers also an ITM head and, if configured, a decoder.

    With 0 fusion layers it is a dual encoder: ITM head, decoder and language-model head do not exist and cost
    nothing.
    """

    def __init__(self, config: BlipConfig) -> None:
        super().__init__()
        self.config = config
        self.image_encoder = ImageEncoder(config)
        self.text_network = TextNetwork(config)
        self.image_projection = nn.Linear(config.image.width, config.embedding)
        self.text_projection = nn.Linear(config.text.width, config.embedding)
        self.itm_head = nn.Linear(config.text.width, 2) if config.has_fusion else None
        self.temperature = nn.Parameter(torch.tensor(INITIAL_TEMPERATURE))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw fresh weights.

        Linear weights have standard deviation 0.6 / sqrt(fan in), at most 0.05: 0.02 at BLIP's width of 768,
        and large enough that narrow students learn. (A checkpoint library's default of 1e-10 for the vision
        side leaves it dead.)
        """
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                fan_in = module.weight[0].numel()
                nn.init.normal_(module.weight, std=min(0.05, 0.6 * fan_in**-0.5))
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
        for tokens in (self.image_encoder.vit.pos_embed, self.image_encoder.vit.cls_token):
            assert tokens is not None
            nn.init.normal_(tokens, std=0.02)

    @torch.no_grad()
    def clamp_temperature(self) -> None:
        """Keep the learnable ITC temperature in range.

        In place, as BLIP does: a clamp in the graph would stop its gradient.
        """
        self.temperature.clamp_(*TEMPERATURE_RANGE)

    def encode_image(self, images: Tensor, wants: Wants = frozenset()) -> ImageOutputs:
        """Return tokens (B, P, D) and unit-norm embedding (B, E) of normalised images (B, 3, S, S)."""
        tokens, hidden, attention = self.image_encoder(
            images, layers(wants, "image", "hidden"), layers(wants, "image", "attention")
        )
        embedding = F.normalize(self.image_projection(tokens[:, 0]).float(), dim=-1)
        return ImageOutputs(tokens_BPD=tokens, embedding_BE=embedding, hidden=hidden, attention=attention)

    def encode_text(self, ids_BT: Tensor, mask_BT: Tensor, wants: Wants = frozenset()) -> TextOutputs:
        """Return states (B, T, D) and unit-norm embedding (B, E) of captions that begin with [CLS]."""
        states, trace = self.text_network(ids_BT, mask_BT, None, decode=False, trace=_trace(wants, "text"))
        embedding = F.normalize(self.text_projection(states[:, 0]).float(), dim=-1)
        return TextOutputs(
            mask_BT=mask_BT,
            tokens_BTD=states,
            embedding_BE=embedding,
            hidden=trace.hidden,
            attention=trace.attention,
        )

    def fuse(
        self, ids_NT: Tensor, mask_NT: Tensor, image_tokens: Tensor, wants: Wants = frozenset()
    ) -> FusedOutputs:
        """Return ITM logits (N, 2), column 1 = match, of captions grounded in image tokens (N, P, D).

        The first token becomes [ENC], as in BLIP's retrieval evaluation (not in its demo head).
        """
        if self.itm_head is None:
            raise ValueError("a dual encoder (0 fusion layers) has no image-grounded encoder")
        grounded = ids_NT.clone()
        grounded[:, 0] = self.config.vocabulary.enc
        states, trace = self.text_network(
            grounded, mask_NT, image_tokens, decode=False, trace=_trace(wants, "fused")
        )
        return FusedOutputs(
            mask_NT=mask_NT,
            logits_N2=self.itm_head(states[:, 0]),
            hidden=trace.hidden,
            attention=trace.attention,
            cross_attention=trace.cross_attention,
        )

    def decode(
        self,
        ids_BT: Tensor,
        mask_BT: Tensor,
        image_tokens: Tensor,
        *,
        mode: str = "decoder",
        wants: Wants = frozenset(),
    ) -> DecoderOutputs:
        """Return next-token logits (B, T, V) of token ids grounded in image tokens (B, P, D).

        The first token becomes [DEC]. `mode` is `decoder` for captions and `answer` for questions.
        """
        if not self.config.has_decoder:
            raise ValueError("a model without fusion layers or language-model head cannot decode")
        causal = ids_BT.clone()
        causal[:, 0] = self.config.vocabulary.dec
        states, trace = self.text_network(
            causal, mask_BT, image_tokens, decode=True, trace=_trace(wants, mode)
        )
        return DecoderOutputs(
            mask_BT=mask_BT,
            logits_BTV=self.text_network.logits(states),
            hidden=trace.hidden,
            attention=trace.attention,
            cross_attention=trace.cross_attention,
        )
