"""Names of our weights in a published `BlipForImageTextRetrieval`.

Query, key and value of the image encoder are one matrix in both.
"""

import re

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
        (r"attention\.(query|key|value)\.", r"attention.self.\1."),
        (r"attention\.output\.(weight|bias)$", r"attention.output.dense.\1"),
        (r"attention\.norm\.", "attention.output.LayerNorm."),
        (r"^image_projection\.", "vision_proj."),
        (r"^text_projection\.", "text_proj."),
    )
)


def published_name(own: str) -> str:
    """Return the name that Hugging Face gives one of our weights.

    >>> published_name("text_network.layers.2.cross_attention.key.weight")
    'text_encoder.encoder.layer.2.crossattention.self.key.weight'
    """
    name = own
    for ours, published in RULES:
        name = ours.sub(published, name)
    return name
