"""An exported student loads elsewhere and says the same."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from spaces.errors import ExportError
from tests.tolerance import close
from trainables.datasets.base import Split
from trainables.datasets.encoded import EncodedSplit
from trainables.export import Student, export_student, greedy_answers, load
from trainables.metrics.evaluation import evaluate
from trainables.metrics.predictions import EvaluationSize
from trainables.model_card import model_card
from trainables.models.blip import Blip
from trainables.models.config import BlipConfig, EncoderConfig, PreprocessConfig
from trainables.tokenizer import Tokenizer, write_word_tokenizer

WORDS = ("a", "red", "blue", "circle", "square", "how", "many", "?", "one", "two")
MAX_TOKENS = 9
OPS = 2 * 12 * 24  # layers of the text side
PREPROCESS = PreprocessConfig(image_size=16, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
MEASURED: dict[str, Any] = {"candidate_id": "0badcafe", "metrics": {"test": {"mean_recall": 81.25}}}


@pytest.fixture
def tokenizer_folder(tmp_path: Path) -> Path:
    (tmp_path / "tokenizer").mkdir()
    write_word_tokenizer(tmp_path / "tokenizer", WORDS, MAX_TOKENS)
    return tmp_path / "tokenizer"


@pytest.fixture
def model(tokenizer_folder: Path) -> Blip:
    vocabulary = write_word_tokenizer(tokenizer_folder, WORDS, MAX_TOKENS)
    torch.manual_seed(0)
    config = BlipConfig(
        image=EncoderConfig(width=16, depth=1, heads=2),
        text=EncoderConfig(width=24, depth=2, heads=3),
        fusion=(1,),
        embedding=8,
        image_size=16,
        patch_size=8,
        max_tokens=MAX_TOKENS,
        vocabulary=vocabulary,
    )
    made = Blip(config)
    with torch.no_grad():  # random logits of a fresh model differ too little to say different things
        made.text_network.words.weight.normal_(std=1.0)
        for layer in made.text_network.layers:
            if layer.cross_attention is not None:
                layer.cross_attention.output.weight.normal_(std=2.0)
    return made.eval()


def export(model: Blip, tokenizer_folder: Path, out: Path, measured: dict[str, Any] = MEASURED) -> Path:
    return export_student(
        model, tokenizer_folder, preprocess=PREPROCESS, measured=measured, out=out, card=model_card(measured)
    )


@pytest.fixture
def folder(model: Blip, tokenizer_folder: Path, tmp_path: Path) -> Path:
    return export(model, tokenizer_folder, tmp_path / "student")


@pytest.fixture
def student(folder: Path) -> Student:
    return load(folder)


def pictures(count: int, side: int = 16) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


TEXTS: dict[str, Any] = {
    "captions": ["a red circle", "a blue square", "two blue circle", "one red square a"],
    "caption_images": np.arange(4),
    "questions": ["how many ?"] * 4,
    "answers": ["two", "one", "two", "red circle"],
    "question_images": np.arange(4),
}


def make_split(tokenizer: Tokenizer) -> EncodedSplit:
    return EncodedSplit(Split(name="val", pixels=pictures(4), **TEXTS), tokenizer, PREPROCESS)


ELSEWHERE = """
import json, sys
sys.modules["ray"] = sys.modules["pydantic"] = None
import numpy as np, torch
from trainables.datasets.base import Split
from trainables.datasets.encoded import EncodedSplit
from trainables.export import load
from trainables.metrics.evaluation import evaluate
from trainables.metrics.predictions import EvaluationSize
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
metrics = evaluate(student.model, encoded, torch.device("cpu"), size=EvaluationSize(images=4))
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
    assert student.config == model.config
    assert student.preprocess == PREPROCESS
    assert student.measured == MEASURED
    assert not student.model.training


def test_a_new_process_without_ray_and_pydantic_reproduces_every_metric_exactly(
    folder: Path, model: Blip, tokenizer_folder: Path, tmp_path: Path
) -> None:
    tokenizer = Tokenizer.from_folder(tokenizer_folder, model.config.vocabulary, MAX_TOKENS)
    split = make_split(tokenizer)
    here = evaluate(model, split, torch.device("cpu"), size=EvaluationSize(images=4))
    assert {"mean_recall", "vqa_accuracy", "caption_token_accuracy"} <= set(here)
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


def test_embeddings_are_those_of_the_training_pipeline(student: Student, model: Blip) -> None:
    split = make_split(student.tokenizer)
    with torch.no_grad():
        seen = model.encode_image(split.images(np.arange(4), torch.device("cpu"))).embedding_BE
        told = model.encode_text(*split.caption_tokens(np.arange(4), torch.device("cpu"))).embedding_BE
    assert seen is not None
    assert told is not None
    texts = ["a red circle", "a blue square", "two blue circle", "one red square a"]
    assert torch.equal(student.embed_images(pictures(4)), seen)
    close(student.embed_texts(texts), told, ops=OPS)
    close(student.embed_texts(texts).norm(dim=-1), torch.ones(4), ops=OPS)


def test_pictures_of_any_size_and_mode_are_taken(student: Student) -> None:
    large = Image.fromarray(pictures(1, side=40)[0])
    resized = np.asarray(large.resize((16, 16), Image.Resampling.BICUBIC))
    assert torch.equal(student.embed_images([large]), student.embed_images([resized]))
    grey = large.convert("L")
    assert torch.equal(student.embed_images([grey]), student.embed_images([grey.convert("RGB")]))


@pytest.mark.parametrize("image", [np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8), "picture.png"])
def test_what_is_no_picture_is_refused(student: Student, image: Any) -> None:
    with pytest.raises(ExportError, match="allowed: PIL images or uint8 arrays"):
        student.embed_images([image])


def test_matching_is_the_probability_of_the_image_grounded_encoder(student: Student, model: Blip) -> None:
    split = make_split(student.tokenizer)
    with torch.no_grad():
        tokens = model.encode_image(split.images(np.arange(2), torch.device("cpu"))).tokens_BPD
        assert tokens is not None
        logits = model.fuse(*split.caption_tokens(np.arange(2), torch.device("cpu")), tokens).logits_N2
    assert logits is not None
    told = student.match(pictures(4)[:2], ["a red circle", "a blue square"])
    close(told, logits.softmax(dim=-1)[:, 1], ops=OPS)


def test_a_picture_too_few_is_refused(student: Student) -> None:
    with pytest.raises(ExportError, match="got 2 images and 1 texts"):
        student.match(pictures(2), ["a"])
    with pytest.raises(ExportError, match="got 1 images and 2 texts"):
        student.answer(pictures(1), ["how many ?", "a ?"])


def test_greedy_answers_equal_a_search_token_by_token(student: Student, model: Blip) -> None:
    """Independent of the batched code: one row at a time, the whole prefix each time, no padding."""
    v = model.config.vocabulary
    prompts = [
        row[:-1]
        for row in student.tokenizer.questions(["how many ?", "a", "how many red circle ?"], [""] * 3)[0]
    ]
    with torch.no_grad():
        tokens = model.encode_image(
            torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(2))
        ).tokens_BPD
        assert tokens is not None
        expected = []
        for index, prompt in enumerate(prompts):
            row = list(prompt)
            while len(row) < MAX_TOKENS:
                ids = torch.tensor([row])
                logits = model.decode(
                    ids, torch.ones_like(ids, dtype=torch.bool), tokens[index : index + 1]
                ).logits_BTV
                assert logits is not None
                token = int(logits[0, -1].argmax())
                if token == v.sep:
                    break
                row.append(token)
            expected.append(row[len(prompt) :])
        assert greedy_answers(model, prompts, tokens) == expected
    assert any(expected)
    assert len({len(row) for row in prompts}) == 3


def test_an_answer_is_right_exactly_where_the_vqa_metric_says_so(student: Student) -> None:
    split = make_split(student.tokenizer)
    answers = student.answer(pictures(4), ["how many ?"] * 4)
    data = replace_answers(split, student, answers)
    assert (
        evaluate(student.model, data, torch.device("cpu"), size=EvaluationSize(images=4))["vqa_accuracy"]
        == 100.0
    )


def replace_answers(split: EncodedSplit, student: Student, answers: list[str]) -> EncodedSplit:
    """The same split, its reference answers being what the student said (ids, since words may join)."""
    rows, _ = student.tokenizer.questions(["how many ?"] * 4, [""] * 4)
    prompts = [row[:-1] for row in rows]
    with torch.no_grad():
        tokens = student.model.encode_image(split.images(np.arange(4), torch.device("cpu"))).tokens_BPD
        assert tokens is not None
        said = greedy_answers(student.model, prompts, tokens)
    assert [student.tokenizer.decode(ids) for ids in said] == answers
    table = split.questions
    assert table is not None
    table.ids.resize((4, MAX_TOKENS), refcheck=False)
    table.ids[:] = student.config.vocabulary.pad
    for index, (prompt, answer) in enumerate(zip(prompts, said, strict=True)):
        row = [*prompt, *answer, student.config.vocabulary.sep][:MAX_TOKENS]
        table.ids[index, : len(row)] = row
        table.lengths[index] = len(row)
        split.answer_starts[index] = len(prompt)
    return split


def test_captions_are_words_without_special_tokens(student: Student) -> None:
    captions = student.caption([Image.fromarray(picture) for picture in pictures(3)])
    assert len(captions) == 3
    assert all("[" not in caption for caption in captions)


def test_a_dual_encoder_says_what_it_can_do(model: Blip, tokenizer_folder: Path, tmp_path: Path) -> None:
    dual = Blip(replace(model.config, fusion=())).eval()
    student = load(export(dual, tokenizer_folder, tmp_path / "dual"))
    assert student.embed_images(pictures(2)).shape == (2, 8)
    with pytest.raises(ExportError, match="0 fusion layers; compare embed_images with embed_texts"):
        student.match(pictures(1), ["a"])
    with pytest.raises(ExportError, match="no decoder; it can embed_images"):
        student.caption(pictures(1))
    with pytest.raises(ExportError, match="no decoder"):
        student.answer(pictures(1), ["a ?"])


def test_the_image_processor_of_transformers_reads_the_preprocessing(folder: Path, student: Student) -> None:
    from transformers import BlipImageProcessorPil

    theirs = BlipImageProcessorPil.from_pretrained(folder)(
        Image.fromarray(pictures(1)[0]), return_tensors="pt"
    )
    close(student._pixels(pictures(1)), theirs.pixel_values, ops=3)  # scale, mean, deviation


def test_an_existing_folder_is_never_overwritten(model: Blip, tokenizer_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "student"
    out.mkdir()
    (out / "precious.txt").write_text("mine")
    with pytest.raises(ExportError, match="exists already; allowed: a new or an empty folder"):
        export(model, tokenizer_folder, out)
    assert [path.name for path in out.iterdir()] == ["precious.txt"]


def test_an_empty_folder_and_a_new_deep_one_are_filled(
    model: Blip, tokenizer_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    load(export(model, tokenizer_folder, tmp_path / "empty"))
    load(export(model, tokenizer_folder, tmp_path / "a" / "b" / "c"))


def test_a_full_disk_leaves_no_half_folder(
    model: Blip, tokenizer_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("trainables.model_folder.save_file", full)
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(ExportError, match="No space left on device"):
        export(model, tokenizer_folder, tmp_path / "student")
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_student_without_tokenizer_is_not_exported(model: Blip, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    with pytest.raises(ExportError, match=r"neither tokenizer\.json nor vocab\.txt"):
        export(model, tmp_path / "nothing", tmp_path / "student")
    assert not (tmp_path / "student").exists()


def test_a_folder_that_cannot_be_loaded_is_told(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="is no folder"):
        load(tmp_path / "gone")
    (folder / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(ExportError, match=r"model\.safetensors: cannot be read"):
        load(folder)


def test_a_card_shows_measured_figures_and_their_hardware(model: Blip) -> None:
    card = model_card(
        {
            "candidate_id": "0badcafe",
            "metrics": {"test": {"mean_recall": 81.25}},
            "costs": {"params": 1234567, "latency_ms": 3.21098},
            "teacher": {
                "name": "embedded",
                "fingerprint": "feed",
                "metrics": {"test": {"mean_recall": 91.0}},
                "costs": {"params": 3320640},
            },
            "dataset": "scenes: 4,000 images",
            "hardware": {"cpu": "A CPU", "gpus": [], "torch": "2.14.1"},
            "model": model.config.to_dict(),
            "config": {"losses": {"itc": {"weight": 1.0}}, "training": {"epochs": 9}},
            "command": "python search/export.py runs/dlip --pick 0badcafe",
        }
    )
    for line in (
        "# Student 0badcafe",
        "teacher `embedded` (fingerprint feed)",
        "| test | mean_recall | 81.25 | 91.00 |",
        "| params | 1,234,567 | 3,320,640 | parameters |",
        "| latency_ms | 3.211 |  | ms per pair |",
        "| cpu | A CPU |",
        "| gpus | none |",
        "| text | 24 wide, 2 layers, 3 heads, feed-forward 4x |",
        "| fusion | text layers 1 |",
        "| itc | 1 |",
        "student.caption(pictures)",
        "python search/export.py runs/dlip --pick 0badcafe",
    ):
        assert line in card


def test_the_card_of_a_dual_encoder_promises_no_captions(model: Blip) -> None:
    card = model_card({"model": replace(model.config, fusion=()).to_dict()})
    assert "none: a dual encoder" in card
    assert "student.embed_images" in card
    assert "student.caption" not in card
    assert "## Measured on" not in card
