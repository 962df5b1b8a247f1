"""Not torchvision: only what diffusers' train_dreambooth_lora.py uses of it, for where it is not.

The course does not need torchvision, and installing it for one benchmark would change the rest of
the environment. `lora_against_diffusers.py` puts this on the path of that script alone, and only
where the real one is not installed.
"""
