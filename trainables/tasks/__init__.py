"""What is measured on a held-out split, in percent. A metric is a function (Predictions) -> {name: value}."""

from trainables.metrics.caption import caption_metrics
from trainables.metrics.retrieval import retrieval_metrics
from trainables.metrics.vqa import vqa_metrics

METRICS = {
    "caption": caption_metrics,
    "retrieval": retrieval_metrics,
    "vqa": vqa_metrics,
}
