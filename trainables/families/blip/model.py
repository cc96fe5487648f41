"""The model of teacher and student: BLIP's MED (Li et al. 2022), free in width, depth and fusion."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.families.base import Block, Family, Resolved, Sample, Surroundings
from trainables.families.blip.answers import Asked, answer_pass, answered
from trainables.families.blip.architecture import BlipArchitecture
from trainables.families.blip.asked import Texts, first_of, made_of, spread, texts_of, there
from trainables.families.blip.beginning import begin
from trainables.families.blip.blocks import BLOCKS, blocks, run_block
from trainables.families.blip.decoding import CachedDecoding, decoder_state
from trainables.families.blip.drafting import drafted
from trainables.families.blip.fresh import draw_weights
from trainables.families.blip.image_encoder import ImageEncoder
from trainables.families.blip.importance import measured_importance
from trainables.families.blip.offers import (
    ANSWERS,
    GROUNDED,
    IMAGE_EMBEDDING,
    IMAGE_JOINT,
    IMAGE_MAP,
    IMAGE_POOLED,
    IMAGE_TOKENS,
    LABELS,
    MATCH,
    PAIRED,
    TEMPERATURE,
    TEXT_EMBEDDING,
    TEXT_JOINT,
    TEXT_POOLED,
    offers_of,
)
from trainables.families.blip.options import IMPORTANCE, INHERIT, BlipOptions, resolved
from trainables.families.blip.pairs import RANK, FusedPairs, met, pairs_drawn_by
from trainables.families.blip.passes import layer_sample, pass_inputs
from trainables.families.blip.positions import at_size, fitted
from trainables.families.blip.regular import Regular, make_regular
from trainables.families.blip.text_network import TextNetwork, TraceLayers, keep_trace, trace_layers
from trainables.families.blip.two_pictures import pair_head, told_of_batch, told_of_two, with_second
from trainables.families.origin import Importance, Origin
from trainables.signals import (
    CAPTION,
    PIXELS,
    PIXELS_2,
    QUESTION,
    Batch,
    Inputs,
    Offers,
    Signals,
    Want,
    Wants,
    layers,
    modes,
)

INITIAL_TEMPERATURE = 0.07  # BLIP and CLIP
FLOOR, CEILING = 0.01, 0.5  # CLIP stops at 0.01 (BLIP at 0.001, where one step of a small student diverges)


@final
class Blip(Family):
    """BLIP's mixture of encoder and decoder: ITC projections on two encoders, image-grounded encoder, decoder.

    With 0 fusion layers it is a dual encoder: ITM head, decoder and language-model head do not exist and cost
    nothing. Of one side, all that belongs to the other does not exist either. Nor does what a published checkpoint has no
    weights for; a temperature that is given and was not told yet is NaN.
    """

    Config = BlipOptions
    Architecture = BlipArchitecture
    reusable = frozenset({IMAGE_TOKENS})
    architecture: BlipArchitecture
    image_encoder: ImageEncoder
    image_projection: nn.Linear
    text_network: TextNetwork
    text_projection: nn.Linear
    answer_network: TextNetwork
    temperature: Tensor

    def __init__(self, architecture: BlipArchitecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.negatives, self.drawn_from, self.floor, self.regular = "teacher", RANK, FLOOR, Regular()
        if architecture.side != "text":
            self.image_encoder = ImageEncoder(architecture)
        if architecture.side != "image":
            self.text_network = TextNetwork(architecture)
        if architecture.side != "text" and architecture.contrast:
            self.image_projection = nn.Linear(architecture.image.width, architecture.embedding)
        if architecture.side != "image" and architecture.contrast:
            self.text_projection = nn.Linear(architecture.text.width, architecture.embedding)
        self.itm_head = nn.Linear(architecture.text.width, 2) if architecture.has_matching else None
        self.pair_head = pair_head(architecture)
        if architecture.side != "image" and architecture.has_answerer:
            self.answer_network = TextNetwork(architecture.answering)
        if architecture.temperature_given:
            self.register_buffer("temperature", torch.tensor(torch.nan))
        elif architecture.contrast:
            self.temperature = nn.Parameter(torch.tensor(INITIAL_TEMPERATURE))
        draw_weights(self)

    @classmethod
    def resolve(cls, options: Mapping[str, Any], sizes: Mapping[str, int]) -> Resolved:
        """Return the options with absolute sizes, see `options.resolved`."""
        return resolved(options, sizes)

    @classmethod
    def draft(cls, config: BlipOptions, around: Surroundings) -> BlipArchitecture:
        """Return the candidate's widths, depths and fusion; all else as the teacher has it.

        Raises:
            ShapeError: sizes that do not fit together, or a teacher without texts.
        """
        return drafted(config, around)

    @classmethod
    def sizes(cls, architecture: BlipArchitecture) -> dict[str, int]:
        """Return widths, depths and heads of both sides, fusion layers and embedding."""
        return {
            "image.width": architecture.image.width,
            "image.depth": architecture.image.depth,
            "image.heads": architecture.image.heads,
            "text.width": architecture.text.width,
            "text.depth": architecture.text.depth,
            "text.heads": architecture.text.heads,
            "fusion.layers": len(architecture.fusion),
            "embedding": architecture.embedding,
        }

    @classmethod
    def offers(cls, architecture: BlipArchitecture) -> Offers:
        """Return all that such a model can say, see `offers.offers_of`."""
        return offers_of(architecture)

    @classmethod
    def deployed(cls, architecture: BlipArchitecture, wants: Wants) -> BlipArchitecture:
        """Return the model without ITM head, decoder and fusion layers, and without a side, where no want passes through them.

        Projections and the encoder's own attention, a few per cent, stay with a student that only decodes.
        """
        asked = modes(want for want in wants if want != TEMPERATURE)
        (side,) = asked if asked in ({"image"}, {"text"}) else {architecture.side}
        return replace(
            architecture,
            side=side,
            fusion=architecture.fusion if asked & GROUNDED else (),
            decoder=architecture.decoder and bool(asked & ANSWERS),
            matching=architecture.matching and "fused" in asked,
            answerer=architecture.answerer and "answer" in asked,
            merged=architecture.merged if PAIRED.mode in asked else None,
        )

    @classmethod
    def sample(cls, architecture: BlipArchitecture) -> Sample:
        """Return one layer of each kind, see `passes.layer_sample`."""
        return layer_sample(architecture)

    @classmethod
    def blocks(cls, architecture: BlipArchitecture, mode: str) -> Sequence[Block]:
        """Return ends and layers of a pass, see `blocks.blocks`; the pass itself where two networks answer."""
        if mode == "answer" and architecture.has_answerer:
            return (Block(architecture=architecture, mode=mode),)
        return blocks(architecture, mode)

    def at_size(self, side: int) -> "Blip":
        """Return this model for pictures of another side, see `positions.at_size`."""
        made: Blip = at_size(self, side)
        return made

    def fitted(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the weights of a model that saw pictures of another size, for this one."""
        return fitted(weights, self.architecture)

    def extended(self, wants: Wants) -> Family:
        """Return this model, with the head for statements on two pictures where that is wanted and lacking."""
        return Family.extended(with_second(self) if PAIRED in wants else self, wants)

    def inherit(self, teacher: nn.Module, config: BlipOptions) -> None:
        """Overwrite those sides that are to begin with the teacher's layers and width slices."""
        self.begin(Origin(teacher=teacher), config)

    def begin(self, origin: Origin, config: BlipOptions) -> tuple[str, ...]:
        """Overwrite those sides that are to begin with other weights, see `beginning.begin`."""
        return begin(self, origin, config)

    def importances(self, batches: Iterable[Batch]) -> Importance:
        """Return how much heads, neurons and channels matter, see `importance.measured_importance`."""
        return measured_importance(self, batches)

    @classmethod
    def reads_teacher(cls, config: BlipOptions) -> bool:
        """Return whether a side begins with the teacher's weights."""
        return bool({config.image.init, config.text.init} & {INHERIT, IMPORTANCE})

    def prepare_training(self, options: Mapping[str, Any]) -> None:
        """Take whose similarities draw the hard negatives, `itm_negatives`, and from where; how low the temperature may go."""
        self.negatives = str(options.get("itm_negatives", "teacher"))
        self.drawn_from = str(options.get("negatives", RANK))
        self.floor = float(options.get("temperature_floor", FLOOR))

    def begin_training(self, config: BlipOptions) -> None:
        """Take dropout, drop-path, and which sides are computed again in the backward pass."""
        again = {f"{name}_again": getattr(config, name).checkpoint_activations for name in ("image", "text")}
        self.train_with(Regular(dropout=config.text.dropout, drop_path=config.image.drop_path, **again))

    def train_with(self, how: Regular) -> None:
        """Be trained so."""
        self.regular = how
        make_regular(self, how)

    @torch.no_grad()
    def after_step(self) -> None:
        """Keep the learnable ITC temperature in range.

        In place, as BLIP does: a clamp in the graph would stop its gradient.
        """
        if self.architecture.contrast and not self.architecture.temperature_given:
            self.temperature.clamp_(self.floor, CEILING)

    def inputs(self, wants: Wants) -> Inputs:
        """Return pixels, captions and questions as far as the passes read them, and by what negatives are drawn."""
        asked, fields = modes(wants), set[str]()
        mined = LABELS in wants
        if asked & (GROUNDED | {"image"}):
            fields.add(PIXELS)
        if asked & {"text", "fused", "decoder"}:
            fields |= {"caption.ids", "caption.mask"}
        if mined:
            fields.add("caption.key")
        if "answer" in asked:
            fields |= {"question.ids", "question.mask"}
            if self.architecture.has_answerer:  # question and answer are read apart
                fields.add("question.targets")
        if PAIRED in wants:
            fields |= {PIXELS_2, "statement.ids", "statement.mask"}
        by_teacher = mined and self.negatives == "teacher"
        source = {IMAGE_EMBEDDING, TEXT_EMBEDDING, TEMPERATURE} if by_teacher else set[Want]()
        return Inputs(fields=frozenset(fields), source=frozenset(source))

    def forward(
        self, batch: Batch, wants: Wants, given: Signals | None = None, known: Signals | None = None
    ) -> Signals:
        """Return the signals; only the passes that they need are run.

        The rows of `fused` are the given pairs; where `fused.labels` is wanted, negatives follow them, see `pairs.met`.
        """
        asked, found = modes(wants), Signals()
        mined = LABELS in wants
        similar = {IMAGE_EMBEDDING, TEXT_EMBEDDING} if mined and self.negatives != "teacher" else set[Want]()
        if TEMPERATURE in wants or similar:
            found[TEMPERATURE] = self.temperature
        tokens = known.get(IMAGE_TOKENS) if known else None
        if "image" in asked or similar or (asked & GROUNDED and tokens is None):
            tokens = self._image(batch, wants | similar, found)
        if "text" in asked or similar:
            self._text(batch, wants | similar, found)
        if "fused" in asked:
            by = given if self.negatives == "teacher" else found
            pairs = pairs_drawn_by(by, batch, self.drawn_from) if mined else None
            self._fused(batch, made_of(tokens), wants, found, pairs)
        if PAIRED in wants:
            found[PAIRED] = told_of_batch(self, batch, made_of(tokens))
        if "answer" in asked and self.architecture.has_answerer:
            words = self.architecture.vocabulary
            asked_of = Asked.of(batch, enc=there(words.enc), dec=there(words.dec), sep=words.sep)
            told = answered(self.text_network, self.answer_network, asked_of, made_of(tokens))
            found[Want("answer", "logits")] = told
        for mode, kind in (("decoder", CAPTION), ("answer", QUESTION)):
            if mode in asked and Want(mode, "logits") not in found:
                texts = texts_of(batch, kind, training=self.training)
                self._decoder(texts, made_of(tokens), mode=mode, wants=wants, found=found)
        return found.only(wants)

    def pass_inputs(self, mode: str, tokens: int) -> dict[str, Tensor]:
        """Return noise for a picture or its tokens, ids within the vocabulary, no padding."""
        return pass_inputs(self.architecture, mode, tokens, next(self.parameters()))

    def run_pass(self, mode: str, inputs: Mapping[str, Tensor]) -> object:
        """Run one pass up to its head, or one block."""
        if mode in BLOCKS:
            return run_block(self, mode, inputs)
        if mode == "image":
            tokens, _, _ = self.image_encoder(inputs["pixels"])
            return self.embed(self.image_projection, tokens) if self.architecture.contrast else tokens
        ids, mask, image = inputs["ids"], inputs["mask"], inputs.get("tokens")
        if mode == "answer" and self.architecture.has_answerer:
            return answer_pass(self.text_network, self.answer_network, ids, mask, made_of(image))
        if mode == PAIRED.mode:
            return told_of_two(self, ids, mask, made_of(image), inputs["tokens_2"])
        decode = mode in ANSWERS
        states, _ = self.text_network(ids, mask, image, decode=decode, trace=TraceLayers())
        if mode == "text":
            return self.embed(self.text_projection, states)
        return self.text_network.logits(states) if decode else self._head()(states[:, 0])

    def decoder_state(self, want: Want, known: Signals) -> CachedDecoding | None:
        """Return the decoder with its keys and values, see `decoding.CachedDecoding`."""
        return decoder_state(self, want, known)

    def encode_image(self, images: Tensor) -> Tensor:
        """Return tokens (B, P, D) after the last norm of normalised images (B, 3, S, S)."""
        tokens, _, _ = self.image_encoder(images)
        return tokens

    def decode(self, ids_BT: Tensor, mask_BT: Tensor, tokens_BPD: Tensor) -> Tensor:
        """Return next-token logits (B, T, V) of token ids grounded in image tokens; the first becomes [DEC]."""
        found = Signals()
        logits = Want("decoder", "logits")
        texts = Texts(ids_BT, mask_BT)
        self._decoder(texts, tokens_BPD, mode="decoder", wants=frozenset({logits}), found=found)
        return found[logits]

    def _image(self, batch: Batch, wants: Wants, found: Signals) -> Tensor:
        hidden, attention = layers(wants, "image", "hidden"), layers(wants, "image", "attention")
        tokens, states, maps = self.image_encoder(batch[PIXELS], frozenset(hidden), frozenset(attention))
        found[IMAGE_TOKENS], found[IMAGE_POOLED] = tokens, tokens[:, 0]
        if IMAGE_EMBEDDING in wants:
            found[IMAGE_EMBEDDING] = self.embed(self.image_projection, tokens)
        if wants & {IMAGE_JOINT, IMAGE_MAP}:
            joint = found[IMAGE_JOINT] = self.image_projection(tokens)
            grid = self.architecture.grid
            found[IMAGE_MAP] = joint[:, 1:].transpose(1, 2).unflatten(2, (grid, grid))
        found.update({Want("image", "hidden", index): state for index, state in states.items()})
        found.update({Want("image", "attention", index): one for index, one in maps.items()})
        return tokens

    def _text(self, batch: Batch, wants: Wants, found: Signals) -> None:
        """Run the text-only pass over captions that begin with [CLS]."""
        ids, mask = batch["caption.ids"], batch["caption.mask"]
        asked = first_of(mask) if self.training and TEXT_JOINT not in wants else None
        trace_of = trace_layers(wants, "text")
        states, trace = self.text_network(ids, mask, None, decode=False, trace=trace_of, asked_BA=asked)
        if TEXT_EMBEDDING in wants:
            found[TEXT_EMBEDDING] = self.embed(self.text_projection, states)
        if TEXT_JOINT in wants:
            found[TEXT_JOINT] = self.text_projection(states)
        found[TEXT_POOLED] = states[:, 0]
        keep_trace(trace, "text", found)

    @staticmethod
    def embed(projection: nn.Module, tokens: Tensor) -> Tensor:
        """Return the unit-norm embedding (B, E) of the first token."""
        return F.normalize(projection(tokens[:, 0]).float(), dim=-1)

    def _fused(
        self, batch: Batch, tokens: Tensor, wants: Wants, found: Signals, pairs: FusedPairs | None
    ) -> None:
        """Run the image-grounded encoder.

        The first token becomes [ENC], as in BLIP's retrieval evaluation (not in its demo head).
        """
        ids, mask = batch["caption.ids"], batch["caption.mask"]
        length = ids.shape[1]
        if pairs is not None:
            ids, mask, tokens, found[LABELS] = met(batch, pairs, tokens, pad=self.architecture.vocabulary.pad)
        grounded = ids.clone()
        grounded[:, 0] = there(self.architecture.vocabulary.enc)
        asked, trace_of = first_of(mask) if self.training else None, trace_layers(wants, "fused")
        states, trace = self.text_network(
            grounded, mask, tokens, decode=False, trace=trace_of, asked_BA=asked
        )
        if MATCH in wants:
            found[MATCH] = self._head()(states[:, 0])
        keep_trace(trace.trimmed(length), "fused", found)

    def _head(self) -> nn.Module:
        if self.itm_head is None:
            raise ValueError("this model has no ITM head: it is a dual encoder, or was deployed without")
        return self.itm_head

    def _decoder(self, texts: Texts, tokens: Tensor, *, mode: str, wants: Wants, found: Signals) -> None:
        """Run the causal decoder over token ids grounded in image tokens (B, P, D); the first becomes [DEC], and the prompt.

        Logits are zeros at positions that nobody asks for. What is said of a prompt's own tokens is left out.
        """
        if not self.architecture.has_decoder:
            raise ValueError("a model without fusion layers or language-model head cannot decode")
        length = texts.ids_BT.shape[1]
        causal, mask, asked, begun = texts.behind(there(self.architecture.vocabulary.dec))
        trace_of = trace_layers(wants, mode)
        states, trace = self.text_network(causal, mask, tokens, decode=True, trace=trace_of, asked_BA=asked)
        if Want(mode, "logits") in wants:
            some = (
                asked is not None and states.shape[1] < causal.shape[1]
            )  # not where the last layer is traced
            logits = self.text_network.logits(states if some else states[:, begun:])
            if some and texts.asked_BA is not None:
                logits = spread(logits, texts.asked_BA, length)
            found[Want(mode, "logits")] = logits
        keep_trace(trace.behind(begun) if begun else trace, mode, found)
