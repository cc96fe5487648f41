"""What student and teacher must have in common before their outputs may be compared."""

from torch import Tensor

from spaces.errors import ShapeError
from trainables.models.config import BlipConfig
from trainables.outputs import Want


def require_same_shape(name: str | Want, student: Tensor, teacher: Tensor) -> None:
    """Accept two tensors of one shape: broadcasting would hide a mistake.

    Raises:
        ShapeError: the shapes differ.
    """
    if student.shape != teacher.shape:
        raise ShapeError(
            f"{name}: student gives {tuple(student.shape)}, teacher {tuple(teacher.shape)}; both must agree. "
            "Give both models the same images, captions and padding."
        )


def require_one_vocabulary(student: BlipConfig, teacher: BlipConfig) -> None:
    """Accept a student that has its teacher's vocabulary: a divergence over two means nothing.

    Raises:
        ShapeError: size or special tokens differ.
    """
    if student.vocabulary != teacher.vocabulary:
        raise ShapeError(
            f"vocabulary: the student has {student.vocabulary}, the teacher {teacher.vocabulary}; both must "
            "agree. Build the student with its teacher's tokenizer."
        )


def require_one_patch_grid(student: BlipConfig, teacher: BlipConfig) -> None:
    """Accept a student that cuts the image as its teacher does, so that tokens show the same places.

    Raises:
        ShapeError: the numbers of image tokens differ.
    """
    if student.image_tokens != teacher.image_tokens:
        raise ShapeError(
            f"image tokens: the student has {student.image_tokens}, the teacher {teacher.image_tokens}; "
            "both must agree. Use the teacher's image and patch size, or compare embeddings instead."
        )
