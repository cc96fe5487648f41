"""Next-token accuracy of captions."""

from trainables.metrics.predictions import Predictions


def caption_metrics(predictions: Predictions) -> dict[str, float]:
    """Return `caption_token_accuracy` in percent, under teacher forcing, [SEP] included and padding not.

    Cheap and discriminative inside trials; beam search with CIDEr is for finalists. Empty without a decoder.
    """
    if predictions.tokens is None or predictions.tokens_right is None:
        return {}
    return {"caption_token_accuracy": 100.0 * predictions.tokens_right / predictions.tokens}
