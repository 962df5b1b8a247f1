"""The tables as they are now; migrations.py leads there from whatever an older bot has left.

Times are seconds since 1970. A user's number is the only thing that names a person.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, Integer, LargeBinary, MetaData, Table, Text

METADATA = MetaData()

USERS = Table(
    "users",
    METADATA,
    Column("user_id", BigInteger, primary_key=True),
    Column("language", Text),
    Column("defaults", Text),  # JSON
    Column("consented", Integer, nullable=False),
    Column("as_file", Integer, nullable=False),
    Column("model", Text),  # the one chosen, as is the next
    Column("lora", Text),
    Column("bucket_tokens", Double),
    Column("bucket_at", Double),
)

BANS = Table(  # beside the users, since a ban outlives /forget
    "bans",
    METADATA,
    Column("user_id", BigInteger, primary_key=True),
    Column("banned_by", BigInteger, nullable=False),
    Column("banned_at", Double, nullable=False),
)

SPENT = Table(  # what a user had drawn on a day before /forget: it counts until midnight
    "spent",
    METADATA,
    Column("user_id", BigInteger, primary_key=True),
    Column("day", Text, primary_key=True),
    Column("pictures", Integer, nullable=False),
)

JOBS = Table(
    "jobs",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("update_id", BigInteger),  # with `part`, unique: read twice, it is one job
    Column("part", Integer),  # 0; older bots counted here the photos of an album
    Column("user_id", BigInteger, nullable=False),
    Column("chat_id", BigInteger, nullable=False),
    Column("thread_id", BigInteger),
    Column("language", Text, nullable=False),
    Column("request", Text, nullable=False),  # JSON
    Column("photo", LargeBinary),
    Column("seed", BigInteger),  # the one that was drawn with
    Column("state", Text, nullable=False),
    Column("told", Integer, nullable=False),  # whether the user knows of the end
    Column("status_id", BigInteger),  # the message that tells how the job stands
    Column("created_at", Double, nullable=False),
    Column("started_at", Double),
    Column("ended_at", Double),
    Column("model", Text),
    Column("lora", Text),
    Column("by_lot", Integer, nullable=False),  # whether it counts for a comparison of two models
    Column("button", Text),  # what was pressed under another picture to ask for it
    Column("seconds", Double),  # its share of the drawing; null where nothing had to be drawn
)

VOTES = Table(  # a thumb for a picture
    "votes",
    METADATA,
    Column("job_id", Text, primary_key=True),
    Column("user_id", BigInteger, primary_key=True),
    Column("is_up", Integer, nullable=False),
    Column("voted_at", Double, nullable=False),
)

BUTTONS = Table(
    "buttons",
    METADATA,
    Column("token", Text, primary_key=True),
    Column("user_id", BigInteger, nullable=False),
    Column("request", Text, nullable=False),
    Column("photo", LargeBinary),
    Column("created_at", Double, nullable=False),
)

ENROLMENTS = Table(
    "enrolments",
    METADATA,
    Column("user_id", BigInteger, primary_key=True),
    Column("name", Text, nullable=False),  # in the company's directory
    Column("salt", Text, nullable=False),  # with the operator's key, the secret of the codes
    Column("last_step", BigInteger, nullable=False),  # the half minute of the last code taken
    Column("allowed_until", Double, nullable=False),
    Column("wrong", Integer, nullable=False),  # codes in a row
    Column("wrong_at", Double, nullable=False),
    Column("enrolled_at", Double, nullable=False),
)

INBOX = Table(
    "inbox",
    METADATA,
    Column("update_id", BigInteger, primary_key=True),
    Column("body", Text),  # as Telegram sent it, until it is handled
    Column("received_at", Double, nullable=False),
    Column(
        "tries", Integer, nullable=False
    ),  # how often it was begun after it had been left undone
)
