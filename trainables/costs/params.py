"""Number of parameters."""

from trainables.costs.subject import Subject


def params(subject: Subject) -> int:
    """Return the raw number of parameters: embeddings once, the decoder where the model has one."""
    return sum(parameter.numel() for parameter in subject.model.parameters())
