"""Task and distillation losses by name: one file per formula, and the mode that it looks at comes with the name."""

from spaces.plugins import Table

LOSSES = Table(
    "losses",
    {
        "answer_logit": "trainables.losses.token_logits:TokenLogits",
        "cross_attention": "trainables.losses.attention:Attention",
        "decoder_attention": "trainables.losses.attention:Attention",
        "decoder_hidden": "trainables.losses.hidden:Hidden",
        "fused_hidden": "trainables.losses.hidden:Hidden",
        "image_attention": "trainables.losses.attention:Attention",
        "image_embedding": "trainables.losses.embedding:Embedding",
        "image_hidden": "trainables.losses.hidden:Hidden",
        "itc": "trainables.losses.itc:Itc",
        "itc_logit": "trainables.losses.itc_logit:ItcLogit",
        "itm": "trainables.losses.itm:Itm",
        "lm": "trainables.losses.tokens:Lm",
        "lm_logit": "trainables.losses.token_logits:TokenLogits",
        "text_attention": "trainables.losses.attention:Attention",
        "text_embedding": "trainables.losses.embedding:Embedding",
        "text_hidden": "trainables.losses.hidden:Hidden",
        "vqa": "trainables.losses.tokens:Vqa",
    },
)
