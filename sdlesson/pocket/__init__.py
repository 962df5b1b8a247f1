"""The pocket model: its world, its training, its evaluation, and its weights."""
