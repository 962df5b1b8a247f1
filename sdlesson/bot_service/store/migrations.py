"""From the tables that an older bot has left to those of this one, step by step.

A list of SQL statements, not Alembic: the bot itself brings its database up to date when it
starts, so that a beginner has no second command to know; and a handful of steps on two databases
need no folder of scripts. A step that was released is never changed: a new one is added.
"""

from __future__ import annotations

import time

from sqlalchemy import Connection, text

# Of what the two databases call differently: {blob}.
STEPS: tuple[tuple[str, ...], ...] = (
    (  # 1: the store
        "CREATE TABLE users (user_id BIGINT PRIMARY KEY, language TEXT, defaults TEXT,"
        " consented INTEGER NOT NULL, as_file INTEGER NOT NULL,"
        " bucket_tokens DOUBLE PRECISION, bucket_at DOUBLE PRECISION)",
        "CREATE TABLE bans (user_id BIGINT PRIMARY KEY, banned_by BIGINT NOT NULL,"
        " banned_at DOUBLE PRECISION NOT NULL)",
        "CREATE TABLE spent (user_id BIGINT NOT NULL, day TEXT NOT NULL,"
        " pictures INTEGER NOT NULL, PRIMARY KEY (user_id, day))",
        "CREATE TABLE jobs (id TEXT PRIMARY KEY, update_id BIGINT, part INTEGER,"
        " user_id BIGINT NOT NULL, chat_id BIGINT NOT NULL, thread_id BIGINT,"
        " language TEXT NOT NULL, request TEXT NOT NULL, photo {blob}, seed BIGINT,"
        " state TEXT NOT NULL, told INTEGER NOT NULL, status_id BIGINT,"
        " created_at DOUBLE PRECISION NOT NULL, started_at DOUBLE PRECISION,"
        " ended_at DOUBLE PRECISION)",
        "CREATE UNIQUE INDEX jobs_by_update ON jobs (update_id, part)",
        "CREATE INDEX jobs_by_user ON jobs (user_id, created_at)",
        "CREATE INDEX jobs_by_state ON jobs (state)",
        "CREATE TABLE buttons (token TEXT PRIMARY KEY, user_id BIGINT NOT NULL,"
        " request TEXT NOT NULL, photo {blob}, created_at DOUBLE PRECISION NOT NULL)",
        "CREATE INDEX buttons_by_user ON buttons (user_id)",
        "CREATE TABLE inbox (update_id BIGINT PRIMARY KEY, body TEXT,"
        " received_at DOUBLE PRECISION NOT NULL, tries INTEGER NOT NULL)",
    ),
    (  # 2: logins
        "CREATE TABLE enrolments (user_id BIGINT PRIMARY KEY, name TEXT NOT NULL,"
        " salt TEXT NOT NULL, last_step BIGINT NOT NULL,"
        " allowed_until DOUBLE PRECISION NOT NULL, wrong INTEGER NOT NULL,"
        " wrong_at DOUBLE PRECISION NOT NULL, enrolled_at DOUBLE PRECISION NOT NULL)",
    ),
    (  # 3: several models, and thumbs for what they draw
        "ALTER TABLE users ADD COLUMN model TEXT",
        "ALTER TABLE users ADD COLUMN lora TEXT",
        "ALTER TABLE jobs ADD COLUMN model TEXT",
        "ALTER TABLE jobs ADD COLUMN lora TEXT",
        "ALTER TABLE jobs ADD COLUMN by_lot INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE jobs ADD COLUMN button TEXT",
        "ALTER TABLE jobs ADD COLUMN seconds DOUBLE PRECISION",
        "CREATE TABLE votes (job_id TEXT NOT NULL, user_id BIGINT NOT NULL,"
        " is_up INTEGER NOT NULL, voted_at DOUBLE PRECISION NOT NULL,"
        " PRIMARY KEY (job_id, user_id))",
        "CREATE INDEX votes_by_user ON votes (user_id)",
    ),
)

LOCK = 7_305_161  # any number: two bots that start at once on PostgreSQL take turns by it


class NewerDatabaseError(RuntimeError):
    """A newer bot has used this database; this one would spoil what it does not know of."""


def migrate(connection: Connection) -> int:
    """Bring the tables up to date, in the transaction of the connection.

    Returns:
        How many steps were taken.

    Raises:
        NewerDatabaseError: The database is ahead of this bot.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
    connection.execute(
        text(
            "CREATE TABLE IF NOT EXISTS migrations"
            " (step INTEGER PRIMARY KEY, taken_at DOUBLE PRECISION NOT NULL)"
        )
    )
    taken = connection.execute(text("SELECT COALESCE(MAX(step), 0) FROM migrations")).scalar_one()
    if taken > len(STEPS):
        raise NewerDatabaseError(
            f"the database is at step {taken}, and this bot knows {len(STEPS)}; start the newer "
            "bot again, or give this one another database_url"
        )
    blob = "BYTEA" if connection.dialect.name == "postgresql" else "BLOB"
    for number, statements in enumerate(STEPS[taken:], taken + 1):
        for statement in statements:
            connection.execute(text(statement.format(blob=blob)))
        connection.execute(
            text("INSERT INTO migrations VALUES (:step, :now)"),
            {"step": number, "now": time.time()},
        )
    return len(STEPS) - taken
