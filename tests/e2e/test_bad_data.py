"""Mistakes in own data and in a teacher's folder: one clear message, exit code 2, nothing written."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from tests.e2e import runs
from tests.e2e.runs import Refused
from trainables.model_folder import Reading, read_model_folder, write_model_folder
from trainables.signals import Want

SIZES = ("--set=evaluation.images=2",)


def make_rows(folder: Path) -> list[dict[str, Any]]:
    """Make eight pictures and return a sound row for each."""
    rows = []
    for number in range(8):
        Image.new("RGB", (8, 8), (30 * number, 0, 0)).save(folder / f"{number}.png")
        split = "val" if number > 5 else "train"
        rows.append({"image": f"{number}.png", "caption": "a red circle", "split": split})
    return rows


def write_rows(folder: Path, rows: list[dict[str, Any]]) -> str:
    """Write the data file and return the flag's value."""
    path = folder / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"jsonl:{path}"


def refuse_rows(tmp_path: Path, refused: Refused, rows: list[dict[str, Any]]) -> str:
    """Search on these rows; return the message."""
    space = runs.write_space(tmp_path)
    return refused("--space", str(space), "--dataset", write_rows(tmp_path, rows), *SIZES)


def test_a_missing_image_is_told_with_its_line(tmp_path: Path, refused: Refused) -> None:
    rows = make_rows(tmp_path)
    (tmp_path / "3.png").unlink()
    told = refuse_rows(tmp_path, refused, rows)
    assert "pairs.jsonl:4: image: " in told
    assert "3.png does not exist" in told


def test_a_broken_image_is_told_with_its_line(tmp_path: Path, refused: Refused) -> None:
    rows = make_rows(tmp_path)
    (tmp_path / "2.png").write_bytes((tmp_path / "2.png").read_bytes()[:40])
    told = refuse_rows(tmp_path, refused, rows)
    assert "pairs.jsonl:3: " in told
    assert "2.png cannot be read as a picture" in told


def test_an_empty_caption_is_told_with_its_line(tmp_path: Path, refused: Refused) -> None:
    rows = make_rows(tmp_path)
    rows[5]["caption"] = " "
    assert "pairs.jsonl:6: caption: is empty" in refuse_rows(tmp_path, refused, rows)


def test_data_without_validation_rows_is_told(tmp_path: Path, refused: Refused) -> None:
    rows = [{**row, "split": "train"} for row in make_rows(tmp_path)]
    assert "no validation rows" in refuse_rows(tmp_path, refused, rows)


def test_all_broken_rows_are_told_at_once(tmp_path: Path, refused: Refused) -> None:
    rows = make_rows(tmp_path)
    rows[0]["caption"] = ""
    rows[4]["image"] = "gone.png"
    told = refuse_rows(tmp_path, refused, rows)
    assert "pairs.jsonl:1: " in told
    assert "pairs.jsonl:5: " in told


def test_a_task_that_the_data_cannot_measure_is_told(tmp_path: Path, refused: Refused) -> None:
    rows = write_rows(tmp_path, make_rows(tmp_path))
    space = runs.write_space(tmp_path, runs.SPACE + "tasks: [retrieval, vqa]\n")
    told = refused("--space", str(space), "--dataset", rows, *SIZES)
    assert (
        f"tiny.yaml:{len(runs.SPACE.splitlines()) + 1}, tasks.vqa: got vqa, but it needs question.ids" in told
    )
    assert "which not every split of this data has; allowed here: retrieval. Drop it" in told


def test_data_that_can_do_no_task_of_the_space_is_told(tmp_path: Path, refused: Refused) -> None:
    rows = write_rows(tmp_path, make_rows(tmp_path))
    told = refused("--space", str(runs.write_space(tmp_path)), "--dataset", rows, "--set=tasks=[vqa]", *SIZES)
    assert "--set tasks=[vqa], tasks.vqa: got vqa, but it needs question.ids" in told
    assert "allowed here: batch_matching, captioning, matching, neighbours, retrieval." in told


def test_a_line_that_is_no_json_is_told(tmp_path: Path, refused: Refused) -> None:
    data = write_rows(tmp_path, make_rows(tmp_path))
    with (tmp_path / "pairs.jsonl").open("a") as sink:
        sink.write("{broken\n")
    told = refused("--space", str(runs.write_space(tmp_path)), "--dataset", data, *SIZES)
    assert "pairs.jsonl:9: not JSON" in told


def test_a_missing_data_file_is_told(tmp_path: Path, refused: Refused) -> None:
    told = refused("--space", str(runs.write_space(tmp_path)), "--dataset", "jsonl:nowhere.jsonl")
    assert "nowhere.jsonl does not exist" in told


def test_own_data_without_its_file_is_told(tmp_path: Path, refused: Refused) -> None:
    told = refused("--space", str(runs.write_space(tmp_path)), "--dataset", "jsonl")
    assert "--dataset jsonl" in told
    assert "file" in told


def test_words_that_the_teacher_cannot_read_are_told(tmp_path: Path, refused: Refused) -> None:
    rows = [{**row, "caption": "zebras grazing quietly beneath acacias"} for row in make_rows(tmp_path)]
    assert "does not know" in refuse_rows(tmp_path, refused, rows)


@pytest.fixture
def teacher_folder(tmp_path: Path) -> Path:
    """Return a copy of the embedded teacher's folder, to be broken."""
    source = runs.ROOT / "trainables" / "teachers" / "embedded_weights"
    return Path(shutil.copytree(source, tmp_path / "teacher"))


def test_a_teacher_folder_with_wrong_keys_is_told(
    teacher_folder: Path, tmp_path: Path, refused: Refused
) -> None:
    file = teacher_folder / "model.safetensors"
    weights = load_file(file)
    name = sorted(weights)[0]
    weights["stranger"] = weights.pop(name)
    save_file(weights, file)
    told = refused("--space", str(runs.write_space(tmp_path)), "--teacher", str(teacher_folder))
    assert f"missing {name}" in told
    assert "unknown stranger" in told


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_damaged_teacher_folder_is_told(
    name: str, teacher_folder: Path, tmp_path: Path, refused: Refused
) -> None:
    (teacher_folder / name).write_bytes(b"{")
    told = refused("--space", str(runs.write_space(tmp_path)), "--teacher", str(teacher_folder))
    assert str(teacher_folder / name) in told


def test_a_task_that_the_teacher_cannot_do_is_told(
    teacher_folder: Path, tmp_path: Path, refused: Refused
) -> None:
    whole = read_model_folder(teacher_folder)
    embeddings = frozenset({Want("image", "embedding"), Want("text", "embedding")})
    dual = whole.blueprint.deployed(embeddings).build()
    dual.load_state_dict({name: whole.model.state_dict()[name] for name in dual.state_dict()})
    reading = Reading(preprocess=whole.preprocess, tokenizer=whole.tokenizer, folder=teacher_folder)
    write_model_folder(teacher_folder, dual, kind="blip", reading=reading, measured=whole.measured)
    space = runs.write_space(tmp_path, runs.SPACE + "tasks: [captioning, retrieval]\n")
    told = refused("--space", str(space), "--teacher", str(teacher_folder))
    line = len(runs.SPACE.splitlines()) + 1
    assert f"tiny.yaml:{line}, tasks.captioning: got captioning, but it needs decoder.logits" in told
    assert "which the teacher does not have; allowed here: retrieval. Drop it" in told


def test_a_folder_that_holds_no_teacher_is_told(tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "empty").mkdir()
    told = refused("--space", str(runs.write_space(tmp_path)), "--teacher", str(tmp_path / "empty"))
    assert str(tmp_path / "empty") in told
