"""What outlives the bot: jobs with their states, people with their settings, updates not done."""

from sdlesson.bot_service.store.database import Database, StoreError, StoreThread
from sdlesson.bot_service.store.jobs import NewJob, StoredJob, StoredJobState
from sdlesson.bot_service.store.store import Store

__all__ = [
    "Database",
    "NewJob",
    "Store",
    "StoreError",
    "StoreThread",
    "StoredJob",
    "StoredJobState",
]
