"""What a plan says of the training: each fixed option by name, none that is searched."""

from pathlib import Path

import pytest

from search.reporting.recipe import recipe_lines
from spaces.load import load_space
from tests.unit.search.earlier_run import SPACE, prepare

SHORT = "training.warmup_steps=2"


def test_fixed_options_of_training_are_told_and_searched_ones_are_dimensions(tmp_path: Path) -> None:
    changes = ("training.lr={log: [1e-4, 1e-2], default: 1e-3}", SHORT)
    (line,) = recipe_lines(prepare(tmp_path, *changes).space)
    assert line.startswith("training: batch_size ")
    told = {part.rpartition(" ")[0]: part.rpartition(" ")[2] for part in line.partition(": ")[2].split(", ")}
    assert (told["negatives"], told["temperature_floor"], told["itm_negatives"]) == (
        "rank",
        "0.01",
        "teacher",
    )
    assert not {"lr", "epochs", "pairs_per_epoch"} & set(told)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (("training.warmup_steps=15",), ""),
        (("training.warmup_steps=16",), "got 16, of 32 updates of a whole training"),
        (("training.warmup_steps=8", "training.accumulate=2"), "got 8, of 16 updates"),
        (("training.warmup_steps={int: [15, 40]}",), ""),
        (("training.warmup_steps={int: [20, 40], zero: 0.5}",), ""),
        (("training.warmup_steps={int: [20, 40]}",), "got 20, of 32 updates"),
        (("training.warmup_steps=16", "training.batch_size={choice: [32, 64]}"), ""),
        (("training.warmup_steps=16", "training.batch_size={choice: [64, 128]}"), "got 16, of 32 updates"),
    ],
)
def test_a_warm_up_of_half_the_training_or_more_is_told(
    tmp_path: Path, changes: tuple[str, ...], told: str
) -> None:
    small = ("training.epochs=4", "training.pairs_per_epoch=500", "training.batch_size=64")
    lines = [
        line
        for line in recipe_lines(prepare(tmp_path, *small, *changes).space)
        if "WARNING: training." in line
    ]
    assert len(lines) == bool(told)
    assert all(told in line for line in lines)


def test_a_twin_is_told_with_its_options(tmp_path: Path) -> None:
    twin = "losses.itc={weight: 1, taught_by: twin, queue: 256, decay: 0.995, soft_targets: 0.4}"
    lines = recipe_lines(prepare(tmp_path, twin, "training.negatives=workers", SHORT).space)
    assert "negatives workers" in lines[0]
    assert lines[1].startswith("loss itc is taught by a momentum twin of the student")
    told = lines[1].rpartition("(")[2].removesuffix(")").split(", ")
    assert {"queue 256", "decay 0.995", "soft_targets 0.4", "ramp_epochs 0", "same_image positive"} == set(
        told
    )


ITM = "losses.itm={weight: {log: [0.1, 1], zero: 0.5}}"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ((ITM,), "hard negatives (training.negatives: rank) are of the 16/2 pairs"),
        (
            (ITM, "training.batch_size={choice: [16, 32], default: 16}"),
            "are of the training.batch_size/2 pairs",
        ),
        ((ITM, "training.negatives=workers"), ""),
        ((ITM, "training.negatives={choice: [rank, workers], default: workers}"), "hard negatives"),
        (("losses.itm={weight: 0}",), ""),
        ((), ""),
        (
            ("baselines={thin: {kind: resnet, depth: 18, width: 0.125}}",),
            "batch norms (students of kind resnet) are of",
        ),
        (
            (ITM, "student={kind: timm, name: resnet18}"),
            "rank) and batch norms (students of kind timm) are of",
        ),
    ],
)
def test_what_each_worker_does_with_its_own_pairs_is_told(
    tmp_path: Path, changes: tuple[str, ...], told: str
) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(SPACE)
    alone = recipe_lines(load_space(file, (SHORT, *changes)))
    lines = recipe_lines(load_space(file, (SHORT, *changes, "resources.workers_per_trial=2")))
    more = [line for line in lines if line not in alone]
    assert len(more) == bool(told)
    assert all(told in line and line.endswith("of each worker, not of the whole batch") for line in more)
