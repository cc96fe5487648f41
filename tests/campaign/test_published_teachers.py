"""The default space with small folders of BLIP's classes, alone and together: the whole path, and a resume."""

from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer

from tests.e2e import runs
from tests.house.tree import ROOT
from tests.unit.search.inputs.test_published_teachers import KINDS, root

__all__ = ["root"]
SAID = {
    "captioning": "a red circle",
    "vqa": "red",
}  # a decoder that is never right has nothing to teach, and is refused


@pytest.mark.parametrize("teacher", [*KINDS, "together"])
def test_the_default_space_is_searched(root: Path, tmp_path: Path, teacher: str) -> None:
    for task, text in SAID.items():
        _say_one_thing(root / task, KINDS[task], text)
    every = ",".join(f"{task}={root / task}" for task in KINDS)
    name = every if teacher == "together" else str(root / teacher)
    arguments = [runs.script("search/run.py"), "--space", str(ROOT / "spaces/dlip.yaml"), "--teacher", name]
    arguments += ["--dataset", f"jsonl:{root / 'pairs.jsonl'}", "--out", str(tmp_path / "run"), "--smoke"]
    code, text = runs.run(arguments, folder=tmp_path, env=runs.environment())
    assert code == 0, text
    rows = runs.trial_rows(tmp_path / "run").values()
    assert any(row["status"] == "finished" for row in rows)
    resume = [runs.script("search/run.py"), "--resume", str(tmp_path / "run")]
    code, text = runs.run(resume, folder=tmp_path, env=runs.environment())
    assert code == 0, text


def _say_one_thing(folder: Path, kind: type, text: str) -> None:
    """Train a decoder to say one text whatever it sees."""
    model, words = kind.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)  # type: ignore[attr-defined]
    said = words([text], return_tensors="pt").input_ids
    said[:, 0] = model.config.text_config.bos_token_id
    seen = torch.randn(1, 5, model.config.vision_config.hidden_size)
    optimiser = torch.optim.Adam(model.text_decoder.parameters(), lr=1e-2)
    for _ in range(60):
        optimiser.zero_grad()
        model.text_decoder(input_ids=said, encoder_hidden_states=seen, labels=said).loss.backward()
        optimiser.step()
    model.save_pretrained(folder)
