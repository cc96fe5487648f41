"""Students that stand alone: a convolutional or other trunk of their own over the pixels."""
