"""What student and source must have in common before their signals may be compared."""

from torch import Tensor

from spaces.errors import ShapeError
from trainables.losses.base import Ends
from trainables.signals import Want


def require_same_shape(name: str | Want, student: Tensor, source: Tensor) -> None:
    """Accept two tensors of one shape: broadcasting would hide a mistake.

    Raises:
        ShapeError: the shapes differ.
    """
    if student.shape != source.shape:
        raise ShapeError(
            f"{name}: student gives {tuple(student.shape)}, teacher {tuple(source.shape)}; both must agree. "
            "Give both models the same images, captions and padding."
        )


def other_meaning(want: Want, ends: Ends) -> str | None:
    """Return how the entries of logits stand for something else in the teacher, or None: a divergence means nothing then."""
    mine, theirs = ends.student[want], ends.source[want]
    if (mine.meaning, mine.sizes[-1]) == (theirs.meaning, theirs.sizes[-1]):
        return None
    return (
        f"compares {want}: the student's {mine.sizes[-1]} stand for {mine.meaning or 'nothing told'}, the teacher's "
        f"{theirs.sizes[-1]} for {theirs.meaning or 'nothing told'}; left out for it."
    )


def require_one_meaning(want: Want, ends: Ends) -> None:
    """Accept logits over the same vocabulary or classes: a divergence over two means nothing.

    Raises:
        ShapeError: size or meaning of the entries differ.
    """
    mine, theirs = ends.student[want], ends.source[want]
    if other_meaning(want, ends):
        raise ShapeError(
            f"losses.{ends.name}: {want} stands for {mine.meaning} in the student, {theirs.meaning} in the teacher; both "
            "must agree. Build the student with its teacher's tokenizer and classes."
        )


def require_one_grid(student: Want, source: Want, ends: Ends) -> None:
    """Accept image tokens that show the same places in both models.

    Raises:
        ShapeError: the numbers of image tokens differ.
    """
    mine, theirs = ends.student[student], ends.source[source]
    if "P" in mine.axes and "P" in theirs.axes and mine.size("P") != theirs.size("P"):
        raise ShapeError(
            f"losses.{ends.name}: {student} has {mine.size('P')} image tokens, the teacher's {theirs.size('P')}; both must "
            "agree. Use the teacher's image and patch size, or compare embeddings instead."
        )
