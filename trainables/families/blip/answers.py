"""Answers of BLIP's own model of questions: one network reads them with the picture, another decodes what it made of them.

Li et al. 2022, section 5.3. Rows of questions come as students read them, `[DEC] question answer [SEP]`; here they are taken
apart, and what is predicted is put back at the places where students predict the same token.
"""

from dataclasses import dataclass
from typing import Self, cast

import torch
from torch import Tensor

from trainables.families.blip.text_network import TextLayer, TextNetwork, TraceLayers
from trainables.signals import Batch

ANSWER_TOKENS = 2  # that a decoder has before it when the end of a word is predicted: [DEC] and the word


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Questions and the beginnings of their answers.

    Attributes:
        questions_BT, real_BT: `[ENC] question [SEP]`, and True on these tokens.
        answers_BT: `[DEC] answer ...`; behind the answer whatever, which no real token sees.
        places_BT: of each place of the row, the place of the answer that predicts there; 0 before it.
    """

    questions_BT: Tensor
    real_BT: Tensor
    answers_BT: Tensor
    places_BT: Tensor

    @classmethod
    def of(cls, batch: Batch, *, enc: int, dec: int, sep: int) -> Self:
        """Take the rows of a batch apart: an answer begins behind the first place whose next token is to be predicted.

        Args:
            batch: with ids, and targets, of questions.
            enc, dec, sep: ids of the tokens that begin a question and an answer, and that end a question.
        """
        ids, targets = batch["question.ids"], batch["question.targets"]
        last = targets.float().argmax(
            dim=1, keepdim=True
        )  # of the question; 0 in a row without anything to predict
        places = torch.arange(ids.shape[1], device=ids.device)[None, :]
        questions = torch.where(places == last + 1, sep, ids)
        questions[:, 0] = enc
        answers = ids.gather(1, (last + places).clamp(max=ids.shape[1] - 1))
        answers[:, 0] = dec
        return cls(
            questions_BT=questions,
            real_BT=places <= last + 1,
            answers_BT=answers,
            places_BT=(places - last).clamp(min=0),
        )


def answered(reader: TextNetwork, decoder: TextNetwork, asked: Asked, tokens_BPD: Tensor) -> Tensor:
    """Return next-token logits (B, T, V) at the places of the rows; before an answer those of its first token.

    Args:
        reader: of questions.
        decoder: of answers.
        asked: them.
        tokens_BPD: of the pictures.
    """
    question, _ = reader(asked.questions_BT, asked.real_BT, tokens_BPD, decode=False, trace=TraceLayers())
    states = _decoded(decoder, asked.answers_BT, question, asked.real_BT)
    placed = states.gather(1, asked.places_BT[:, :, None].expand(-1, -1, states.shape[2]))
    return decoder.logits(placed)


def answer_pass(
    reader: TextNetwork, decoder: TextNetwork, ids_BT: Tensor, mask_BT: Tensor, tokens_BPD: Tensor
) -> Tensor:
    """Return the logits of one step as it is deployed: the question is read, and a short answer goes on by a token."""
    question, _ = reader(ids_BT, mask_BT, tokens_BPD, decode=False, trace=TraceLayers())
    short = ids_BT[:, :ANSWER_TOKENS]
    states = _decoded(decoder, short, question, mask_BT)
    return decoder.logits(states[:, -1:])


def _decoded(decoder: TextNetwork, ids_BA: Tensor, question_BTD: Tensor, real_BT: Tensor) -> Tensor:
    """Return states (B, A, D) of answers that see themselves so far, and the states of their question."""
    states = decoder.embed(ids_BA)
    for layer in cast("list[TextLayer]", decoder.layers):  # torch types it as bare modules
        states, _ = layer.attend(states, None, decode=True)
        assert layer.cross_attention is not None  # all layers of this decoder have it
        mask = real_BT[:, None, None, :]
        states, _ = layer.cross_attention(states, question_BTD, mask, causal=False, want_map=False)
        states = layer.feed_forward(states)
    return states
