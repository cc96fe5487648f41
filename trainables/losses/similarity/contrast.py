"""Image-text similarities over the batch of all workers, shared by `itc` and `itc_logit`."""

from torch import Tensor

from trainables.losses.reduction import gather_rows
from trainables.signals import Signals, Want

IMAGE, TEXT = Want("image", "embedding"), Want("text", "embedding")
TEMPERATURE = Want("contrast", "temperature")
CONTRAST = frozenset({IMAGE, TEXT, TEMPERATURE})


def similarities(signals: Signals) -> Tensor:
    """Return (B, B) cosines of every image (rows) with every text (columns) over the model's own temperature.

    B counts the rows of all workers; embeddings are (B, E) of unit norm.

    Raises:
        ValueError: the model did not fill them.
    """
    image_BE, text_BE = gather_rows(signals[IMAGE].float(), signals[TEXT].float())
    return image_BE @ text_BE.T / signals[TEMPERATURE].float()
