"""Task and distillation losses by name: one file per formula, and the mode that it looks at comes with the name."""

from spaces.plugins import Table

LOSSES = Table(
    "losses",
    {
        "answer_logit": "trainables.losses.logits.token_logits:TokenLogits",
        "class_label": "trainables.losses.logits.class_label:ClassLabel",
        "class_logit": "trainables.losses.logits.class_logit:ClassLogit",
        "combined": "trainables.losses.similarity.combined:Combined",
        "cross_attention": "trainables.losses.features.attention:Attention",
        "decoder_attention": "trainables.losses.features.attention:Attention",
        "decoder_hidden": "trainables.losses.features.hidden:Hidden",
        "fused_hidden": "trainables.losses.features.hidden:Hidden",
        "image_activation": "trainables.losses.features.activation:Activation",
        "image_attention": "trainables.losses.features.attention:Attention",
        "image_combined": "trainables.losses.similarity.image_combined:ImageCombined",
        "image_embedding": "trainables.losses.features.embedding:Embedding",
        "image_hidden": "trainables.losses.features.hidden:Hidden",
        "image_logit": "trainables.losses.similarity.image_logit:ImageLogit",
        "interactive": "trainables.losses.similarity.interactive:Interactive",
        "itc": "trainables.losses.similarity.itc:Itc",
        "itc_logit": "trainables.losses.similarity.itc_logit:ItcLogit",
        "itm": "trainables.losses.logits.itm:Itm",
        "itm_logit": "trainables.losses.logits.itm_logit:ItmLogit",
        "lm": "trainables.losses.logits.tokens:Lm",
        "lm_logit": "trainables.losses.logits.token_logits:TokenLogits",
        "nlvr2": "trainables.losses.logits.nlvr2:Nlvr2",
        "text_attention": "trainables.losses.features.attention:Attention",
        "text_embedding": "trainables.losses.features.embedding:Embedding",
        "text_hidden": "trainables.losses.features.hidden:Hidden",
        "vqa": "trainables.losses.logits.tokens:Vqa",
    },
)
