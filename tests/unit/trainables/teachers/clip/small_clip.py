"""Small random CLIPs as the Hugging Face library publishes them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModel,
    CLIPVisionModelWithProjection,
    PreTrainedModel,
)

WORDS = ("a", "photo", "of", "red", "circle", "cat", "the", "blue", "square")
POSITIONS = 16
VISION = {"hidden_size": 32, "intermediate_size": 72, "num_hidden_layers": 3, "num_attention_heads": 4}
TEXT = {"hidden_size": 24, "intermediate_size": 50, "num_hidden_layers": 2, "num_attention_heads": 3}
SIZES: dict[str, dict[str, Any]] = {
    "even": {**VISION, "image_size": 32, "patch_size": 8},
    "odd": {**VISION, "image_size": 45, "patch_size": 7, "hidden_act": "gelu", "layer_norm_eps": 1e-6},
}


@dataclass(frozen=True)
class Published:
    """The Hugging Face model with explicit attention, and the folder it was saved to."""

    folder: Path
    model: Any
    tokenizer: CLIPTokenizer


def tokenizer() -> CLIPTokenizer:
    """Return a byte-pair tokenizer that spells every text and knows some words whole."""
    letters = sorted(ByteLevel.alphabet())
    vocabulary = [*letters, *(f"{letter}</w>" for letter in letters)]
    merges: list[tuple[str, str]] = []
    for word in WORDS:
        parts = [*word[:-1], f"{word[-1]}</w>"]
        while len(parts) > 1:
            pair, parts = (parts[0], parts[1]), [parts[0] + parts[1], *parts[2:]]
            if pair not in merges:
                merges.append(pair)
                vocabulary.append(parts[0])
    vocabulary += ["<|startoftext|>", "<|endoftext|>"]
    numbers = {token: index for index, token in enumerate(vocabulary)}
    return CLIPTokenizer(vocab=numbers, merges=merges, model_max_length=POSITIONS)


def config_of(words: CLIPTokenizer, vision: dict[str, Any], **text: Any) -> CLIPConfig:
    """Return the config of a small CLIP that reads this tokenizer's texts."""
    return CLIPConfig(
        vision_config=vision,
        text_config={
            **TEXT,
            "vocab_size": len(words),
            "max_position_embeddings": POSITIONS,
            "bos_token_id": words.bos_token_id,
            "eos_token_id": words.eos_token_id,
            "pad_token_id": words.pad_token_id,
            **text,
        },
        projection_dim=20,
    )


def shaken(model: PreTrainedModel) -> Any:
    """Return a model in eval mode whose weights all matter: fresh biases and norms are constants, which hide a wrong name."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


def save(folder: Path, vision: dict[str, Any], **text: Any) -> Published:
    """Save a random model with its tokenizer and image processor, as a user would."""
    words = tokenizer()
    torch.manual_seed(3)
    model = shaken(CLIPModel(config_of(words, vision, **text)))
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    processor(vision["image_size"]).save_pretrained(folder)
    model.set_attn_implementation("eager")
    return Published(folder, model, words)


def processor(side: int) -> CLIPImageProcessor:
    """Return the image processor of a size."""
    return CLIPImageProcessor(size={"shortest_edge": side}, crop_size={"height": side, "width": side})


def save_vision(folder: Path, *, projected: bool) -> Any:
    """Save the vision side alone; return the model with explicit attention."""
    kind = CLIPVisionModelWithProjection if projected else CLIPVisionModel
    torch.manual_seed(4)
    model = shaken(kind(CLIPVisionConfig(**SIZES["even"], projection_dim=20)))
    model.save_pretrained(folder)
    processor(SIZES["even"]["image_size"]).save_pretrained(folder)
    model.set_attn_implementation("eager")
    return model


def save_named(folder: Path, name: str) -> Path:
    """Save a small one as `clip`, or its vision side as `clip vision`; return the folder."""
    if name == "clip":
        save(folder, SIZES["even"])
    else:
        save_vision(folder, projected=True)
    return folder
