"""What a lesson shows to work with: the playground, photos, a training, a bot, a chat with it."""

from sdlesson.widgets.bot import BotPanel
from sdlesson.widgets.chat import ChatPanel
from sdlesson.widgets.photos import PhotoUpload
from sdlesson.widgets.playground import Playground
from sdlesson.widgets.training import TrainingPanel

__all__ = ["BotPanel", "ChatPanel", "PhotoUpload", "Playground", "TrainingPanel"]
