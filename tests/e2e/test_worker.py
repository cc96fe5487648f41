"""`python -m trainables.worker`: one candidate without Ray gives what its trial gave under Ray Tune."""

import json
from pathlib import Path

import pytest
import torch

from tests.e2e import runs
from tests.e2e.test_export import finished_id

TIMES = ("time", "wall_s", "cpu_s", "epoch_s", "peak_mib")
BLOCK = "import sys; sys.modules.update(ray=None, pydantic=None, yaml=None); "
MAIN = "import runpy; runpy.run_module('trainables.worker', run_name='__main__', alter_sys=True)"


@pytest.fixture(scope="module")
def worked(finished: runs.Finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a candidate trained again, in a Python that has neither ray nor pydantic nor yaml."""
    out = tmp_path_factory.mktemp("worker") / "out"
    candidate = finished.folder / "checkpoints" / finished_id(finished) / "candidate.json"
    arguments = ("-c", BLOCK + MAIN, str(candidate), "--out", str(out))
    code, text = runs.run(arguments, folder=runs.ROOT, env=finished.env)
    assert code == 0, text
    return out


def test_rows_equal_those_of_the_trial(finished: runs.Finished, worked: Path) -> None:
    rows = [json.loads(line) for line in (worked / "rows.jsonl").read_text().splitlines()]
    name = finished_id(finished)
    history = runs.history_rows(finished.folder)
    assert [row["epoch"] for row in rows] == list(range(1, runs.EPOCHS + 1))
    for row in rows:
        recorded = history[name, row["epoch"]]
        told = {key: value for key, value in row.items() if key in recorded and key not in TIMES}
        assert told == {key: recorded[key] for key in told}
        assert "loss_itc" in told


def test_weights_equal_those_of_the_trial(finished: runs.Finished, worked: Path) -> None:
    here = torch.load(worked / "checkpoint.pt", weights_only=False)
    there = torch.load(
        finished.folder / "checkpoints" / finished_id(finished) / "checkpoint.pt", weights_only=False
    )
    assert here["trainer"]["step"].keys() == there["trainer"]["step"].keys()
    for name, tensor in here["trainer"]["step"].items():
        assert torch.equal(tensor, there["trainer"]["step"][name]), name


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "Give the candidate.json"), ("{", "no JSON"), ("[]", "got a list"), ("{}", "missing fields")],
)
def test_a_file_that_is_no_candidate_is_told(
    content: str | None, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from trainables.worker import main

    file = tmp_path / "candidate.json"
    if content is not None:
        file.write_text(content)
    assert main([str(file), "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert words in told
    assert not (tmp_path / "out").exists()
