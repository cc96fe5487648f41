"""Loaders of published image models: of the transformers library, and of timm."""
