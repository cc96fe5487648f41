"""Train a teacher on a user's pairs: the sizes and losses of the embedded one, and a tokenizer of the words that the data has.

    python -m trainables.teachers.pretrain --dataset jsonl:FILE --out DIR

The embedded teacher knows the words of its scenes alone; data in other words needs a teacher that can read them, and where no
published one is at hand, this is it. It is far from what a large one would be; it lets a search be tried on own data as a whole.
"""

import argparse
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spaces.console import command
from spaces.errors import DatasetError
from spaces.files import make_folder
from trainables.datasets import DATASETS, place_option
from trainables.datasets.base import Dataset, Split
from trainables.datasets.encoded import EncodedSplit
from trainables.families.blip.architecture import BlipArchitecture, EncoderConfig, merged_layers
from trainables.families.blip.model import Blip
from trainables.model_folder import Reading, write_model_folder
from trainables.preprocess import PreprocessConfig
from trainables.signals import CAPTION, QUESTION, STATEMENT
from trainables.tasks import DEFAULT
from trainables.tasks.base import Task
from trainables.tasks.evaluation import evaluate, make_tasks
from trainables.tasks.pool import EvaluationSize
from trainables.teachers.blip.pretrain import LOSSES, say_metrics, train_epochs, untaught
from trainables.teachers.loading import LARGEST_UNKNOWN_SHARE, unread
from trainables.teachers.pretraining import run, say
from trainables.tokenizer import Tokenizer, word_divider, write_word_tokenizer
from trainables.training.build import make_dataset
from trainables.training.config import TrainingConfig

PROGRAM = "python -m trainables.teachers.pretrain"
EPOCHS, CHECK_EVERY = 38, 5
WORDS = 8000  # of the data, the commonest; the others are unknown to the teacher
LONGEST_WORD = 100  # letters, beyond which WordPiece gives up
PATCH = 16
FEWEST_TOKENS, MOST_TOKENS = 8, 64
NLVR2 = "nlvr2"
READ = {"itc": CAPTION, "itm": CAPTION, "lm": CAPTION, "vqa": QUESTION, NLVR2: STATEMENT}
"""Loss -> the kind of text that it learns from."""
SPECIAL = 2  # tokens that frame a text
FITTING = 0.99  # share of the texts that are to fit whole


_divider = cache(partial(word_divider, marks=True))


def words_of(texts: Iterable[str]) -> Counter[str]:
    """Return how often each word stands in texts, as the tokenizer divides them: lower case, signs apart."""
    divider = _divider()
    found: Counter[str] = Counter()
    for text in texts:
        plain = divider.normalizer.normalize_str(text)
        found.update(word for word, _ in divider.pre_tokenizer.pre_tokenize_str(plain))
    return found


def vocabulary_of(split: Split, most: int) -> tuple[str, ...]:
    """Return the commonest words of the texts to train on, and tell which share of all words they are.

    Raises:
        DatasetError: there are no words.
    """
    counts = words_of([*split.captions, *split.questions, *split.answers, *split.statements.texts])
    usable = {word: count for word, count in counts.items() if len(word) <= LONGEST_WORD}
    if not usable:
        raise DatasetError("--dataset: its texts hold no word. Give captions with words.")
    kept = sorted(usable, key=lambda word: (-usable[word], word))[:most]
    share = sum(usable[word] for word in kept) / counts.total()
    say(f"vocabulary: {len(kept):,} of {len(counts):,} words, which are {share:.1%} of all that are read")
    return tuple(kept)


def _tokens(split: Split) -> int:
    """Return how many tokens a text may have: 99 of 100 of the data fit whole."""
    lengths = [sum(words_of([text]).values()) for text in (*split.captions, *split.statements.texts)]
    pairs = zip(split.questions, split.answers, strict=True)
    lengths += [sum(words_of([question, answer]).values()) for question, answer in pairs]
    wanted = int(np.quantile(lengths, FITTING, method="higher")) + SPECIAL
    return min(MOST_TOKENS, max(FEWEST_TOKENS, wanted))


def teacher_config(folder: Path, split: Split, *, image_size: int, words: int) -> BlipArchitecture:
    """Return the sizes of the teacher, and write its tokenizer into `folder`."""
    make_folder(folder)
    max_tokens = _tokens(split)
    return BlipArchitecture(
        image=EncoderConfig(width=128, depth=6, heads=4),
        text=EncoderConfig(width=128, depth=6, heads=4),
        fusion=tuple(range(6)),
        embedding=64,
        image_size=image_size,
        patch_size=PATCH,
        max_tokens=max_tokens,
        vocabulary=write_word_tokenizer(folder, vocabulary_of(split, words), max_tokens, marks=True),
    )


def _tasks(model: Blip, split: EncodedSplit) -> list[Task]:
    """Return the usual tasks, and that of statements, which model and data can do."""
    made = make_tasks({name: {} for name in (*DEFAULT, NLVR2)}).values()
    offers = Blip.offers(model.architecture)
    return [task for task in made if not task.model_lack(offers) and not task.data_lack(split.fields)]


def opened(named: str, broken: str | None = None) -> Dataset:
    """Return the data set that `KIND:PLACE` names.

    Args:
        named: kind and place.
        broken: what becomes of pictures that cannot be read, where its kind can leave them out.

    Raises:
        DatasetError: no such kind, no place, data that cannot be used, or data without captions and statements.
    """
    kind, _, place = named.partition(":")
    if not place or kind not in DATASETS:
        raise DatasetError(
            f"--dataset: got {named!r}; allowed: KIND:PLACE, such as jsonl:pairs.jsonl; kinds: {', '.join(DATASETS)}. Give one."
        )
    data = make_dataset({"kind": kind, place_option(kind): place, **({"broken": broken} if broken else {})})
    if not {CAPTION, STATEMENT} & data.kinds:
        raise DatasetError(
            f"--dataset {named}: has no captions, and no statements on two pictures, which a teacher of pictures and texts "
            "learns from. Give some."
        )
    return data


def pretrain(told: argparse.Namespace) -> dict[str, Any]:
    """Train the teacher, write its folder, and return its measured figures.

    Raises:
        DatasetError: what is wrong with the data, with the flags that this command has.
    """
    try:
        return _pretrained(told)
    except DatasetError as error:
        raise DatasetError(str(error).replace("--set dataset.broken=", "--broken ")) from error


def _pretrained(told: argparse.Namespace) -> dict[str, Any]:
    torch.manual_seed(told.seed)
    data, folder = opened(told.dataset, told.broken), told.out
    preprocess = PreprocessConfig(image_size=told.image_size)
    splits = {name: data.split(name, framing=preprocess.framing, progress=say) for name in data.split_names}
    for line in (data.describe(), *data.remarks()):
        say(line)
    sizes = teacher_config(folder, splits["train"], image_size=told.image_size, words=told.words)
    tokenizer = Tokenizer.from_folder(folder, sizes.vocabulary, sizes.max_tokens)
    _check_known(tokenizer, splits)
    encoded = {name: EncodedSplit(split, tokenizer, preprocess) for name, split in splits.items()}
    losses = {loss: LOSSES.get(loss, {}) for loss, kind in READ.items() if kind in data.kinds}
    if STATEMENT in data.kinds:
        sizes = replace(sizes, merged=merged_layers(sizes.text.depth, sizes.fusion))
    model = Blip(sizes)
    tasks = _tasks(model, encoded["val"])
    config = _training(told)

    def check(epoch: int) -> None:
        if (epoch + 1) % CHECK_EVERY == 0:
            say_metrics(evaluate(model, encoded["val"], tasks=tasks, size=EvaluationSize(images=500)))

    cpu_s = train_epochs(
        untaught(model, losses), encoded["train"], config=config, seed=told.seed, check=check
    )
    model.half().float()  # what is stored, and what is measured
    measured = {
        "data_specification": data.specification,
        "data": data.describe(),
        "data_fingerprint": data.fingerprint,
        "training": {**asdict(config), "seed": told.seed, "cpu_s": cpu_s},
        "metrics": _measured(model, encoded, tasks),
        "command": f"{PROGRAM} --dataset KIND:PLACE --out DIR",
    }
    write_model_folder(
        folder,
        model,
        kind="blip",
        reading=Reading(preprocess=preprocess, tokenizer=tokenizer, folder=folder),
        measured=measured,
        dtype=torch.float16,
    )
    return measured


def _check_known(tokenizer: Tokenizer, splits: Mapping[str, Split]) -> None:
    """Refuse a vocabulary with which every search would refuse the teacher: told now, and not after hours.

    Raises:
        DatasetError: names the split, and what of it is not known.
    """
    for name, split in splits.items():
        texts = {"captions": split.captions, "questions": split.questions, "answers": split.answers}
        texts["statements"] = split.statements.texts
        if told := unread(tokenizer, texts):
            raise DatasetError(
                f"--dataset: the vocabulary, {tokenizer.vocabulary.size:,} tokens of the texts to train on, does not know "
                f"{', and '.join(told)} of {name}; allowed: {LARGEST_UNKNOWN_SHARE:.0%}. Raise --words, or give more pairs to "
                "train on; a text without blanks between its words is one word here."
            )


def _measured(model: Blip, encoded: Mapping[str, EncodedSplit], tasks: Sequence[Task]) -> dict[str, Any]:
    """Return the metrics of each held-out split."""
    return {
        name: {
            key: round(value, 2)
            for key, value in evaluate(model, split, tasks=tasks, size=EvaluationSize()).items()
        }
        for name, split in encoded.items()
        if name != "train"
    }


def _training(told: argparse.Namespace) -> TrainingConfig:
    """Return how it is trained, which is how the embedded teacher was."""
    return TrainingConfig(
        epochs=told.epochs,
        pairs_per_epoch=told.pairs,
        lr=1.2e-3,
        warmup_steps=100,
        itm_negatives="student",
        fused_every=2,
        fused_from=0.35,
    )


def _least(low: int, step: int = 1) -> Any:
    """Return what reads a flag that is a number of at least `low`, in steps."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdecimal()) or len(text) > 9 or int(text) < low or int(text) % step:
            steps = f", a multiple of {step}" if step > 1 else ""
            raise argparse.ArgumentTypeError(f"got {text[:40]!r}; allowed: {low} or more{steps}. Change it.")
        return int(text)

    return read


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog=PROGRAM,
        description="Train a small teacher on pictures and captions of your own.",
    )
    parser.add_argument(
        "--dataset", required=True, metavar="KIND:PLACE", help="such as jsonl:FILE or prepared:DIR"
    )
    parser.add_argument(
        "--broken",
        choices=("refuse", "quarantine"),
        help="pictures that cannot be read end it, or are left out and listed (default refuse)",
    )
    parser.add_argument("--epochs", type=int, default=EPOCHS, help=f"of --pairs pairs (default {EPOCHS})")
    parser.add_argument("--pairs", type=_least(4), default=2000, help="of an epoch (default 2000)")
    parser.add_argument(
        "--image-size",
        type=_least(PATCH, PATCH),
        default=64,
        help=f"pixels, a multiple of {PATCH} (default 64)",
    )
    parser.add_argument(
        "--words", type=_least(1), default=WORDS, help=f"of the vocabulary, the commonest (default {WORDS})"
    )
    return run(parser, arguments, pretrain)
