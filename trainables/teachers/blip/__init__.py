"""Loading published BLIP checkpoints, and training the embedded teacher."""
