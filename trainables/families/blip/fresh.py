"""Fresh weights of a model."""

from typing import Any

import torch
from torch import nn


@torch.no_grad()
def draw_weights(model: Any) -> None:
    """Draw fresh weights of a `Blip`.

    Linear weights have standard deviation 0.6 / sqrt(fan in), at most 0.05: 0.02 at BLIP's width of 768,
    and large enough that narrow students learn. (A checkpoint library's default of 1e-10 for the vision
    side leaves it dead.)
    """
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            fan_in = module.weight[0].numel()
            nn.init.normal_(module.weight, std=min(0.05, 0.6 * fan_in**-0.5))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
    if model.architecture.side == "text":
        return
    for tokens in (model.image_encoder.vit.pos_embed, model.image_encoder.vit.cls_token):
        assert tokens is not None
        nn.init.normal_(tokens, std=0.02)
