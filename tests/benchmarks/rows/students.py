"""Students of the default space that rows are measured with."""

import sys

import torch

from search.inputs.inputs import Inputs
from spaces.candidate import Candidate
from spaces.load import load_space
from tests.benchmarks.rows.row import SPACE

WIDTHS = ("0.25x", "0.5x", "0.75x")
FEW_PICTURES = [
    "dataset.train_images=1024",
    "dataset.val_images=200",
    "dataset.test_images=200",
    "evaluation.images=200",
]


def prepared(*changes: str) -> Inputs:
    """Return the inputs of the default space, changed; measuring is on one thread, as in a trial."""
    torch.set_num_threads(1)
    return Inputs(load_space(SPACE, list(changes)), say=lambda text: print(text, file=sys.stderr))


def student_of_width(inputs: Inputs, width: str) -> Candidate:
    """Return the default student, with this width on both sides."""
    values = inputs.space.default_values()
    assert values is not None
    changed = {path: width if path.endswith(".width") else value for path, value in values.items()}
    assert changed != values or width == "0.5x"
    return inputs.feedable_part(inputs.space.build(changed, inputs.students, 0))
