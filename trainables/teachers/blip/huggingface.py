"""Load what Hugging Face saved of BLIP, for retrieval, captioning or questions, into our own model family.

Config, weights and tokenizer are read as files; the Hugging Face classes themselves are never built. Equality with them is a
test.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from spaces.errors import TeacherError
from trainables.families.base import Blueprint
from trainables.families.blip.architecture import BlipArchitecture
from trainables.families.blip.model import Blip
from trainables.model_folder import check_keys, fingerprint
from trainables.teachers.blip.huggingface_config import read_config, read_tokenizer
from trainables.teachers.blip.huggingface_names import one_of_twins, published_name
from trainables.teachers.hub import hub_folder
from trainables.teachers.settings import pictures_for
from trainables.teachers.teacher import Teacher, TeacherFiles
from trainables.teachers.weights import read_weights

PIXELS = (
    "pixels are those of BlipImageProcessorPil (Pillow's bicubic), as the model was trained; the torchvision BlipImageProcessor "
    "of transformers rounds otherwise, by up to 2 of 255 levels on photographs"
)
FEW_TOKENS = 8  # of each picture, which tell as well as all, and take a hundredth of the time
LEAST_SPREAD = (
    1e-4  # of what is said of different pictures, as a share of what is said at all; float32 rounds at 1e-7
)


def load_huggingface(name: str) -> Teacher:
    """Return the teacher of a folder, or of a hub id such as `Salesforce/blip-itm-base-coco`.

    It can say what its class holds: similarities and matches of pairs, captions, or answers.

    Raises:
        TeacherError: files missing, damaged, or of a model that this program cannot hold exactly.
    """
    folder = Path(name) if Path(name).is_dir() else hub_folder(name)
    config, tokenizer, notes = read_tokenizer(folder, read_config(folder))
    preprocess = pictures_for(folder, config.image_size)
    path, weights = read_weights(folder)
    model = filled(path, config, weights)
    files = TeacherFiles(name=name, folder=folder, fingerprint=fingerprint(model), notes=(PIXELS, *notes))
    return Teacher(model, tokenizer, preprocess, files, blueprint=Blueprint("blip", config))


def filled(path: Path, config: BlipArchitecture, published: Mapping[str, Tensor]) -> Blip:
    """Return the model with weights of published names.

    Args:
        path: of the file, for messages.
        config: of the model.
        published: exactly its weights; what stands twice must be equal.

    Raises:
        TeacherError: other weights, or those of a model that sees nothing.
    """
    weights, differs = one_of_twins(dict(published))
    if differs:
        raise TeacherError(
            f"{path}: {differs}; allowed: equal ones, since BLIP ties the two. Save the teacher again."
        )
    model = Blip(config)
    own = {key: one for key, one in model.state_dict().items() if key != "temperature"}
    names = {key: published_name(key, encoder=config.encoder) for key in own}
    check_keys(path, expected={names[key]: tensor for key, tensor in own.items()}, got=weights)
    model.load_state_dict({key: weights[names[key]] for key in own}, strict=False)
    _check_seeing(path, model.eval())
    return model


@torch.no_grad()
def _check_seeing(path: Path, model: Blip) -> None:
    """Refuse an image side that says the same of every picture.

    `BlipVisionConfig` begins at deviations of 1e-10: whatever was saved without training, or without its weights, is so.

    Raises:
        TeacherError: says so.
    """
    side = model.architecture.image_size
    pictures = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    pictures[1] = -pictures[0]
    vit = model.image_encoder.vit
    states = model.image_encoder.embed(pictures)[:, :FEW_TOKENS]
    for block in vit.blocks:
        states = block(states)
    tokens = vit.norm(states)
    # what is nearly nothing may differ by as much: the last norm says how large tokens are meant to be
    scale = torch.maximum(tokens.abs().max(), vit.norm.get_parameter("weight").abs().mean())
    spread = float((tokens[0] - tokens[1]).abs().max() / scale.clamp(min=1e-30))
    if not spread > LEAST_SPREAD:
        raise TeacherError(
            f"{path}: its image side says the same of every picture (two of noise differ by {spread:.1g} of what is said); "
            f"allowed: more than {LEAST_SPREAD:g}. It was never trained, since BlipVisionConfig begins at deviations of 1e-10, "
            "or its weights were lost: give another checkpoint."
        )
