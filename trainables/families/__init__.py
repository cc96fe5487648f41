"""Student families, by the name that `student.kind` gives."""

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
FIRST = "blip"  # what model folders and checkpoints of version 1, which name no family, hold
