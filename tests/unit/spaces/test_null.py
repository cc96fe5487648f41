"""A key without a value: as if it were not there where it is optional, told where it is needed."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from search.inputs.plugin_checks import check_plugins
from spaces.errors import SpaceError
from spaces.load import load_space

WHOLE: dict[str, Any] = {
    "name": "small",
    "teacher": "embedded",
    "dataset": {"kind": "scenes"},
    "student": {
        "kind": "blip",
        "image": {"width": {"choice": [32, 64]}, "depth": {"int": [1, 3], "default": 2}},
        "text": {"width": 64, "depth": 3, "heads": 2},
        "fusion": {"layers": 2},
    },
    "tasks": {"retrieval": {}, "vqa": {}},
    "allow_partial": True,
    "losses": {"itc": {"weight": 1}, "lm": {"weight": {"log": [1, 2], "zero": 0.5, "default": 1.5}}},
    "training": {
        "epochs": 9, "pairs_per_epoch": 2000, "batch_size": 64, "lr": 1e-3, "weight_decay": 0.5, "warmup_steps": 7,
        "gradient_clip": 3, "accumulate": 2, "itm_negatives": "student", "fused_every": 2, "fused_from": 0.5,
    },
    "objectives": {"retention": "max", "params": "min"},
    "limits": {"params": {"min": 1, "max": "0.5x"}, "flops": {"max": 1}},
    "search": {
        "searcher": {"kind": "random"}, "scheduler": {"kind": "moasha"}, "trials": 8, "seed": 3,
        "start": [{"student.image.width": 32, "losses.lm.weight": 0}],
        "stop": {"wall_hours": 1, "device_hours": 2, "plateau": {"trials": 5, "gain_percent": 2}},
    },
    "evaluation": {"images": 10, "captions_per_image": 3, "questions_per_image": 5},
    "resources": {"workers_per_trial": 2, "cpus_per_worker": 2, "gpus_per_worker": 1, "compiled": True},
    "teacher_cache": {"kind": "live", "precision": "float32"},
    "checkpoints": {"every_epoch": True, "keep_best": False, "keep": "fronts"},
    "latency": {"device": "cpu", "runtime": "compiled", "dtype": "bfloat16", "batch": 8, "threads": 4, "samples": 50},
}  # fmt: skip
OPTIONAL = [
    "tasks", "tasks.vqa", "allow_partial", "training.weight_decay", "training.warmup_steps", "training.gradient_clip",
    "training.accumulate", "training.itm_negatives", "training.fused_every", "training.fused_from", "limits", "limits.params",
    "limits.flops", "limits.params.min", "limits.params.max", "search.seed", "search.start", "search.stop",
    "search.stop.wall_hours", "search.stop.device_hours", "search.stop.plateau", "search.stop.plateau.trials",
    "search.stop.plateau.gain_percent", "evaluation", "evaluation.images", "evaluation.captions_per_image",
    "evaluation.questions_per_image", "resources", "resources.workers_per_trial", "resources.cpus_per_worker",
    "resources.gpus_per_worker", "resources.compiled",
    "teacher_cache", "teacher_cache.kind", "teacher_cache.precision", "student.text.heads",
    "checkpoints", "checkpoints.every_epoch", "checkpoints.keep_best", "checkpoints.keep", "latency", "latency.device",
    "latency.runtime", "latency.dtype", "latency.batch", "latency.threads", "latency.samples",
    "losses.lm.weight.default", "student.image.depth.default",
]  # fmt: skip
NEEDED = [
    "name", "teacher", "dataset", "dataset.kind", "student", "student.kind", "student.image", "student.text.width",
    "student.fusion", "losses", "losses.itc", "losses.itc.weight", "training", "training.epochs", "training.lr",
    "objectives", "objectives.retention", "search", "search.searcher", "search.searcher.kind", "search.scheduler",
    "search.trials", "student.image.width.choice",
]  # fmt: skip


def changed(path: str, *, drop: bool) -> str:
    """Return the space with one key null, or without it."""
    tree = yaml.safe_load(yaml.safe_dump(WHOLE))
    if path.startswith(("student.image", "losses.lm")):  # which start points name, or take the default of
        tree["search"]["start"] = []
    *above, last = path.split(".")
    here = tree
    for part in above:
        here = here[part]
    if drop:
        del here[last]
    else:
        here[last] = None
    return yaml.safe_dump(tree, sort_keys=False)


@pytest.mark.parametrize("path", [path for path in OPTIONAL if path != "tasks.vqa"])
def test_an_optional_key_that_is_null_is_as_if_it_were_not_there(tmp_path: Path, path: str) -> None:
    spaces = []
    for drop in (False, True):
        file = tmp_path / "space.yaml"
        file.write_text(changed(path, drop=drop))
        spaces.append(load_space(file))
        check_plugins(spaces[-1])
    null, without = (space.resolved() for space in spaces)
    if path == "student.text.heads":  # an option of a plug-in, where null is a value of its own
        assert null["student"]["text"].pop("heads") is None
    assert null == without


def test_a_task_that_is_null_has_no_options(tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    file.write_text(changed("tasks.vqa", drop=False))
    assert load_space(file).tasks == {"retrieval": {}, "vqa": {}}


@pytest.mark.parametrize("path", NEEDED)
def test_a_needed_key_that_is_null_is_told(tmp_path: Path, path: str) -> None:
    file = tmp_path / "space.yaml"
    file.write_text(changed(path, drop=False))
    with pytest.raises(SpaceError) as caught:
        check_plugins(load_space(file))
    told = [one for one in caught.value.problems if f", {path}: got null; allowed: " in one]
    assert len(told) == 1
    assert told[0].startswith(f"{file}:")
    assert not any("None" in one for one in caught.value.problems)
