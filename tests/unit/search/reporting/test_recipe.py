"""What a plan says of the training: each fixed option by name, none that is searched."""

from pathlib import Path

from search.reporting.recipe import recipe_lines
from tests.unit.search.earlier_run import prepare


def test_fixed_options_of_training_are_told_and_searched_ones_are_dimensions(tmp_path: Path) -> None:
    (line,) = recipe_lines(prepare(tmp_path, "training.lr={log: [1e-4, 1e-2], default: 1e-3}").space)
    assert line.startswith("training: batch_size ")
    told = {part.rpartition(" ")[0]: part.rpartition(" ")[2] for part in line.partition(": ")[2].split(", ")}
    assert (told["negatives"], told["temperature_floor"], told["itm_negatives"]) == (
        "rank",
        "0.01",
        "teacher",
    )
    assert not {"lr", "epochs", "pairs_per_epoch"} & set(told)


def test_a_twin_is_told_with_its_options(tmp_path: Path) -> None:
    twin = "losses.itc={weight: 1, taught_by: twin, queue: 256, decay: 0.995, soft_targets: 0.4}"
    lines = recipe_lines(prepare(tmp_path, twin, "training.negatives=workers").space)
    assert "negatives workers" in lines[0]
    assert lines[1].startswith("loss itc is taught by a momentum twin of the student")
    told = lines[1].rpartition("(")[2].removesuffix(")").split(", ")
    assert {"queue 256", "decay 0.995", "soft_targets 0.4", "ramp_epochs 0", "same_image positive"} == set(
        told
    )
