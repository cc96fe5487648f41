"""Small architectures and what they serve, for the tests of costs."""

from collections.abc import Iterable

from trainables.costs.subject import Subject
from trainables.families.base import Blueprint
from trainables.families.blip.architecture import BlipArchitecture, EncoderConfig
from trainables.tasks.base import servings_of, wants_of
from trainables.tasks.evaluation import make_tasks
from trainables.tokenizer import VocabularyConfig

SMALL = BlipArchitecture(
    image=EncoderConfig(width=32, depth=1, heads=2),
    text=EncoderConfig(width=32, depth=2, heads=2),
    fusion=(1,),
    embedding=16,
    image_size=32,
    patch_size=16,
    max_tokens=8,
    vocabulary=VocabularyConfig(size=30, pad=0, cls=2, sep=3, dec=4, enc=5),
)
ALL = ("retrieval", "matching", "captioning", "vqa")


def subject_of(architecture: BlipArchitecture, *tasks: str, tokenizer_bytes: int = 0) -> Subject:
    """Return what is deployed of a model for tasks, and the passes that serve them."""
    made = make_tasks({name: {} for name in tasks}).values()
    deployed = Blueprint("blip", architecture).deployed(wants_of(made))
    servings = servings_of(made, deployed.offers)
    return Subject(blueprint=deployed, servings=servings, tokenizer_bytes=tokenizer_bytes)


def passes(subject: Subject) -> Iterable[tuple[str, int, int]]:
    """Return mode, length of text and repeats of each pass."""
    return [(one.mode, one.tokens, one.repeats) for one in subject.servings]
