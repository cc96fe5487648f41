"""A student that reads its teacher: its folder holds the part that it reads, and needs nothing else from raw input to answer."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from spaces.errors import ExportError, TeacherError
from tests.unit.trainables.export.students import CAPTIONS, MEASURED, make_split, pictures, said
from tests.unit.trainables.families.teachers import drafted
from tests.unit.trainables.reader import IMAGE, KIND, LOGITS, TEXT, Reader, ReaderArchitecture, installed
from tests.unit.trainables.teachers.clip import small_clip
from trainables.costs.size import tokenizer_bytes
from trainables.costs.static import measure_static
from trainables.costs.subject import Subject, reading, source_of
from trainables.export import Deployed, export_student, load, model_card
from trainables.families.base import Blueprint, Surroundings
from trainables.families.blip.model import Blip
from trainables.model_folder import read_model_folder
from trainables.signals import Serving, Want, Wants, classes_meaning
from trainables.teachers.loading import load_teacher
from trainables.teachers.teacher import Teacher

NAMES = ("bee", "cat", "dog")
WANTS: Wants = frozenset({IMAGE, TEXT, LOGITS})


@pytest.fixture(autouse=True)
def reader() -> Iterator[None]:
    with installed():
        yield


@pytest.fixture
def head(model: Blip) -> Reader:
    """A reader of the teacher of this folder: 8 wide embeddings of either side, three classes."""
    torch.manual_seed(1)
    side = model.architecture.embedding
    sizes = ReaderArchitecture(image=side, text=side, embedding=4, classes=3, meaning=classes_meaning(NAMES))
    return Reader(sizes).eval()


@pytest.fixture
def deployed(head: Reader) -> Deployed:
    blueprint = Blueprint(KIND, head.architecture)
    return Deployed(blueprint=blueprint, source=source_of(blueprint, WANTS), classes=NAMES)


@pytest.fixture
def folder(head: Reader, deployed: Deployed, teacher: Teacher, tmp_path: Path) -> Path:
    return write(head, deployed, teacher, tmp_path / "student")


def write(head: Reader, deployed: Deployed, teacher: Teacher, out: Path) -> Path:
    card = model_card({**MEASURED, "classes": deployed.classes})
    return export_student(head, teacher, deployed=deployed, measured=MEASURED, out=out, card=card)


def by_hand(head: Reader, model: Blip, teacher: Teacher) -> dict[Want, torch.Tensor]:
    """Return what the head says of four pictures and captions, from the teacher's own signals and its weights."""
    split = make_split(teacher.tokenizer)
    image, text = said(model, split, IMAGE), said(model, split, TEXT)
    assert head.text is not None
    assert head.head is not None
    with torch.no_grad():
        seen = image @ head.image.weight.T + head.image.bias
        read = text @ head.text.weight.T + head.text.bias
        logits = seen @ head.head.weight.T + head.head.bias
    return {IMAGE: F.normalize(seen, dim=-1), TEXT: F.normalize(read, dim=-1), LOGITS: logits}


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=64 * torch.finfo(torch.float32).eps, rtol=0)


def test_a_loaded_head_says_from_raw_input_what_it_says_on_its_teachers_signals(
    folder: Path, head: Reader, model: Blip, teacher: Teacher
) -> None:
    student, expected = load(folder), by_hand(head, model, teacher)
    close(student.embed_images(pictures(4)), expected[IMAGE])
    close(student.embed_texts(CAPTIONS), expected[TEXT])
    close(student.signals(pictures(4), wants={LOGITS})[LOGITS], expected[LOGITS])
    assert student.embed_images([]).shape == (0, 4)
    assert student.source == {IMAGE, TEXT}


def test_a_head_with_classes_on_a_published_model_takes_no_pictures_and_no_texts_too(tmp_path: Path) -> None:
    teacher = load_teacher(str(small_clip.save_named(tmp_path / "clip", "clip")))
    around = Surroundings(image_size=1, sizes=teacher.blueprint.sizes, offers=teacher.offers, classes=NAMES)
    blueprint = drafted("simple_projection", around, embedding=4, classifier=True)
    deployed = Deployed(blueprint=blueprint, source=source_of(blueprint, WANTS), classes=NAMES)
    model: Any = blueprint.build().eval()
    student = load(write(model, deployed, teacher, tmp_path / "student"))
    assert student.embed_images([]).shape == student.embed_texts([]).shape == (0, 4)
    assert student.classify([]) == []
    assert student.embed_images(pictures(2)).shape == student.embed_texts(CAPTIONS[:2]).shape == (2, 4)


def test_classes_are_told_by_name_the_likeliest_first(
    folder: Path, head: Reader, model: Blip, teacher: Teacher
) -> None:
    shares = by_hand(head, model, teacher)[LOGITS].softmax(dim=-1)
    student = load(folder)
    assert student.classes == NAMES
    told = student.classify(pictures(4), k=3)
    for row, expected in zip(told, shares.tolist(), strict=True):
        assert [name for name, _ in row] == [NAMES[i] for i in sorted(range(3), key=lambda i: -expected[i])]
        assert dict(row) == pytest.approx(dict(zip(NAMES, expected, strict=True)), abs=1e-5)
        assert sum(share for _, share in row) == pytest.approx(1.0, abs=1e-6)
    assert student.classify(pictures(4)) == [row[:1] for row in told]
    assert student.classify([]) == []


@pytest.mark.parametrize("k", [0, 4, -1, True, 1.0, "two"])
def test_a_number_of_classes_that_there_is_not_is_refused(folder: Path, k: Any) -> None:
    with pytest.raises(ExportError, match=r"classify: k: got .*; allowed: a whole number from 1 to 3"):
        load(folder).classify(pictures(1), k=k)


def test_a_student_without_class_head_or_names_says_what_it_can_do(
    head: Reader, deployed: Deployed, teacher: Teacher, tmp_path: Path
) -> None:
    headless = Blueprint(KIND, head.architecture).deployed(frozenset({IMAGE}))
    seeing = Deployed(blueprint=headless, source=frozenset({IMAGE}))
    student = load(write(headless.build(), seeing, teacher, tmp_path / "headless"))  # type: ignore[arg-type]
    with pytest.raises(ExportError, match=r"has no class head; compare embed_images .*classifier: true"):
        student.classify(pictures(1))
    bare = Deployed(blueprint=deployed.blueprint, source=deployed.source)
    nameless = load(write(head, bare, teacher, tmp_path / "nameless"))
    with pytest.raises(ExportError, match="classify: got names of 0 classes for 3 logits"):
        nameless.classify(pictures(1))


@pytest.mark.parametrize("names", [("bee", "dog", "cat"), ("bee", "cat"), ("bee", "cat", "dog", "elk")])
def test_names_of_other_classes_are_not_exported(
    head: Reader, deployed: Deployed, teacher: Teacher, tmp_path: Path, names: tuple[str, ...]
) -> None:
    other = Deployed(blueprint=deployed.blueprint, source=deployed.source, classes=names)
    with pytest.raises(ExportError, match=rf"classes: got {len(names)} names .*not those of the 3 classes"):
        write(head, other, teacher, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_the_part_inside_is_a_model_folder_of_what_is_read_and_no_more(
    folder: Path, model: Blip, head: Reader, teacher: Teacher
) -> None:
    part = read_model_folder(folder / "reads")
    expected = Blueprint("blip", model.architecture).deployed(frozenset({IMAGE, TEXT}))
    assert part.blueprint == expected
    assert part.measured == {"part_of": "small", "fingerprint": "feed"}
    assert part.preprocess == teacher.preprocess
    for name, tensor in load_file(folder / "reads" / "model.safetensors").items():
        assert torch.equal(tensor, model.state_dict()[name])
    alone = read_model_folder(folder)
    assert alone.blueprint.kind == KIND
    assert alone.tokenizer is not None  # with the student, whose texts it reads
    assert not (folder / "reads" / "vocab.txt").exists()


def test_the_folder_is_as_large_as_its_cost_says(folder: Path, deployed: Deployed, model: Blip) -> None:
    servings = [Serving(mode="image"), Serving(mode="text")]
    alone = Subject(blueprint=deployed.blueprint, servings=servings, tokenizer_bytes=tokenizer_bytes(folder))
    subject = reading(alone, deployed.source, Blueprint("blip", model.architecture))
    weights = {
        place: sum(tensor.nbytes for tensor in load_file(place / "model.safetensors").values())
        for place in (folder, folder / "reads")
    }
    expected = (sum(weights.values()) + tokenizer_bytes(folder)) / 2**20
    assert measure_static(subject).size_mib == expected
    assert measure_static(subject.head).size_mib == weights[folder] / 2**20
    numbers = sum(p.numel() for p in load(folder).model.parameters())
    assert measure_static(subject.head).params == numbers == weights[folder] // 4


def test_a_head_is_loaded_alone_for_those_who_have_its_teachers_signals(
    folder: Path, head: Reader, model: Blip, teacher: Teacher
) -> None:
    shutil.rmtree(folder / "reads")
    student, expected = load(folder, alone=True), by_hand(head, model, teacher)
    split = make_split(teacher.tokenizer)
    known = {IMAGE: said(model, split, IMAGE), TEXT: said(model, split, TEXT)}
    found = student.signals(wants={IMAGE, TEXT}, given=known)
    close(found[IMAGE], expected[IMAGE])
    close(found[TEXT], expected[TEXT])
    with pytest.raises(
        ExportError, match=r"image\.embedding is made of image\.embedding of its teacher; allowed"
    ):
        student.embed_images(pictures(1))


def test_signals_that_are_given_are_not_computed_again(folder: Path) -> None:
    student = load(folder)
    other = torch.zeros(2, 8)
    found = student.signals(pictures(2), wants={IMAGE}, given={IMAGE: other})
    assert not torch.equal(found[IMAGE], student.embed_images(pictures(2)))
    with pytest.raises(ExportError, match=r"image\.embedding is made of picture\.pixels"):
        student.signals(texts=["a"], wants={IMAGE})


def test_a_part_that_is_missing_damaged_or_of_another_teacher_is_told(folder: Path, model: Blip) -> None:
    (folder / "reads").rename(folder / "elsewhere")
    with pytest.raises(
        ExportError, match=r"reads: is missing: .*reads image\.embedding, text\.embedding.*alone=True"
    ):
        load(folder)
    (folder / "elsewhere").rename(folder / "reads")
    weights = folder / "reads" / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:100])
    with pytest.raises(ExportError, match=r"reads/model\.safetensors: cannot be read"):
        load(folder)
    weights.write_bytes(whole)
    config = json.loads((folder / "config.json").read_text())
    config["reads"] = ["image.depth", "image.hidden.1"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(
        ExportError, match=r"does not say image\.depth, image\.hidden\.1, which this student reads"
    ):
        load(folder)
    config["reads"] = "image.embedding"
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ExportError, match=r"reads: got 'image\.embedding'; allowed is a list of texts"):
        load(folder)


def test_a_head_is_no_teacher(folder: Path) -> None:
    with pytest.raises(
        TeacherError, match=r"student that reads image\.embedding, text\.embedding of its own teacher"
    ):
        load_teacher(str(folder))


ELSEWHERE = """
import json, sys
sys.modules["ray"] = sys.modules["pydantic"] = None
import numpy as np
from tests.unit.trainables.reader import installed
from trainables.export import load
with installed():
    student, images = load(sys.argv[1]), np.load(sys.argv[2])
    print(json.dumps([
        student.embed_images(images).tolist(),
        student.embed_texts(["a red circle", "a blue square"]).tolist(),
        student.classify(images, k=2),
    ]))
"""


def test_a_new_process_without_ray_and_pydantic_says_the_same(folder: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "pictures.npy", pictures(4))
    arguments = [sys.executable, "-c", ELSEWHERE, str(folder), str(tmp_path / "pictures.npy")]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, cwd=Path.cwd())
    assert done.returncode == 0, done.stderr
    images, texts, classes = json.loads(done.stdout)
    student = load(folder)
    assert images == student.embed_images(pictures(4)).tolist()
    assert texts == student.embed_texts(["a red circle", "a blue square"]).tolist()
    assert [[tuple(one) for one in row] for row in classes] == student.classify(pictures(4), k=2)


def test_a_card_tells_both_sizes_the_part_inside_and_the_classes() -> None:
    names = tuple(f"class {number}" for number in range(12))
    card = model_card(
        {
            "costs": {"params": 1500, "size_mib": 2.5, "head_params": 36, "head_size_mib": 0.25},
            "teacher": {"name": "embedded", "costs": {"params": 3000}},
            "model": {"family": KIND, "embedding": 4},
            "reads": {
                "teacher": "embedded",
                "signals": ["image.embedding"],
                "model": {"family": "blip", "embedding": 8},
            },
            "tasks": ["classification"],
            "classes": names,
        }
    )
    for line in (
        "The student is a head: it reads `image.embedding` of its teacher.",
        "of the teacher `embedded` (family `blip`) that says this.",
        "| params | 1,500 | 3,000 | parameters |",
        "| head_params | 36 |  | parameters of the student alone |",
        "| head_size_mib | 0.250 |  | MiB, weights of the student alone |",
        "## Sizes of the part of the teacher",
        "12, by name in `config.json`: class 0, class 1, class 2, ",
        "class 9 and 2 more.",
        "student.classify(pictures, k=5)",
    ):
        assert line in card
    plain = model_card({"costs": {"params": 1500, "head_params": 1500}, "tasks": ["classification"]})
    assert "head_params" not in plain  # what a student that stands alone costs is told once
    assert "What is inside" not in plain
    assert "student.embed_images(pictures)" in plain
    assert "classify" not in plain
