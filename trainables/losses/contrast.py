"""Image-text similarities over the batch of all workers, shared by `itc` and `itc_logit`."""

from torch import Tensor

from trainables.losses.base import filled
from trainables.outputs import Outputs, Want

EMBEDDINGS = frozenset({Want("image", "embedding"), Want("text", "embedding")})


def unit_embeddings(outputs: Outputs) -> tuple[Tensor, Tensor]:
    """Return image and text embedding, both (B, E) float32.

    Raises:
        ValueError: the model did not fill them.
    """
    image, text = filled(outputs.image, "image"), filled(outputs.text, "text")
    return (
        filled(image.embedding_BE, Want("image", "embedding")).float(),
        filled(text.embedding_BE, Want("text", "embedding")).float(),
    )


def similarities(image_BE: Tensor, text_BE: Tensor, *, temperature: Tensor | None) -> Tensor:
    """Return (B, B) cosines of every image (rows) with every text (columns) over the model's own temperature.

    Raises:
        ValueError: the model did not give its temperature.
    """
    return image_BE @ text_BE.T / filled(temperature, "temperature").float()
