"""Teach a pipeline something new from a few photos: DreamBooth, in full or as a LoRA."""
