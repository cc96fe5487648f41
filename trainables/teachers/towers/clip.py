"""Load a Hugging Face CLIP: a `CLIPModel`, or the vision side alone.

Config and tokenizer are read by `transformers`, weights as files; the model is the library's own classes under our signals.
"""

from pathlib import Path
from typing import Any

from torch import Tensor

from spaces.errors import ShapeError, TeacherError
from spaces.rules import show
from trainables.families.base import Blueprint
from trainables.families.towers.clip_architecture import LEGACY_END, ClipArchitecture, ClipEncoder
from trainables.model_folder import check_keys, fingerprint
from trainables.teachers.hub import CONFIG, hub_folder
from trainables.teachers.json_file import read_object
from trainables.teachers.quiet import quiet
from trainables.teachers.settings import (
    classes_of,
    natural,
    pictures_for,
    positive,
    section,
    square_side,
)
from trainables.teachers.teacher import Teacher, TeacherFiles
from trainables.teachers.weights import read_weights
from trainables.tokenizer import Tokenizer, VocabularyConfig
from trainables.tokenizer_files import Published, read_published

KIND = "clip"
CLASSES = {
    "clip": ("CLIPModel",),
    "clip_vision_model": ("CLIPVisionModel", "CLIPVisionModelWithProjection"),
}
VISION, PROJECTION = "vision_model.", "visual_projection.weight"
COLOURS = 3
COUNTS = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
PROBE = "a photo of 2 cats, asleep"


def load_clip(name: str) -> Teacher:
    """Return the teacher of a folder, or of a hub id such as `openai/clip-vit-base-patch32`.

    Raises:
        TeacherError: files missing, damaged, or of a model that this program cannot hold exactly.
    """
    folder = Path(name) if Path(name).is_dir() else hub_folder(name)
    settings = read_object(folder / CONFIG)
    kind = _kind(folder / CONFIG, settings)
    weights, published = read_weights(folder)
    tokenizer = None
    if kind == "clip":
        architecture, tokenizer = _pair(folder, settings)
    else:  # newer releases save the side under its own names, older ones under those that it has in the pair
        if not any(key.startswith(VISION) for key in published):
            published = {key if key == PROJECTION else VISION + key: one for key, one in published.items()}
        architecture = _vision(folder / CONFIG, settings, projected=PROJECTION in published)
    preprocess = pictures_for(folder, architecture.image_size)
    teacher = Blueprint(KIND, architecture)
    check_keys(weights, expected=_shapes(teacher), got=published)
    model = teacher.build()
    model.load_state_dict(published)
    files = TeacherFiles(name=name, folder=folder, fingerprint=fingerprint(model))
    return Teacher(model, tokenizer, preprocess, files, blueprint=teacher)


def _shapes(teacher: Blueprint) -> dict[str, Tensor]:
    return dict(teacher.on_meta().state_dict())


def _kind(path: Path, settings: dict[str, Any]) -> str:
    kind, classes = settings.get("model_type"), classes_of(settings)
    allowed = CLASSES.get(kind, ()) if isinstance(kind, str) else ()
    if not allowed or (classes and not set(map(str, classes)) & set(allowed)):
        known = "; ".join(f"'{one}' with {' or '.join(names)}" for one, names in CLASSES.items())
        raise TeacherError(
            f"{path}: got model_type {show(kind)} with architectures {show(classes)}; allowed: {known}, such as "
            "openai/clip-vit-base-patch32."
        )
    return str(kind)


def _read(path: Path, kind: str, settings: dict[str, Any], *sides: str) -> Any:
    """Return the library's own config object, with its defaults for what a file leaves out.

    Args:
        path: of the file.
        kind: class of the config.
        settings: what the file says.
        sides: names of its sections; none where the sizes of one side are all that it says.
    """
    import transformers  # 3 s, and packages of its own

    for where in sides or ("",):
        side = section(path, settings, where) if where else settings
        for key in (
            key for key in COUNTS if key in side
        ):  # of these the library says less well what is wrong
            natural(path, f"{where}.{key}" if where else key, side[key])
    try:
        with quiet():
            return getattr(transformers, kind).from_dict(settings)
    except Exception as error:  # whatever a wrong value makes its classes raise
        raise TeacherError(
            f"{path}: {' '.join(str(error).split())[:300].rstrip('.')}. Save or download the teacher again."
        ) from error


def _pair(folder: Path, settings: dict[str, Any]) -> tuple[ClipArchitecture, Tokenizer]:
    """Return the sizes of a `CLIPModel`, and its tokenizer."""
    path = folder / CONFIG
    config = _read(path, "CLIPConfig", settings, "vision_config", "text_config")
    vision, text = config.vision_config, config.text_config
    words = natural(path, "text_config.vocab_size", text.vocab_size)
    positions = natural(path, "text_config.max_position_embeddings", text.max_position_embeddings)
    theirs = read_published(folder)
    tokenizer = _tokenizer(folder, theirs, words=words, longest=min(positions, theirs.longest))
    image = _image(path, "vision_config.", vision)
    sides = {
        **image,
        "text": _encoder(path, "text_config.", text),
        "embedding": natural(path, "projection_dim", config.projection_dim),
        "words": words,
        "positions": positions,
        "max_tokens": tokenizer.max_tokens,
        "end": _end(path, text, theirs),
    }
    return _architecture(path, sides), tokenizer


def _vision(path: Path, settings: dict[str, Any], *, projected: bool) -> ClipArchitecture:
    """Return the sizes of a vision side by itself."""
    config = _read(path, "CLIPVisionConfig", settings)
    embedding = natural(path, "projection_dim", config.projection_dim) if projected else None
    sides = {**_image(path, "", config), "text": None, "embedding": embedding, "temperature": False}
    return _architecture(path, sides)


def _architecture(path: Path, sides: dict[str, Any]) -> ClipArchitecture:
    try:
        return ClipArchitecture(**sides)
    except ShapeError as error:
        raise TeacherError(f"{path}: {error}") from error


def _image(path: Path, where: str, config: Any) -> dict[str, Any]:
    if config.num_channels != COLOURS:
        raise TeacherError(
            f"{path}, {where}num_channels: got {show(config.num_channels)}; allowed: {COLOURS}."
        )
    return {
        "image": _encoder(path, where, config),
        "image_size": square_side(path, f"{where}image_size", config.image_size),
        "patch_size": square_side(path, f"{where}patch_size", config.patch_size),
    }


def _encoder(path: Path, where: str, config: Any) -> ClipEncoder:
    from transformers.activations import ACT2FN

    width, inner, depth, heads = (natural(path, f"{where}{key}", getattr(config, key)) for key in COUNTS)
    if config.hidden_act not in ACT2FN:
        raise TeacherError(
            f"{path}, {where}hidden_act: got {show(config.hidden_act)}; allowed: {', '.join(sorted(ACT2FN))}."
        )
    told = config.layer_norm_eps
    eps = positive(path, f"{where}layer_norm_eps", told) if told else 0.0
    return ClipEncoder(
        width=width, inner=inner, depth=depth, heads=heads, activation=config.hidden_act, norm_eps=eps
    )


def _tokenizer(folder: Path, theirs: Published, *, words: int, longest: int) -> Tokenizer:
    """Return the tokenizer, once it is clear that it frames texts as ours does, and belongs to the word table."""
    if theirs.begin is None or theirs.end is None:
        raise TeacherError(
            f"{folder}: the tokenizer names no begin or no end token; allowed: CLIP's, which frames each text by both. "
            "Save CLIPTokenizer there."
        )
    largest = max(theirs.backend.get_vocab().values())
    if largest >= words:
        raise TeacherError(
            f"{folder}: the tokenizer gives ids up to {largest}, text_config.vocab_size is {words}; allowed: below it. "
            "Check that tokenizer and weights belong together."
        )
    pad = theirs.end if theirs.pad is None else theirs.pad
    vocabulary = VocabularyConfig(size=words, pad=pad, cls=theirs.begin, sep=theirs.end)
    tokenizer = Tokenizer(theirs.backend, vocabulary, longest)
    framed = theirs.backend.encode(PROBE).ids
    if [framed] != Tokenizer(theirs.backend, vocabulary, len(framed) + 2).captions([PROBE]):
        raise TeacherError(
            f"{folder}: the tokenizer frames no text by one begin and one end token, as CLIP's does. Save CLIPTokenizer there."
        )
    return tokenizer


def _end(path: Path, text: Any, theirs: Published) -> int:
    """Return by which token the class finds the end of a text, once it is the one that the tokenizer writes there."""
    end, largest = text.eos_token_id, max(theirs.backend.get_vocab().values())
    if end == LEGACY_END and theirs.end != largest:
        raise TeacherError(
            f"{path}, text_config.eos_token_id: got {end}, for which CLIPTextModel takes the highest id of a text as its end; "
            f"the tokenizer ends texts with {theirs.end} and has ids up to {largest}. Give its own end token another "
            "id, or make it the last."
        )
    if not isinstance(end, int) or end not in (LEGACY_END, theirs.end):
        raise TeacherError(
            f"{path}, text_config.eos_token_id: got {show(end)}, the tokenizer ends texts with {theirs.end}; allowed: the "
            f"same, or {LEGACY_END} as in old releases. Check that tokenizer and weights belong together."
        )
    return end
