"""Task and distillation losses: one final class per file, found by name in `LOSSES`."""

LOSSES = {
    "answer_logit": "trainables.losses.answer_logit:AnswerLogit",
    "cross_attention": "trainables.losses.cross_attention:CrossAttention",
    "decoder_attention": "trainables.losses.decoder_attention:DecoderAttention",
    "decoder_hidden": "trainables.losses.decoder_hidden:DecoderHidden",
    "fused_hidden": "trainables.losses.fused_hidden:FusedHidden",
    "image_attention": "trainables.losses.image_attention:ImageAttention",
    "image_embedding": "trainables.losses.image_embedding:ImageEmbedding",
    "image_hidden": "trainables.losses.image_hidden:ImageHidden",
    "itc": "trainables.losses.itc:Itc",
    "itc_logit": "trainables.losses.itc_logit:ItcLogit",
    "itm": "trainables.losses.itm:Itm",
    "lm": "trainables.losses.lm:Lm",
    "lm_logit": "trainables.losses.lm_logit:LmLogit",
    "text_attention": "trainables.losses.text_attention:TextAttention",
    "text_embedding": "trainables.losses.text_embedding:TextEmbedding",
    "text_hidden": "trainables.losses.text_hidden:TextHidden",
    "vqa": "trainables.losses.vqa:Vqa",
}
