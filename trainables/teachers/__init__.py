"""Teachers that have a name of their own; any other name is a folder or a hub id, read by the loader of its model type."""

from spaces.plugins import Table

TEACHERS = Table(
    "teachers",
    {
        "embedded": "trainables.teachers.embedded:EmbeddedTeacher",
        "embedded-beit": "trainables.teachers.embedded:EmbeddedBeit",
        "embedded-blip": "trainables.teachers.blip.embedded:EmbeddedBlip",
        "embedded-clip": "trainables.teachers.embedded:EmbeddedClip",
        "embedded-dino": "trainables.teachers.embedded:EmbeddedDino",
    },
)
LOADERS = Table(
    "teacher_loaders",
    {
        "beit": "trainables.teachers.towers.huggingface:load_vision_transformer",
        "blip": "trainables.teachers.blip.huggingface:load_huggingface",
        "clip": "trainables.teachers.towers.clip:load_clip",
        "clip_vision_model": "trainables.teachers.towers.clip:load_clip",
        "dinov2": "trainables.teachers.towers.huggingface:load_vision_transformer",
        "dinov2_with_registers": "trainables.teachers.towers.huggingface:load_vision_transformer",
        "dinov3_vit": "trainables.teachers.towers.huggingface:load_vision_transformer",
        "original": "trainables.teachers.blip.original:load_original",
        "several": "trainables.teachers.blip.assembled:load_assembled",
        "timm": "trainables.teachers.towers.timm_folder:load_timm",
        "vit": "trainables.teachers.towers.huggingface:load_vision_transformer",
    },
)
"""`model_type` of a config, or a row of `OTHER_FORMS` -> what makes a Teacher of the name that a user gives."""
OUTLINES = Table(
    "teacher_outlines",
    {
        "blip": "trainables.teachers.blip.outline:outline",
        "several": "trainables.teachers.blip.outline:assembled",
    },
)
"""`model_type` of a config, or `several` for parts of several -> what makes a teacher of sizes alone of it, for a plan."""
PUBLISHED = Table(
    "published_teachers",
    {
        "Salesforce/blip-image-captioning-base": "trainables.teachers.blip.outline:captioning",
        "Salesforce/blip-itm-base-coco": "trainables.teachers.blip.outline:retrieving",
        "Salesforce/blip-itm-base-flickr": "trainables.teachers.blip.outline:retrieving",
        "Salesforce/blip-vqa-base": "trainables.teachers.blip.outline:answering",
    },
)
"""Hub id -> what returns its config, for a plan on a machine that has neither its files nor a network."""
OTHER_FORMS = ("original", "several", "timm")
"""Rows that are no model types: files of the authors of a model, parts of several checkpoints, and folders of timm."""
