"""Small random models as the Hugging Face library publishes them, for the tests of their loader."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, BlipConfig, BlipForImageTextRetrieval, BlipImageProcessor

from trainables.tokenizer import write_word_tokenizer

WORDS = ("a", "red", "blue", "circle", "square", "left", "of", "the", "two", "green", "above", "star")
VISION = {"hidden_size": 32, "intermediate_size": 72, "num_hidden_layers": 2, "num_attention_heads": 4}
TEXT = {"hidden_size": 48, "intermediate_size": 100, "num_hidden_layers": 3, "num_attention_heads": 3}
SIZES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "text wider": ({**VISION, "image_size": 32}, TEXT),
    "image wider": (
        {**VISION, "hidden_size": 80, "num_attention_heads": 5, "image_size": 48, "layer_norm_eps": 1e-6},
        {**TEXT, "hidden_size": 24, "num_attention_heads": 6, "num_hidden_layers": 2},
    ),
}


@dataclass(frozen=True)
class Published:
    """The Hugging Face model, and the folder it was saved to."""

    folder: Path
    model: Any


def save(
    folder: Path,
    vision: dict[str, Any],
    text: dict[str, Any],
    *,
    positions: int = 20,
    kind: type[Any] = BlipForImageTextRetrieval,
) -> Published:
    """Save a random model with its tokenizer and image processor, as a user would."""
    folder.mkdir()
    vocabulary = write_word_tokenizer(folder, WORDS, positions)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.save_pretrained(folder)
    config = BlipConfig(
        vision_config={**vision, "patch_size": 16, "initializer_range": 0.02},
        text_config={
            **text,
            "vocab_size": len(tokenizer),  # it adds [MASK]
            "max_position_embeddings": positions,
            "bos_token_id": vocabulary.dec,
            "initializer_range": 0.05,
        },
        image_text_hidden_size=16,
    )
    torch.manual_seed(3)
    model = kind(config).eval()
    with torch.no_grad():  # fresh biases and norms are constants, which would hide a wrong name
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    side = vision["image_size"]
    BlipImageProcessor(size={"height": side, "width": side}).save_pretrained(folder)
    return Published(folder, model)


def edit(folder: Path, path: str, value: object, file: str = "config.json") -> None:
    """Write another value into one of its JSON files."""
    settings = json.loads((folder / file).read_text())
    *sections, key = path.split(".")
    place = settings
    for section in sections:
        place = place[section]
    place[key] = value
    (folder / file).write_text(json.dumps(settings))
