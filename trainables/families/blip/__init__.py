"""BLIP's mixture of encoder and decoder (Li et al. 2022): the family of the shipped teacher and its students."""
