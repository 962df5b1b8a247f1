"""What a lesson shows to work with: the playground, photos, a training, a bot, a chat with it."""

from sdlesson.widgets.bot_panel import BotPanel
from sdlesson.widgets.chat_panel import ChatPanel
from sdlesson.widgets.photo_upload import PhotoUpload
from sdlesson.widgets.playground import Playground
from sdlesson.widgets.training_panel import TrainingPanel

__all__ = ["BotPanel", "ChatPanel", "PhotoUpload", "Playground", "TrainingPanel"]
