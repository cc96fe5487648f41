"""Share of questions answered exactly."""

from trainables.metrics.predictions import Predictions


def vqa_metrics(predictions: Predictions) -> dict[str, float]:
    """Return `vqa_accuracy` in percent: greedy decoding gives the reference answer and ends there.

    One reference per question; the ten-annotator rule of VQAv2 is another metric. Empty where nothing could
    be asked.
    """
    if predictions.answers is None or predictions.answers_right is None:
        return {}
    return {"vqa_accuracy": 100.0 * predictions.answers_right / predictions.answers}
