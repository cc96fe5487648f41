"""An exported student loads elsewhere and says the same."""

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from spaces.errors import ExportError, ResourceError
from tests.unit.trainables.export.students import (
    CAPTIONS,
    MAX_TOKENS,
    MEASURED,
    PREPROCESS,
    export,
    make_split,
    metrics,
    pictures,
)
from tests.unit.trainables.small import make_job
from trainables.export import Student, load
from trainables.families.base import Blueprint
from trainables.families.blip.model import Blip
from trainables.teachers.loading import load_teacher
from trainables.teachers.teacher import Teacher
from trainables.training.job import Job

ELSEWHERE = """
import json, sys
sys.modules["ray"] = sys.modules["pydantic"] = None
import numpy as np, torch
from trainables.datasets.base import Split
from trainables.datasets.encoded import EncodedSplit
from trainables.export import load
from trainables.tasks import TASKS
from trainables.tasks.evaluation import evaluate, make_tasks
from trainables.tasks.pool import EvaluationSize
folder, pictures = sys.argv[1:]
student, images = load(folder), np.load(pictures)
split = Split(
    name="val",
    pixels=images,
    captions=["a red circle", "a blue square", "two blue circle", "one red square a"],
    caption_images=np.arange(4),
    questions=["how many ?"] * 4,
    answers=["two", "one", "two", "red circle"],
    question_images=np.arange(4),
)
encoded = EncodedSplit(split, student.tokenizer, student.preprocess)
metrics = evaluate(
    student.model,
    encoded,
    tasks=make_tasks({name: {} for name in TASKS}).values(),
    size=EvaluationSize(images=4),
)
embeddings = student.embed_images(images).tolist()
print(json.dumps({"metrics": metrics, "captions": student.caption(images), "embeddings": embeddings}))
"""


def test_a_folder_holds_everything_from_raw_input_to_answer(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} >= {
        "model.safetensors",
        "config.json",
        "tokenizer.json",
        "vocab.txt",
        "preprocessor_config.json",
        "README.md",
    }
    assert not [path for path in folder.parent.iterdir() if path.name.startswith(".")]
    assert all(tensor.dtype == torch.float32 for tensor in load_file(folder / "model.safetensors").values())


def test_weights_config_preprocessing_and_figures_come_back_exactly(student: Student, model: Blip) -> None:
    for name, tensor in model.state_dict().items():
        assert torch.equal(student.model.state_dict()[name], tensor)
    assert student.blueprint == Blueprint("blip", model.architecture)
    assert student.model.architecture == model.architecture
    assert student.preprocess == PREPROCESS
    assert student.measured == MEASURED
    assert student.tokenizer is not None
    assert student.tokenizer.to_dict() == {
        "vocabulary": asdict(model.architecture.vocabulary),
        "max_tokens": MAX_TOKENS,
    }
    assert not student.model.training


def test_a_new_process_without_ray_and_pydantic_reproduces_every_metric_exactly(
    folder: Path, model: Blip, teacher: Teacher, tmp_path: Path
) -> None:
    here = metrics(model, make_split(teacher.tokenizer))
    assert {"mean_recall", "vqa_accuracy", "caption_token_accuracy", "match_accuracy"} <= set(here)
    np.save(tmp_path / "pictures.npy", pictures(4))
    script = tmp_path / "elsewhere.py"
    script.write_text(ELSEWHERE)
    arguments = [sys.executable, str(script), str(folder), str(tmp_path / "pictures.npy")]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, cwd=Path.cwd())
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    student = load(folder)
    assert told["metrics"] == here
    assert told["captions"] == student.caption(pictures(4))
    assert told["embeddings"] == student.embed_images(pictures(4)).tolist()


def as_version_1(folder: Path) -> None:
    """Write the folder's config as the first version had it: no family, the tokenizer's sizes with the model's."""
    config = json.loads((folder / "config.json").read_text())
    assert config["version"] == 2
    assert config["model"].pop("family") == "blip"
    assert set(config.pop("tokenizer")) == {"vocabulary", "max_tokens"}
    (folder / "config.json").write_text(json.dumps(config | {"version": 1}))


def test_a_folder_of_version_1_says_the_same(folder: Path, student: Student) -> None:
    as_version_1(folder)
    old = load(folder)
    assert old.blueprint == student.blueprint
    assert torch.equal(old.embed_texts(CAPTIONS), student.embed_texts(CAPTIONS))
    assert old.caption(pictures(4)) == student.caption(pictures(4))


def test_a_folder_of_version_1_that_was_written_by_hand_loads_as_student_and_as_teacher(
    folder: Path, model: Blip, tmp_path: Path
) -> None:
    side = {"depth": 1, "heads": 2, "mlp_ratio": 4.0}
    vocabulary = {"size": 16, "pad": 0, "cls": 2, "sep": 3, "dec": 4, "enc": 5}
    assert asdict(model.architecture.vocabulary) == vocabulary
    by_hand = {
        "format": "student-search",
        "version": 1,
        "model": {
            "image": {"width": 16, **side},
            "text": {"width": 24, "depth": 2, "heads": 3, "mlp_ratio": 4.0},
            "fusion": [1],
            "embedding": 8,
            "image_size": 16,
            "patch_size": 8,
            "max_tokens": 9,
            "vocabulary": vocabulary,
            "decoder": True,
            "image_norm_eps": 1e-6,
            "text_norm_eps": 1e-12,
        },
        "preprocess": {"image_size": 16, "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4]},
        "measured": {"note": "old"},
    }
    old = tmp_path / "old"
    old.mkdir()
    (old / "config.json").write_text(json.dumps(by_hand))
    (old / "vocab.txt").write_bytes((folder / "vocab.txt").read_bytes())
    (old / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    save_file(model.state_dict(), old / "model.safetensors")
    student = load(old)
    assert student.blueprint == Blueprint("blip", model.architecture)
    assert (student.preprocess, student.measured) == (PREPROCESS, {"note": "old"})
    assert torch.equal(student.embed_images(pictures(4)), load(folder).embed_images(pictures(4)))
    teacher = load_teacher(str(old))
    assert teacher.tokenizer is not None
    assert teacher.tokenizer.max_tokens == 9
    # the teacher cache and planned jobs are bound to the fingerprint: it outlives the version
    assert teacher.files.fingerprint == load_teacher(str(folder)).files.fingerprint


def test_what_a_task_did_not_need_is_not_exported(model: Blip, teacher: Teacher, tmp_path: Path) -> None:
    blueprint = Blueprint("blip", replace(model.architecture, fusion=(), decoder=False, matching=False))
    served = blueprint.build()
    served.load_state_dict({name: model.state_dict()[name] for name in served.state_dict()})
    assert isinstance(served, Blip)
    student = load(export(served.eval(), teacher, tmp_path / "retrieval"))
    assert student.blueprint == blueprint
    weights = load_file(tmp_path / "retrieval" / "model.safetensors")
    assert not [name for name in weights if "cross" in name or "decoder" in name or "itm" in name]
    assert torch.equal(
        student.embed_texts(CAPTIONS), load(export(model, teacher, tmp_path / "all")).embed_texts(CAPTIONS)
    )


def ours(student: Student, images: list[Image.Image]) -> torch.Tensor:
    return student._pixels(images)


def test_the_image_processor_of_transformers_gives_the_same_pixels(folder: Path, student: Student) -> None:
    from transformers import AutoImageProcessor

    images = [Image.fromarray(one) for one in pictures(2, side=40)]
    images += [images[0].crop((0, 0, 33, 21)), images[0].convert("L"), Image.fromarray(pictures(1)[0])]
    exact, near = (
        AutoImageProcessor.from_pretrained(folder, backend=name) for name in ("pil", "torchvision")
    )
    assert type(exact).__name__ == "ViTImageProcessorPil"
    eps = torch.finfo(torch.float32).eps
    deviations = torch.tensor(PREPROCESS.std).view(3, 1, 1)
    for image in images:
        (mine,) = ours(student, [image])
        (theirs,) = exact(image, return_tensors="pt").pixel_values
        torch.testing.assert_close(theirs, mine, atol=4 * eps * float(mine.abs().max()), rtol=0)
        # the torchvision backend rounds its bicubic weights otherwise: at most two grey levels of 255
        (theirs,) = near(image, return_tensors="pt").pixel_values
        assert float(((theirs - mine) * deviations * 255).abs().max()) <= 2.001


@pytest.mark.parametrize("squash", [False, True])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "lanczos"])
def test_the_image_processor_of_transformers_crops_the_same_pixels(
    model: Blip, teacher: Teacher, tmp_path: Path, interpolation: str, squash: bool
) -> None:
    from transformers import AutoImageProcessor

    teacher.preprocess = replace(PREPROCESS, resize=21, interpolation=interpolation, squash=squash)
    student = load(export(model, teacher, tmp_path / "student"))
    assert student.preprocess == teacher.preprocess
    exact = AutoImageProcessor.from_pretrained(tmp_path / "student", backend="pil")
    assert type(exact).__name__ == "CLIPImageProcessorPil"
    large = Image.fromarray(pictures(1, side=64)[0])
    eps = torch.finfo(torch.float32).eps
    for box in ((0, 0, 64, 64), (0, 0, 63, 40), (0, 0, 31, 64), (0, 0, 21, 33), (0, 0, 9, 17)):
        image = large.crop(box)
        (mine,) = ours(student, [image])
        (theirs,) = exact(image, return_tensors="pt").pixel_values
        torch.testing.assert_close(theirs, mine, atol=4 * eps * float(mine.abs().max()), rtol=0)


def test_an_existing_folder_is_never_overwritten(model: Blip, teacher: Teacher, tmp_path: Path) -> None:
    out = tmp_path / "student"
    out.mkdir()
    (out / "precious.txt").write_text("mine")
    with pytest.raises(ExportError, match="exists already; allowed: a new or an empty folder"):
        export(model, teacher, out)
    assert [path.name for path in out.iterdir()] == ["precious.txt"]


def test_an_empty_folder_and_a_new_deep_one_are_filled(model: Blip, teacher: Teacher, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    load(export(model, teacher, tmp_path / "empty"))
    load(export(model, teacher, tmp_path / "a" / "b" / "c"))


def test_a_full_disk_leaves_no_half_folder(
    model: Blip, teacher: Teacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("trainables.model_folder.save_file", full)
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(ResourceError, match=r"is full \("):
        export(model, teacher, tmp_path / "student")
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_student_whose_tokenizer_is_gone_is_not_exported(
    model: Blip, teacher: Teacher, tmp_path: Path
) -> None:
    for name in ("tokenizer.json", "vocab.txt"):
        (teacher.files.folder / name).unlink()
    with pytest.raises(ExportError, match=r"neither tokenizer\.json nor vocab\.txt"):
        export(model, teacher, tmp_path / "student")
    teacher.tokenizer = None
    with pytest.raises(ExportError, match="teacher small: has no tokenizer, and this student reads texts"):
        export(model, teacher, tmp_path / "student")
    assert not (tmp_path / "student").exists()


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("version", 3, "version 3; allowed: 'student-search' version 2 or older"),
        ("format", "other", "got format 'other'"),
        ("tokenizer", {"max_tokens": 9}, "no tokenizer settings"),
    ],
)
def test_a_folder_of_another_program_or_version_is_told(
    folder: Path, field: str, value: Any, told: str
) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {field: value}))
    with pytest.raises(ExportError, match=told):
        load(folder)


def test_a_student_of_an_unknown_family_is_told(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["model"]["family"] = "blop"
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ExportError, match=r"no plug-in is called 'blop'.*Did you mean 'blip'"):
        load(folder)


def test_a_folder_that_cannot_be_loaded_is_told(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="is no folder"):
        load(tmp_path / "gone")
    (folder / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(ExportError, match=r"model\.safetensors: cannot be read"):
        load(folder)


def test_transformers_names_the_model_type_that_it_does_not_know(folder: Path) -> None:
    from transformers import AutoConfig

    with pytest.raises(ValueError, match=r"model type .student-search."):
        AutoConfig.from_pretrained(folder)


def test_a_job_lies_beside_the_student_as_the_worker_takes_it(
    model: Blip, teacher: Teacher, tmp_path: Path
) -> None:
    job = make_job(tmp_path / "teacher", tmp_path / "work", seed=5)
    out = export(model, teacher, tmp_path / "with-job", {**MEASURED, "job": job.to_dict()})
    assert Job.read(out / "candidate.json", tmp_path / "work") == job
    assert load(out).measured == MEASURED
