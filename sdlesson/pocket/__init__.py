"""The pocket model: its files; `world`, its scenes; `training`, how it is made; `evaluation`.

What lies in this folder itself is read by the whole course, by the paths in `paths`: the weights
(`model/`, `scorer/`), the tables (`measured/`, `evaluation.json`), the vocabulary and the card.
"""
