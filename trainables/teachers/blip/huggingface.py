"""Load a Hugging Face `BlipForImageTextRetrieval` into our own model family.

Config, weights and tokenizer are read as files; the Hugging Face class itself is never built. Equality with
it is a test.
"""

from pathlib import Path

from trainables.families.base import Blueprint
from trainables.families.blip.architecture import BlipArchitecture
from trainables.families.blip.model import Blip
from trainables.model_folder import check_keys, fingerprint
from trainables.teachers.blip.huggingface_config import read_config, read_tokenizer
from trainables.teachers.blip.huggingface_names import published_name
from trainables.teachers.hub import hub_folder
from trainables.teachers.settings import pictures_for
from trainables.teachers.teacher import Teacher, TeacherFiles
from trainables.teachers.weights import read_weights


def load_huggingface(name: str) -> Teacher:
    """Return the teacher of a folder, or of a hub id such as `Salesforce/blip-itm-base-coco`.

    It has no decoder: this class of checkpoints brings no language-model head, so that losses on logits of
    captions and answers cannot be fed by it.

    Raises:
        TeacherError: files missing, damaged, or of a model that this program cannot hold exactly.
    """
    folder = Path(name) if Path(name).is_dir() else hub_folder(name)
    config, tokenizer = read_tokenizer(folder, read_config(folder))
    preprocess = pictures_for(folder, config.image_size)
    model = _load_model(folder, config)
    files = TeacherFiles(name=name, folder=folder, fingerprint=fingerprint(model))
    return Teacher(model, tokenizer, preprocess, files, blueprint=Blueprint("blip", model.architecture))


def _load_model(folder: Path, config: BlipArchitecture) -> Blip:
    """Return the model with the weights of the folder; the temperature, which they lack, is BLIP's first."""
    path, published = read_weights(folder)
    model = Blip(config)
    own = model.state_dict()
    temperature = own.pop("temperature")
    positions = published_name("text_network.positions.weight")
    if positions in published:  # see read_config: the rows beyond the task's text length are not used
        published[positions] = published[positions][: config.max_tokens]
    names = {key: published_name(key) for key in own}
    check_keys(path, expected={names[key]: tensor for key, tensor in own.items()}, got=published)
    weights = {key: published[names[key]] for key in own}
    model.load_state_dict({**weights, "temperature": temperature})
    return model.eval()
