"""Load a backbone that timm published: a folder with timm's config, a hub id, or `timm/NAME` with or without a tag."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from spaces.errors import TeacherError
from spaces.plugins import meant
from spaces.rules import show
from trainables.families.base import Blueprint
from trainables.families.towers.timm_backbone import BUILT, TimmArchitecture, TimmBackbone, created, measure
from trainables.model_folder import fingerprint
from trainables.teachers.hub import CONFIG, hub_folder
from trainables.teachers.json_file import read_object
from trainables.teachers.preprocessing import timm_preprocess
from trainables.teachers.teacher import Teacher, TeacherFiles
from trainables.teachers.weights import read_weights

OWNER = "timm/"
WRAPPED = "timm_model."  # before the names of weights that the transformers library saved


def load_timm(name: str) -> Teacher:
    """Return the teacher of a folder, of a hub id, or of a name such as `timm/vit_small_patch14_dinov2.lvd142m`.

    Raises:
        TeacherError: no such model, files missing or damaged, or features that are neither tokens nor a map.
    """
    folder = Path(name) if Path(name).is_dir() else hub_folder(hub_id(name))
    path = folder / CONFIG
    read_object(path)
    model, pretrained, args = _config(path)
    if folder != Path(name):  # one repository holds weights for two models: CLIP's with and without QuickGELU
        model = model_named(name) or model
    pretrained["num_classes"] = args.pop(
        "num_classes", pretrained["num_classes"]
    )  # of the weights, says timm
    preprocess = timm_preprocess(path, pretrained)
    config = {key: pretrained[key] for key in BUILT if pretrained.get(key) is not None}
    config["input_size"] = [3, preprocess.image_size, preprocess.image_size]
    labels = tuple(map(str, pretrained.get("label_names") or ()))
    try:
        architecture = measure(model, config, args, labels)
    except Exception as error:  # whatever timm's constructors raise for arguments that fit no model
        raise TeacherError(
            f"{path}: timm can make no {model!r} of it ({_reason(error)}). Put back the model's own file."
        ) from error
    tower = TimmBackbone.holding(architecture, network=_load(path, architecture, pretrained))
    files = TeacherFiles(
        name=name, folder=folder, fingerprint=fingerprint(tower), notes=_notes(model, pretrained)
    )
    return Teacher(tower, None, preprocess, files, blueprint=Blueprint("timm_backbone", architecture))


def hub_id(name: str) -> str:
    """Return where on the hub timm has the weights of a name: of its first tag, where it names none.

    Raises:
        TeacherError: timm has no such model, no such weights of it, or has them elsewhere.
    """
    model = model_named(name)
    if model is None:
        return name
    import timm

    tag = name.removeprefix(OWNER).partition(".")[2]
    if not timm.is_model(model):
        guess = meant(model, timm.list_models())
        raise TeacherError(
            f"teacher {name}: timm has no model {model!r}.{guess and f' {guess}'} Give a name that timm.list_models() has."
        )
    tags = [
        one.partition(".")[2] for one in timm.list_pretrained(f"{model}.*") if one.partition(".")[0] == model
    ]
    if not tags:
        raise TeacherError(
            f"teacher {name}: timm publishes no weights of {model!r}. Give a model that timm.list_pretrained() has, "
            "or a folder with weights."
        )
    if tag and tag not in tags:
        raise TeacherError(
            f"teacher {name}: timm publishes no weights {tag!r} of {model!r}. Known: {', '.join(sorted(tags))}."
        )
    usual = timm.get_pretrained_cfg(model)
    first = usual.tag if usual else None
    weights = f"{model}.{tag or (first if first in tags else sorted(tags)[0])}"
    told = timm.get_pretrained_cfg(weights)
    place = told.hf_hub_id if told else None
    if not place:
        raise TeacherError(
            f"teacher {name}: timm has these weights on no hub ({(told and told.url) or 'nor elsewhere'}). Save the model with "
            "timm.models.save_for_hf(model, FOLDER), and give that folder."
        )
    return str(place) if place.rpartition("/")[2] else f"{place}{weights}"


def model_named(name: str) -> str | None:
    """Return the model of a name such as `timm/resnet50.a1_in1k`; None where it is no name of timm."""
    return name.removeprefix(OWNER).partition(".")[0] if name.startswith(OWNER) else None


def _notes(model: str, pretrained: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what timm says beside the weights of a model; not that another one is meant, where that one is asked for."""
    import timm

    tag = pretrained.get("tag")
    told = timm.get_pretrained_cfg(f"{model}.{tag}") if tag else None
    said = [one for one in (told and told.notes) or () if not ("quickgelu" in one and "quickgelu" in model)]
    return tuple(f"timm says of these weights: {one}" for one in said)


def _config(path: Path) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Return name, `pretrained_cfg` and arguments of the model as timm reads them.

    Raises:
        TeacherError: no config of timm, or of a model that this timm does not know.
    """
    import timm
    from timm.models._hub import load_model_config_from_path

    try:
        pretrained, model, args = load_model_config_from_path(path.parent)
        told = timm.models.PretrainedCfg(**pretrained).to_dict(remove_source=True)
    except Exception as error:  # it takes its config for granted
        raise TeacherError(
            f"{path}: is no config that timm can read ({_reason(error)}). Save the model again with timm."
        ) from error
    if not isinstance(model, str) or not timm.is_model(model):
        guess = meant(str(model), timm.list_models())
        raise TeacherError(
            f"{path}, architecture: got {show(model)}, which timm {timm.__version__} does not have."
            f"{guess and f' {guess}'} Give a model that it has."
        )
    if not isinstance(args, dict):
        raise TeacherError(f"{path}, model_args: got {show(args)}; allowed: a mapping.")
    return model, told, dict(args)


def _load(path: Path, architecture: TimmArchitecture, pretrained: Mapping[str, Any]) -> nn.Module:
    """Return the model, loaded by timm, which knows other spellings of its weights.

    Raises:
        TeacherError: weights that are not its own.
    """
    where, weights = read_weights(path.parent)
    told: dict[str, Tensor] = {name.removeprefix(WRAPPED): one for name, one in weights.items()}
    if not told:
        raise TeacherError(f"{where}: holds no weights. Save the model again with timm.")
    config = {**pretrained, **architecture.config, "state_dict": told}
    try:
        network = created(architecture.name, config, architecture.args, pretrained=True)
    except Exception as error:  # a RuntimeError that names what is missing, or whatever its filters raise
        raise TeacherError(
            f"{where}: the weights do not fit the model ({_reason(error, 400)}). Check that config and weights belong together."
        ) from error
    network.pretrained_cfg.pop("state_dict", None)  # type: ignore[union-attr, operator]
    return network


def _reason(error: Exception, most: int = 200) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text[:most].rstrip(".")
