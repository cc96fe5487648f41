"""What a model of this family can say, from its architecture alone."""

from trainables.families.blip.architecture import ANSWER, DECODER, BlipArchitecture
from trainables.signals import CAPTION, PICTURE, QUESTION, STATEMENT, Offer, Offers, Want

IMAGE_TOKENS = Want("image", "tokens")
IMAGE_EMBEDDING, TEXT_EMBEDDING = Want("image", "embedding"), Want("text", "embedding")
IMAGE_POOLED, TEXT_POOLED = Want("image", "pooled"), Want("text", "pooled")
IMAGE_JOINT, TEXT_JOINT, IMAGE_MAP = Want("image", "joint"), Want("text", "joint"), Want("image", "map")
TEMPERATURE = Want("contrast", "temperature")
MATCH, LABELS = Want("fused", "logits"), Want("fused", "labels")
ROWS_OF = {DECODER: CAPTION, ANSWER: QUESTION}
ANSWERS = frozenset(ROWS_OF)
PAIRED = Want("paired", "logits")
GROUNDED = ANSWERS | {"fused", PAIRED.mode}
PAIR = "pair"  # rows of the fused pass: the given pairs, and negatives behind them


def offers_of(architecture: BlipArchitecture) -> Offers:
    """Return the offers: embeddings and temperature, tokens, and for each layer its state and its maps.

    `pooled` is the state of [CLS], `joint` each token through the ITC projection, of which [CLS] becomes the embedding. What a
    checkpoint has no weights for is not offered; of answers by a decoder of its own, the logits are.
    """
    a, words = architecture, f"{CAPTION}.mask"
    found: dict[Want, Offer] = {
        IMAGE_TOKENS: Offer(axes=("P", "D"), sizes=(a.image_tokens, a.image.width), rows=PICTURE),
        IMAGE_POOLED: Offer(axes=("D",), sizes=(a.image.width,), rows=PICTURE),
    }
    if a.contrast:
        found |= {
            TEXT_POOLED: Offer(axes=("D",), sizes=(a.text.width,), rows=CAPTION),
            IMAGE_JOINT: Offer(axes=("P", "E"), sizes=(a.image_tokens, a.embedding), rows=PICTURE),
            TEXT_JOINT: Offer(axes=("T", "E"), sizes=(a.max_tokens, a.embedding), rows=CAPTION, mask=words),
            IMAGE_MAP: Offer(axes=("E", "Y", "X"), sizes=(a.embedding, a.grid, a.grid), rows=PICTURE),
            IMAGE_EMBEDDING: Offer(axes=("E",), sizes=(a.embedding,), rows=PICTURE),
            TEXT_EMBEDDING: Offer(axes=("E",), sizes=(a.embedding,), rows=CAPTION),
            TEMPERATURE: Offer(),
        }
    for index in range(a.image.depth):
        found[Want("image", "hidden", index)] = found[IMAGE_TOKENS]
        found[Want("image", "attention", index)] = Offer(
            axes=("H", "P", "P"), sizes=(a.image.heads, a.image_tokens, a.image_tokens), rows=PICTURE
        )
    if a.contrast:
        found |= _text(a, "text", CAPTION)
    if a.contrast and a.has_fusion:
        found |= _text(a, "fused", CAPTION)
    if a.has_matching:
        found[MATCH] = Offer(axes=("C",), sizes=(2,), rows=CAPTION, meaning="no match, match")
        found[LABELS] = Offer(rows=PAIR)
    if a.has_pairs:
        found[PAIRED] = Offer(axes=("C",), sizes=(2,), rows=STATEMENT, meaning="false, true")
    for mode, rows in ROWS_OF.items():
        if a.has_decoder and mode in a.decodes:
            found |= _text(a, mode, rows)
        if (a.captions, a.answers)[mode == ANSWER]:
            found[Want(mode, "logits")] = Offer(
                axes=("T", "V"),
                sizes=(a.max_tokens, a.vocabulary.size),
                rows=rows,
                mask=f"{rows}.mask",
                meaning=str(a.vocabulary),
            )
    if a.side:
        found = {want: offer for want, offer in found.items() if want.mode == a.side or not offer.rows}
    return found


def _text(a: BlipArchitecture, mode: str, rows: str) -> dict[Want, Offer]:
    """Return states and maps of the layers of one mode of the text network."""
    found: dict[Want, Offer] = {}
    mask, heads, tokens = f"{rows}.mask", a.text.heads, a.max_tokens
    for index in range(a.text.depth):
        found[Want(mode, "hidden", index)] = Offer(
            axes=("T", "D"), sizes=(tokens, a.text.width), rows=rows, mask=mask
        )
        found[Want(mode, "attention", index)] = Offer(
            axes=("H", "T", "T"), sizes=(heads, tokens, tokens), rows=rows, mask=mask
        )
    for index in a.fusion if mode != "text" else ():
        found[Want(mode, "cross_attention", index)] = Offer(
            axes=("H", "T", "P"), sizes=(heads, tokens, a.image_tokens), rows=rows, mask=mask
        )
    return found
