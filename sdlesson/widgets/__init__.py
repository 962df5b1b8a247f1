"""The playground: what a lesson shows to play with."""

from sdlesson.widgets.playground import Playground

__all__ = ["Playground"]
