"""State dicts as the authors of BLIP save them, of the same weights as a model of transformers."""

import re
from pathlib import Path
from typing import Any

import torch
from transformers import BlipForConditionalGeneration

from tests.unit.trainables.teachers.blip.asked import KINDS
from tests.unit.trainables.teachers.published import Published, save

SIZE: tuple[dict[str, Any], dict[str, Any]] = (
    {
        "hidden_size": 128,
        "intermediate_size": 160,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 48,
        "layer_norm_eps": 1e-6,
    },
    {"hidden_size": 128, "intermediate_size": 200, "num_hidden_layers": 2, "num_attention_heads": 2},
)
"""Heads of 64 channels and the authors' norms: what a file of theirs does not say."""
NAMES = (
    (r"^vision_model\.embeddings\.class_embedding", "visual_encoder.cls_token"),
    (r"^vision_model\.embeddings\.position_embedding", "visual_encoder.pos_embed"),
    (r"^vision_model\.embeddings\.patch_embedding\.", "visual_encoder.patch_embed.proj."),
    (r"^vision_model\.post_layernorm\.", "visual_encoder.norm."),
    (r"^vision_model\.encoder\.layers\.", "visual_encoder.blocks."),
    (r"\.self_attn\.qkv\.", ".attn.qkv."),
    (r"\.self_attn\.projection\.", ".attn.proj."),
    (r"\.layer_norm([12])\.", r".norm\1."),
)


def authors_names(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    found = {}
    for name, tensor in weights.items():
        for theirs, own in NAMES:
            name = re.sub(theirs, own, name) if name.startswith(("vision_model", "visual_encoder")) else name
        found[name] = tensor.clone()
    return found


def written(folder: Path, task: str) -> tuple[Path, Published]:
    """Write `model.pth` with a tokenizer beside it, and the same model as a folder of transformers."""
    published = save(folder / "published", *SIZE, kind=KINDS["retrieval" if task == "pretrained" else task])
    weights = authors_names(dict(published.model.state_dict()))
    weights["text_encoder.embeddings.position_ids"] = torch.arange(20)[None]
    if task in ("pretrained", "retrieval"):
        weights |= {f"{part}_m.weight": torch.zeros(2) for part in ("vision_proj", "text_proj")}
        weights |= {"visual_encoder_m.cls_token": torch.zeros(1), "text_encoder_m.x": torch.zeros(1)}
        weights |= {
            "image_queue": torch.zeros(2, 3),
            "queue_ptr": torch.zeros(1),
            "temp": torch.tensor(0.0625),
        }
    if task == "pretrained":
        weights |= decoder(folder, weights)
    place = folder / "original"
    place.mkdir()
    for name in ("vocab.txt", "tokenizer.json"):
        (place / name).write_bytes((published.folder / name).read_bytes())
    torch.save({"model": weights, "optimizer": {"state": {}}, "epoch": 19}, place / "model.pth")
    return place / "model.pth", published


def decoder(folder: Path, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the decoder of pre-training: that of a captioner, tied to the encoder but for its self-attention."""
    captioner = save(folder / "captioner", *SIZE, kind=BlipForConditionalGeneration).model
    found = {}
    for name, tensor in captioner.state_dict().items():
        if name.startswith("text_decoder."):
            twin = name.replace("text_decoder.bert.", "text_encoder.", 1)
            tied = twin in weights and ".attention." not in name
            found[name] = weights[twin].clone() if tied else tensor.clone()
    found["text_decoder.cls.predictions.decoder.weight"] = weights[
        "text_encoder.embeddings.word_embeddings.weight"
    ]
    return found
