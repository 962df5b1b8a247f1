"""How the pocket model is made: `python -m sdlesson.pocket.training`, or `make pocket`.

The stages in their order: `dataset` renders the scenes, `autoencoder` learns to encode them,
`scorer` to read them, `sharpening` finishes the VAE's decoder, `denoiser` learns to draw, and
`export` writes it all, with `safety_checker`, as the folders that the course loads. `loop` trains
each of them; `controlnet` is trained on the finished model.
"""
