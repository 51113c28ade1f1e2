"""Messages that wait for their receivers, in a file of the agent's home directory.

Written when an event is emitted, so a message survives a kill of the agent, and is sent at least once. The
key of a message stays after it was sent: the same event, reported again after a restart, is not sent again.
The newest result of each receiver stays, too. A call takes a fraction of a millisecond. The file is used by
one process.
"""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

log = structlog.get_logger()

_SCHEMA = """
CREATE TABLE IF NOT EXISTS messages (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  receiver TEXT NOT NULL,
  key TEXT NOT NULL,
  body TEXT,
  created_at REAL NOT NULL,
  due_at REAL NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0,
  UNIQUE (receiver, key)
);
CREATE INDEX IF NOT EXISTS waiting ON messages (receiver, id) WHERE body IS NOT NULL;
CREATE TABLE IF NOT EXISTS outcomes (
  receiver TEXT NOT NULL,
  succeeded INTEGER NOT NULL,
  at REAL NOT NULL,
  key TEXT NOT NULL,
  error TEXT NOT NULL,
  PRIMARY KEY (receiver, succeeded)
);
CREATE TABLE IF NOT EXISTS threads (
  receiver TEXT NOT NULL, thread TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (receiver, thread)
);
"""


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A message that was not sent yet. Times are epoch seconds; `attempts` have failed."""

    id: int
    key: str
    body: str
    created_at: float
    due_at: float
    attempts: int


@dataclass(frozen=True, kw_only=True)
class Result:
    """An attempt to send to a receiver. `error` is empty if it succeeded."""

    at: float
    key: str
    error: str


def _open(file: Path) -> sqlite3.Connection:
    """A file that is damaged is put aside: it must not keep the agent from starting."""
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        return _connect(file)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise
        damaged = file.with_suffix(".damaged")
        log.warning("notifications_damaged", file=str(file), moved_to=str(damaged), error=str(error))
        file.replace(damaged)
        for suffix in ("-wal", "-shm"):
            file.with_name(file.name + suffix).unlink(missing_ok=True)
        return _connect(file)


def _connect(file: Path) -> sqlite3.Connection:
    database = sqlite3.connect(file)
    try:
        # A kill of the process loses nothing; a crash of the machine at most the last messages.
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=NORMAL")
        database.executescript(_SCHEMA)
    except sqlite3.DatabaseError:
        database.close()
        raise
    return database


class Outbox:
    def __init__(self, file: Path, *, max_waiting: int, max_keys: int) -> None:
        """`max_waiting` messages wait for one receiver, and `max_keys` keys of sent ones are remembered."""
        self._max_waiting, self._max_keys = max_waiting, max_keys
        self._database = _open(file)

    def close(self) -> None:
        self._database.close()

    def add(self, receiver: str, key: str, body: str, now: float) -> int:
        """Returns how many older messages were given up for it. A key that was added before is ignored."""
        with self._database:
            self._database.execute(
                "INSERT OR IGNORE INTO messages (receiver, key, body, created_at, due_at)"
                " VALUES (?, ?, ?, ?, ?)",
                (receiver, key, body, now, now),
            )
            lost = self._database.execute(
                "UPDATE messages SET body = NULL WHERE id IN (SELECT id FROM messages"
                " WHERE receiver = ? AND body IS NOT NULL ORDER BY id DESC LIMIT -1 OFFSET ?)",
                (receiver, self._max_waiting),
            ).rowcount
            self._database.execute(
                "DELETE FROM messages WHERE id <= (SELECT max(id) FROM messages) - ? AND body IS NULL",
                (self._max_keys,),
            )
        return lost

    def next(self, receiver: str) -> Waiting | None:
        """The oldest message that waits, whether or not it is due: messages are sent in their order."""
        row = self._database.execute(
            "SELECT id, key, body, created_at, due_at, attempts FROM messages"
            " WHERE receiver = ? AND body IS NOT NULL ORDER BY id LIMIT 1",
            (receiver,),
        ).fetchone()
        if row is None:
            return None
        identity, key, body, created_at, due_at, attempts = row
        return Waiting(
            id=identity, key=key, body=body, created_at=created_at, due_at=due_at, attempts=attempts
        )

    def count(self, receiver: str) -> int:
        query = "SELECT count(*) FROM messages WHERE receiver = ? AND body IS NOT NULL"
        return int(self._database.execute(query, (receiver,)).fetchone()[0])

    def finish(self, receiver: str, message: Waiting, now: float, *, error: str = "") -> None:
        """The message was sent or, with an error, is given up."""
        with self._database:
            self._database.execute("UPDATE messages SET body = NULL WHERE id = ?", (message.id,))
            self._record(receiver, message.key, now, error)

    def record(self, receiver: str, key: str, now: float, *, error: str = "") -> None:
        """The result of a message that is not in the file, such as a test message."""
        with self._database:
            self._record(receiver, key, now, error)

    def postpone(self, receiver: str, message: Waiting, now: float, *, due_at: float, error: str) -> None:
        with self._database:
            self._database.execute(
                "UPDATE messages SET due_at = ?, attempts = attempts + 1 WHERE id = ?", (due_at, message.id)
            )
            self._record(receiver, message.key, now, error)

    def _record(self, receiver: str, key: str, now: float, error: str) -> None:
        self._database.execute(
            "INSERT OR REPLACE INTO outcomes VALUES (?, ?, ?, ?, ?)",
            (receiver, int(not error), now, key, error[:1000]),
        )

    def results(self) -> Mapping[str, Result]:
        """The newest result of each receiver."""
        rows = self._database.execute("SELECT receiver, at, key, error FROM outcomes ORDER BY at, rowid")
        return {receiver: Result(at=at, key=key, error=error) for receiver, at, key, error in rows}

    def last(self, receiver: str, *, succeeded: bool) -> Result | None:
        """The newest attempt that succeeded, or that failed."""
        row = self._database.execute(
            "SELECT at, key, error FROM outcomes WHERE receiver = ? AND succeeded = ?",
            (receiver, int(succeeded)),
        ).fetchone()
        return Result(at=row[0], key=row[1], error=row[2]) if row else None

    def thread(self, receiver: str, thread: str) -> str:
        """What `set_thread` stored, or empty."""
        query = "SELECT id FROM threads WHERE receiver = ? AND thread = ?"
        row = self._database.execute(query, (receiver, thread)).fetchone()
        return str(row[0]) if row else ""

    def set_thread(self, receiver: str, thread: str, identity: str) -> None:
        with self._database:
            self._database.execute(
                "INSERT OR REPLACE INTO threads VALUES (?, ?, ?)", (receiver, thread, identity)
            )
            self._database.execute(
                "DELETE FROM threads WHERE rowid <= (SELECT max(rowid) FROM threads) - ?", (self._max_keys,)
            )
