"""Names of our weights in published checkpoints of the three classes of `transformers`.

Query, key and value of the image encoder are one matrix in both.
"""

import re

import torch
from torch import Tensor

RULES = tuple(
    (re.compile(ours), published)
    for ours, published in (
        (r"^image_encoder\.vit\.cls_token$", "vision_model.embeddings.class_embedding"),
        (r"^image_encoder\.vit\.pos_embed$", "vision_model.embeddings.position_embedding"),
        (r"^image_encoder\.vit\.patch_embed\.proj\.", "vision_model.embeddings.patch_embedding."),
        (r"^image_encoder\.vit\.norm\.", "vision_model.post_layernorm."),
        (
            r"^image_encoder\.vit\.blocks\.(\d+)\.attn\.qkv\.",
            r"vision_model.encoder.layers.\1.self_attn.qkv.",
        ),
        (
            r"^image_encoder\.vit\.blocks\.(\d+)\.attn\.proj\.",
            r"vision_model.encoder.layers.\1.self_attn.projection.",
        ),
        (
            r"^image_encoder\.vit\.blocks\.(\d+)\.norm([12])\.",
            r"vision_model.encoder.layers.\1.layer_norm\2.",
        ),
        (r"^image_encoder\.vit\.blocks\.(\d+)\.mlp\.", r"vision_model.encoder.layers.\1.mlp."),
        (r"^text_network\.words\.", "text_encoder.embeddings.word_embeddings."),
        (r"^text_network\.positions\.", "text_encoder.embeddings.position_embeddings."),
        (r"^text_network\.norm\.", "text_encoder.embeddings.LayerNorm."),
        (r"^text_network\.head_transform\.", "text_decoder.cls.predictions.transform.dense."),
        (r"^text_network\.head_norm\.", "text_decoder.cls.predictions.transform.LayerNorm."),
        (r"^text_network\.head_bias$", "text_decoder.cls.predictions.bias"),
        (
            r"^text_network\.layers\.(\d+)\.cross_attention\.",
            r"text_encoder.encoder.layer.\1.crossattention.",
        ),
        (
            r"^text_network\.layers\.(\d+)\.intermediate\.",
            r"text_encoder.encoder.layer.\1.intermediate.dense.",
        ),
        (r"^text_network\.layers\.(\d+)\.output\.", r"text_encoder.encoder.layer.\1.output.dense."),
        (r"^text_network\.layers\.(\d+)\.norm\.", r"text_encoder.encoder.layer.\1.output.LayerNorm."),
        (r"^text_network\.layers\.(\d+)\.attention\.", r"text_encoder.encoder.layer.\1.attention."),
        (
            r"^text_network\.layers\.(\d+)\.decoder_attention\.",
            r"text_decoder.bert.encoder.layer.\1.attention.",
        ),
        (r"attention\.(query|key|value)\.", r"attention.self.\1."),
        (r"attention\.output\.(weight|bias)$", r"attention.output.dense.\1"),
        (r"attention\.norm\.", "attention.output.LayerNorm."),
        (r"^image_projection\.", "vision_proj."),
        (r"^text_projection\.", "text_proj."),
    )
)


HEAD = "text_decoder.cls.predictions"
TWINS = (
    (f"{HEAD}.decoder.weight", "text_decoder.bert.embeddings.word_embeddings.weight"),
    (f"{HEAD}.decoder.bias", f"{HEAD}.bias"),
)
"""Names that stand for one weight, the second being ours: files hold either or both."""
ENCODER, DECODER = "text_encoder.", "text_decoder.bert."


def published_name(own: str, *, encoder: bool = True) -> str:
    """Return the name that Hugging Face gives one of our weights.

    Args:
        own: our name.
        encoder: whether the text network is an encoder there, which a decoder may share.

    >>> published_name("text_network.layers.2.cross_attention.key.weight")
    'text_encoder.encoder.layer.2.crossattention.self.key.weight'
    >>> published_name("answer_network.norm.bias")
    'text_decoder.bert.embeddings.LayerNorm.bias'
    """
    apart = own.startswith("answer_network.") or not encoder
    name = own.replace("answer_network.", "text_network.", 1) if apart else own
    for ours, published in RULES:
        name = ours.sub(published, name)
    return name.replace(ENCODER, DECODER, 1) if apart and name.startswith(ENCODER) else name


def one_of_twins(weights: dict[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """Return weights without those that stand twice under names of one weight, and the first that differ; "" for none."""
    found = dict(weights)
    for twin, name in TWINS:
        other = found.pop(twin, None)
        if other is None:
            continue
        if not torch.equal(found.setdefault(name, other), other):
            return found, f"{twin} differs from {name}"
    return found, ""
