"""What outlives the bot: jobs with their states, people with their settings, updates not done."""

from sdlesson.bot_service.store.database import Database, OffLoop, StoreError
from sdlesson.bot_service.store.jobs import StoredJobState, NewJob, StoredJob
from sdlesson.bot_service.store.store import Store

__all__ = ["Database", "StoredJobState", "NewJob", "OffLoop", "Store", "StoreError", "StoredJob"]
