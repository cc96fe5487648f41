"""From a public data set to a searched student: COCO in Karpathy's form is prepared, and a search trains on it."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from search.export import main as export
from tests.e2e import runs
from tests.unit.trainables.datasets.prepare import public
from trainables.datasets.scenes.dataset import ScenesDataset
from trainables.export import load
from trainables.preprocess import Framing

DATA = "dataset: {{kind: prepared, root: {root}, pixels: live, workers: 1, vary: true, changes: 0, text: plain, max_words: 30}}"


def scenes_as_coco(root: Path) -> Path:
    """Write scenes, whose words the embedded teacher knows, as COCO with Karpathy's splits; two files are broken."""
    scenes = ScenesDataset(
        ScenesDataset.Config(train_images=96, val_images=64, test_images=64, mismatched=0.0)
    )
    rows = []
    for name, splits in (("train", ("train", "restval")), ("val", ("val",)), ("test", ("test",))):
        split = scenes.split(name, framing=Framing(64), progress=lambda line: None)
        texts: dict[int, list[str]] = {}
        for row, text in zip(split.caption_images.tolist(), split.captions, strict=True):
            texts.setdefault(row, []).append(text.capitalize() + ".")
        for row in range(split.num_images):
            number = len(rows)
            file = f"COCO_val2014_{number:012d}.png"
            public.save(Image.fromarray(np.asarray(split.pixels[row])), root / "val2014" / file)
            sentences = [{"raw": text} for text in texts[row]]
            told = {"filepath": "val2014", "filename": file, "cocoid": number, "sentences": sentences}
            rows.append(told | {"split": splits[row % len(splits)]})
    for number in (3, 110):
        (root / "val2014" / f"COCO_val2014_{number:012d}.png").write_bytes(b"no picture")
    public.write_json(root / "dataset_coco.json", {"images": rows, "dataset": "coco"})
    return root


def test_coco_is_prepared_and_searched(tmp_path: Path) -> None:
    root, out, env = scenes_as_coco(tmp_path / "coco"), tmp_path / "data", runs.environment()
    words = ["-m", "trainables.datasets.prepare", "--kind", "coco", "--root", str(root), "--out", str(out)]
    code, text = runs.run([*words, "--workers", "1"], folder=runs.ROOT, env=env)
    assert code == 0, text
    assert "train: 95 pictures" in text
    assert "val: 63 pictures" in text
    assert "left out: 2 pictures" in text
    space = (
        runs.SPACE.replace("trials: 3", "trials: 1")
        .replace("epochs: 3", "epochs: 2")
        .replace("  vqa: {weight: 1}\n", "")
    )
    (line,) = (one for one in space.splitlines() if one.startswith("dataset:"))
    space = space.replace(line, f"{DATA.format(root=out)}\nteacher_cache: {{kind: live}}")
    path = runs.write_space(tmp_path, space)
    search = [
        runs.script("search/run.py"),
        "--space",
        str(path),
        "--max-concurrent=1",
    ]
    code, text = runs.run(search, folder=tmp_path, env=env)
    assert code == 0, text
    assert "left out while it was prepared: 2 pictures" in text
    assert "95 images" in text
    rows = runs.trial_rows(tmp_path / "runs" / "tiny")
    assert {row["status"] for row in rows.values()} == {"finished"}
    student = tmp_path / "student"
    assert export((str(tmp_path / "runs" / "tiny"), "--pick", "best", "--out", str(student))) == 0
    told = load(student).embed_texts(["A Red: circle!", "a red circle", "a red : circle"])
    assert torch.equal(told[0], told[1]), "it reads texts as its data did"
    assert torch.equal(told[0], told[2])


def test_varied_pictures_beside_a_cache_are_refused(tmp_path: Path, refused: runs.Refused) -> None:
    root = tmp_path / "own"
    for number in range(12):
        public.put(root / f"{number}.jpg", number)
    assert public.prepare("folder", root, tmp_path / "data") == 0
    (line,) = (one for one in runs.SPACE.splitlines() if one.startswith("dataset:"))
    space = runs.SPACE.replace(line, DATA.format(root=tmp_path / "data"))
    told = refused("--space", str(runs.write_space(tmp_path, space)))
    assert "got 'cached' with data that shows pictures another way at each visit" in told
