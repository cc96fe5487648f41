"""A model of ours as the Hugging Face class that decodes captions, with the same weights."""

import re

import torch
from transformers import BlipConfig, BlipForConditionalGeneration

from trainables.families.blip.model import Blip
from trainables.teachers.blip.huggingface_names import published_name


def decoder_name(own: str) -> str | None:
    """Return the name that one of our weights has in `BlipForConditionalGeneration`; None of what is not in it."""
    if own.startswith(("image_encoder.",)):
        return published_name(own)
    if (
        own.startswith(("text_projection", "image_projection", "itm_head", "temperature"))
        or ".attention." in own
    ):
        return None
    name = {
        "text_network.head_bias": "text_decoder.cls.predictions.bias",
        "text_network.head_transform.weight": "text_decoder.cls.predictions.transform.dense.weight",
        "text_network.head_transform.bias": "text_decoder.cls.predictions.transform.dense.bias",
        "text_network.head_norm.weight": "text_decoder.cls.predictions.transform.LayerNorm.weight",
        "text_network.head_norm.bias": "text_decoder.cls.predictions.transform.LayerNorm.bias",
    }.get(own)
    if name is None:
        name = published_name(own.replace(".decoder_attention.", ".attention."))
        name = re.sub(r"^text_encoder\.", "text_decoder.bert.", name)
    return name


def as_published(model: Blip) -> BlipForConditionalGeneration:
    """Return the class with the model's weights."""
    a, v = model.architecture, model.architecture.vocabulary
    config = BlipConfig(
        vision_config={
            "hidden_size": a.image.width,
            "intermediate_size": int(a.image.width * a.image.mlp_ratio),
            "num_hidden_layers": a.image.depth,
            "num_attention_heads": a.image.heads,
            "image_size": a.image_size,
            "patch_size": a.patch_size,
            "layer_norm_eps": a.image_norm_eps,
        },
        text_config={
            "vocab_size": v.size,
            "hidden_size": a.text.width,
            "intermediate_size": int(a.text.width * a.text.mlp_ratio),
            "num_hidden_layers": a.text.depth,
            "num_attention_heads": a.text.heads,
            "max_position_embeddings": a.max_tokens,
            "layer_norm_eps": a.text_norm_eps,
            "bos_token_id": v.dec,
            "eos_token_id": v.sep,
            "sep_token_id": v.sep,
            "pad_token_id": v.pad,
        },
    )
    published = BlipForConditionalGeneration(config).eval()
    weights = {
        name: tensor for own, tensor in model.state_dict().items() if (name := decoder_name(own)) is not None
    }
    missing, unexpected = published.load_state_dict(weights, strict=False)
    assert not unexpected, unexpected
    tied = {"text_decoder.cls.predictions.decoder.weight", "text_decoder.cls.predictions.decoder.bias"}
    assert set(missing) <= tied | {n for n in missing if n.endswith("position_ids")}, missing
    published.tie_weights()
    with torch.no_grad():
        head = published.text_decoder.cls.predictions.decoder
        assert torch.equal(head.weight, model.text_network.words.weight)
        head.bias.copy_(model.text_network.head_bias)
    return published
