"""Families of models, by name: those that a student may be (`student.kind` gives it), and those that only teach."""

from spaces.plugins import Table

FAMILIES = Table(
    "families",
    {
        "blip": "trainables.families.blip.model:Blip",
        "bottleneck": "trainables.families.heads.bottleneck:Bottleneck",
        "cbam": "trainables.families.heads.cbam:Cbam",
        "densenet": "trainables.families.trunks.densenet:DenseNet",
        "multihead_attention": "trainables.families.heads.multihead_attention:MultiheadAttention",
        "resnet": "trainables.families.trunks.resnet:ResNet",
        "simple_projection": "trainables.families.heads.simple_projection:SimpleProjection",
        "timm": "trainables.families.trunks.backbone:Backbone",
    },
)
TOWERS = Table(
    "towers",
    {
        "blip_assembled": "trainables.families.blip.assembled:Assembled",
        "clip": "trainables.families.towers.clip:Clip",
        "timm_backbone": "trainables.families.towers.timm_backbone:TimmBackbone",
        "vision_transformer": "trainables.families.towers.vision_transformer:VisionTransformer",
    },
)
"""Published models as they are: a Blueprint holds one as well, a space never names one."""

PLACES = ("pretrained", "image.weights", "text.weights")
"""Options of a student that may name files of the user's; a run keeps them from the root."""

FIRST = "blip"  # what model folders and checkpoints of version 1, which name no family, hold


def table_of(kind: str) -> Table:
    """Return the table that holds a kind of model; a student's, where both or none do."""
    return TOWERS if kind not in FAMILIES and kind in TOWERS else FAMILIES
