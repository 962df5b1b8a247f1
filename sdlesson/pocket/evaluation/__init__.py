"""How good the pocket model is: `python -m sdlesson.pocket.evaluation`, or `make pocket-eval`.

`samples` draws scenes that training never used. `recognition` compares the pictures with the
artwork itself, `judging` with what the probe reads in them, `macs` counts what a picture costs.
`table` makes the rows of all that, `failures` looks into them, and `card` writes the page.
"""
