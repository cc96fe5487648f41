"""A text side that begins with an encoder of the BERT kind: what fits, and where it goes."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from spaces.errors import PluginError
from spaces.rules import show
from trainables.families.blip.architecture import BlipArchitecture
from trainables.families.origin import Published
from trainables.layers import evenly_spaced

KINDS = {"bert": False, "roberta": True, "xlm-roberta": True, "camembert": True}
"""Kinds of models, and whether their positions are counted from the row behind that of padding."""
BEFORE = ("module.", "bert.", "roberta.")
WORDS, PLACES, TYPES = (f"embeddings.{name}_embeddings.weight" for name in ("word", "position", "token_type"))
NORM = "embeddings.LayerNorm"
LAYER = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "output": "attention.output.dense",
    "norm": "attention.output.LayerNorm",
}
"""Part of our self-attention -> theirs."""
FEED_FORWARD = {"intermediate": "intermediate.dense", "output": "output.dense", "norm": "output.LayerNorm"}
HEAD = {
    "head_transform": "cls.predictions.transform.dense",
    "head_norm": "cls.predictions.transform.LayerNorm",
}
BEGINNINGS = (
    "",
    "\u0120",
    "\u2581",
)  # of a token: byte-pair and unigram tokenizers mark those that begin a word
FEWEST = 0.5  # of the teacher's tokens: with less in common, most words would begin at random


def bare_names(names: Iterable[str]) -> dict[str, str]:
    """Return the name that the bare encoder has for each weight -> the published one."""
    found = {}
    for name in names:
        bare = name
        for prefix in BEFORE:
            bare = bare.removeprefix(prefix)
        bare = bare.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
        found[bare] = name
    return found


def common_tokens(tokens: Sequence[str], vocabulary: Mapping[str, int]) -> dict[int, int]:
    """Return id in the teacher's tokenizer -> id in the other one, of tokens that both have.

    Where the other one marks what begins a word and the teacher's does not, the bare token is what stands inside of words.
    """
    found, marks = {}, any(token.startswith(BEGINNINGS[1:]) for token in tokens)
    order = BEGINNINGS if marks else (*BEGINNINGS[1:], BEGINNINGS[0])
    for number, token in enumerate(tokens):
        theirs = next((vocabulary[one + token] for one in order if one + token in vocabulary), None)
        if token and theirs is not None:
            found[number] = theirs
    return found


def require_text(published: Published, a: BlipArchitecture, tokens: Sequence[str]) -> None:
    """Accept an encoder of the student's width, heads and feed-forward part, as deep as it or deeper, that knows its words.

    Raises:
        PluginError: anything else; says what was found and what is needed.
    """
    config, names = published.config, bare_names(published.shapes)
    if config.get("model_type") not in KINDS:
        raise _refused(
            published,
            f"which config.json calls {show(config.get('model_type'))}; allowed: {', '.join(KINDS)}",
            "Take such a folder",
        )
    pad = config.get("pad_token_id", 1)
    if KINDS[config["model_type"]] and (isinstance(pad, bool) or not isinstance(pad, int) or pad < 0):
        raise _refused(
            published,
            f"with pad_token_id {show(pad)}; allowed: a row of its table of positions, the first of which follows it",
            "Mend its config.json",
        )
    kinds = {"hidden_act": "gelu", "position_embedding_type": "absolute"}
    if other := [one for one, what in kinds.items() if config.get(one, what) != what]:
        raise _refused(
            published,
            f"with {other[0]} {show(config[other[0]])}; allowed: {kinds[other[0]]}",
            "Take another encoder",
        )
    theirs = ("hidden_size", "num_attention_heads", "intermediate_size", "num_hidden_layers")
    told = ("width", "heads", "feed-forward", "layers")
    mine = (a.text.width, a.text.heads, int(a.text.width * a.text.mlp_ratio), a.text.depth)
    found = [config.get(name) for name in theirs]
    deep = isinstance(found[3], int) and found[3] >= mine[3]
    if tuple(found[:3]) != mine[:3] or not deep:
        has, asks = (
            ", ".join(f"{name} {value}" for name, value in zip(told, values, strict=True))
            for values in (found, mine)
        )
        raise _refused(
            published,
            f"where {has} are found; needed are {asks} or more",
            "Change student.text, or take other weights",
        )
    if lacking := [name for name in _needed(int(str(found[3]))) if name not in names]:
        raise _refused(published, f"which lacks {', '.join(lacking[:3])}", "Take a whole encoder")
    _require_words(published, a, tokens)


def _require_words(published: Published, a: BlipArchitecture, tokens: Sequence[str]) -> None:
    vocabulary, v = published.vocabulary(), a.vocabulary
    special = {v.pad, v.cls, v.sep, v.dec, v.enc}
    words = [number for number, token in enumerate(tokens) if token and number not in special]
    known = common_tokens(tokens, vocabulary)
    shared = sum(number in known for number in words)
    if not words or shared < FEWEST * len(words):
        raise _refused(
            published,
            f"whose tokenizer has {shared} of the {len(words)} tokens of the teacher's in common; needed is half of them",
            "Take an encoder that reads such words",
        )


def _first(config: Mapping[str, Any]) -> int:
    """Return the row of the table of positions that the first token has."""
    return int(config.get("pad_token_id", 1)) + 1 if KINDS[config["model_type"]] else 0


def _needed(depth: int) -> list[str]:
    """Return the names of the weights that the encoder has."""
    parts = [*LAYER.values(), *FEED_FORWARD.values()]
    linear = [f"encoder.layer.{index}.{part}" for index in range(depth) for part in parts]
    return [WORDS, PLACES, *(f"{one}.{kind}" for one in (NORM, *linear) for kind in ("weight", "bias"))]


@torch.no_grad()
def load_text(student: Any, published: Published, tokens: Sequence[str]) -> tuple[str, ...]:
    """Overwrite the student's text network; return what its user should know, a sentence each.

    The decoder's self-attention begins as the encoder's does (Li et al. 2022, as coded); cross-attention stays fresh. The row of
    the first token type, which every text has, is added to the positions.

    Raises:
        PluginError: it does not fit.
    """
    a, network = student.architecture, student.text_network
    require_text(published, a, tokens)
    weights = published.weights()
    names, used = bare_names(weights), set[str]()

    def take(name: str) -> Tensor:
        used.add(names[name])
        return weights[names[name]]

    known = common_tokens(tokens, published.vocabulary())
    notes = [_load_tables(network, take, known, first=_first(published.config), has=set(names))]
    depth = int(published.config["num_hidden_layers"])
    layers = evenly_spaced(len(network.layers), depth)
    for layer, origin in zip(network.layers, layers, strict=True):
        for attention in (layer.attention, layer.decoder_attention):
            if attention is not None:
                _load_parts(attention, LAYER, f"encoder.layer.{origin}.", take)
        _load_parts(layer, FEED_FORWARD, f"encoder.layer.{origin}.", take)
    if network.has_decoder and all(f"{one}.weight" in names for one in HEAD.values()):
        _load_parts(network, HEAD, "", take)
    eps = published.config.get("layer_norm_eps", a.text_norm_eps)
    if eps != a.text_norm_eps:
        notes.append(f"text side: its norms add {a.text_norm_eps:g}, those of the weights {eps:g}")
    left = sorted(set(weights) - used)
    told = f"text side: begins with layers {', '.join(map(str, layers))} of {depth} of {published.place}"
    return (told + (f"; not loaded: {', '.join(left)}" if left else ""), *notes)


def _load_parts(target: Any, parts: Mapping[str, str], before: str, take: Any) -> None:
    for mine, theirs in parts.items():
        module = getattr(target, mine)
        for kind in ("weight", "bias"):
            getattr(module, kind).copy_(take(f"{before}{theirs}.{kind}"))


def _load_tables(network: Any, take: Any, known: Mapping[int, int], *, first: int, has: set[str]) -> str:
    """Overwrite words, positions and their norm; return what is told of them."""
    mine, theirs = (torch.tensor(one) for one in (list(known), list(known.values())))
    network.words.weight[mine.to(network.words.weight.device)] = take(WORDS)[theirs].to(network.words.weight)
    places = take(PLACES)[first:]
    if TYPES in has:
        places = places + take(TYPES)[0]
    rows = min(len(places), len(network.positions.weight))
    network.positions.weight[:rows] = places[:rows].to(network.positions.weight)
    _load_parts(network, {"norm": NORM}, "", take)
    fresh = len(network.words.weight) - len(known)
    return (
        f"text side: {len(known)} of {len(network.words.weight)} tokens are in common, {fresh} begin fresh; {rows} of "
        f"{len(network.positions.weight)} positions are loaded"
    )


def _refused(published: Published, why: str, what: str) -> PluginError:
    return PluginError(f"student.text.weights: got {published.place}, {why}. {what}.")
