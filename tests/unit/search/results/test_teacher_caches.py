"""The command that fills the caches of a space ahead of a search."""

from pathlib import Path

import pytest

from search.inputs.inputs import Inputs
from search.inputs.teacher_cache import fill_evaluation_caches, fill_teacher_caches
from search.results.teacher_caches import main
from spaces.load import load_space
from tests.unit.trainables.small import write_teacher
from trainables.datasets.cache_folder import stored_in

SPACE = """\
name: small
teacher: {teacher}
dataset: {{kind: scenes, train_images: 8, val_images: 8, test_images: 8}}
student: {{kind: blip, image: {{width: 16, depth: 1}}, text: {{width: 16, depth: 1}}, fusion: {{layers: 0}}}}
losses: {{itc: {{weight: 1}}, image_embedding: {{weight: 1}}}}
training: {{epochs: 2, pairs_per_epoch: 8, batch_size: 8, lr: 1e-3}}
tasks: [retrieval]
objectives: {{retention: max, params: min}}
search: {{searcher: {{kind: random}}, scheduler: {{kind: moasha, rungs: [1]}}, trials: 4}}
"""


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("space")
    teacher = write_teacher(folder / "teacher", seed=5)
    (folder / "small.yaml").write_text(SPACE.format(teacher=teacher))
    return folder / "small.yaml"


def test_it_fills_what_a_search_reads(
    space: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--space", str(space), "--storage", str(tmp_path), "teacher_cache.precision=float32"]) == 0
    told = dict(line.rsplit(": ", 1) for line in capsys.readouterr().out.splitlines())
    asked: list[str] = []
    with stored_in(str(tmp_path)):
        inputs = Inputs(load_space(space, ["teacher_cache.precision=float32"]), say=asked.append)
        found = {f"{name}, train": folder for name, folder in fill_teacher_caches(inputs).items()}
        found |= {f"{name}, val": folder for name, folder in fill_evaluation_caches(inputs).items()}
    assert told == found
    assert not [line for line in asked if "to compute" in line]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("teacher_cache.kind=live", "got 'live'; such a space has no cache to fill"),
        ("teacher_cache.kind=lives", "lives"),
    ],
)
def test_a_space_that_cannot_be_filled_is_one_message(
    space: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str, said: str
) -> None:
    assert main(["--space", str(space), "--storage", str(tmp_path), change]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("address", "said"), [("", "--address '': no address"), ("127.0.0.1:1", "no Ray cluster answers")]
)
def test_a_cluster_that_is_none_is_told_before_anything_is_prepared(
    address: str, said: str, space: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--space", str(space), "--storage", str(tmp_path), "--address", address]) == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
