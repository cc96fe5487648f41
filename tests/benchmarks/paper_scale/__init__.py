"""A BLIP-sized teacher and its student on one device, in plain Python: what `device_step.py` measures."""
