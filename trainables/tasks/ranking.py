"""Answers chosen from a list: those that begin most likely are read to their end (Li et al. 2022, section 5.3)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from trainables.signals import Signals
from trainables.tasks.beams import together
from trainables.tasks.decoding import Decoder, padded

LARGEST = (
    1 << 28
)  # bytes of logits at a time: 128 answers of 4 tokens take 63 MB for each question over 30,524 words
TOGETHER = 32  # questions


@torch.no_grad()
def ranked(
    decoder: Decoder, prompts: list[list[int]], pixels: Tensor, answers: Sequence[list[int]], *, most: int
) -> list[int]:
    """Return for each question the place of the answer that is most likely as a whole, [SEP] included.

    Of all answers that the model can read behind a question, `most` are looked at whose first token is the most likely; of equal
    ones the first.

    Args:
        decoder: model in eval mode.
        prompts: ids of the questions, [DEC] first; behind each some answer can be read.
        pixels: (B, 3, S, S), the picture of each.
        answers: ids of each answer, [SEP] last.
        most: so many.
    """
    longest = max(len(answer) for answer in answers)
    fit = max(1, LARGEST // (4 * decoder.vocabulary.size * min(most, len(answers)) * longest))
    found = [0] * len(prompts)
    for places in together(prompts, min(fit, TOGETHER)):
        asked = [prompts[place] for place in places]
        able = [n for n, one in enumerate(answers) if len(asked[0]) + len(one) <= decoder.longest]
        count = min(most, len(able))
        chosen = _ranked(decoder, asked, pixels[places], [answers[n] for n in able], count=count)
        for place, one in zip(places, chosen, strict=True):
            found[place] = able[one]
    return found


def _ranked(
    decoder: Decoder, prompts: list[list[int]], pixels: Tensor, answers: Sequence[list[int]], *, count: int
) -> list[int]:
    """Return the answers to questions that are equally long."""
    known = decoder.known(pixels)
    state = decoder.model.decoder_state(decoder.logits, known)
    begun = [len(prompt) for prompt in prompts]
    if state is None:
        first = decoder.next_logits(prompts, known, pixels, begun=begun)
    else:
        first = state.read(torch.tensor(prompts, device=pixels.device))[:, -1]
    begins = torch.tensor([answer[0] for answer in answers], device=pixels.device)
    first_QV = first.float().log_softmax(dim=-1)
    near_QK = first_QV[:, begins].sort(dim=1, descending=True, stable=True)[1][:, :count]
    ids, mask = padded([list(answer) for answer in answers], decoder.vocabulary.pad, pixels.device)
    width = int(mask[near_QK.reshape(-1)].sum(dim=1).max())
    ids_NT, mask_NT = ids[near_QK.reshape(-1), :width], mask[near_QK.reshape(-1), :width]
    scores_N = first_QV.gather(1, begins[near_QK]).reshape(-1)
    if width > 1:
        questions = torch.arange(len(prompts), device=pixels.device).repeat_interleave(count)
        if state is None:
            texts = [prompts[q] + text for q, text in zip(questions.tolist(), ids_NT.tolist(), strict=True)]
            kept = Signals({want: value[questions] for want, value in known.items()})
            whole = decoder.all_logits(texts, kept, pixels[questions], begun=[begun[0]] * len(texts))
            logits = whole[:, begun[0] : begun[0] + width - 1]
        else:
            state.keep(questions, count)
            logits = state.read(ids_NT[:, :-1])
        following = logits.float().log_softmax(dim=-1).gather(2, ids_NT[:, 1:, None])[:, :, 0]
        scores_N = scores_N + following.masked_fill(~mask_NT[:, 1:], 0.0).sum(dim=1)
    best = scores_N.view(len(prompts), count).nan_to_num(nan=float("-inf")).argmax(dim=1, keepdim=True)
    return near_QK.gather(1, best)[:, 0].tolist()
