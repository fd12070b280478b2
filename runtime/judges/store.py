"""Answers of judges on disk: one SQLite file, written answer by answer.

Why SQLite with a write-ahead log, and no file for each answer or one JSON Lines file: an answer is one transaction, so
that it is there whole or not at all when the process is killed at any moment; readers do not wait for writers, so that
two audits can share the file; a lookup takes microseconds among a million answers; and nothing has to be installed.
`synchronous` is NORMAL: an answer survives `kill -9` as soon as `put` has returned; when the *machine* stops, the last
answers may be missing (they are asked for again), but the file is never damaged. A write-ahead log needs a local disk:
SQLite's locks are not reliable on network file systems (https://sqlite.org/wal.html).

Only answers and keys (hashes) are here: no prompt, no API key. Answers quote the texts that they judge, so the file can
be read by its owner alone.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bylaw.runtime.cache import cache_folder
from bylaw.runtime.judges.interface import JudgeError

_BUSY_SECONDS = 30.0
_TABLE = """
create table if not exists answers (
    key text primary key not null, text text not null, model text not null, finish_reason text not null,
    tokens_in integer not null, tokens_out integer not null, attempts integer not null
) without rowid, strict
"""


class StoreError(JudgeError):
    """The file of answers cannot be used; text fit for users."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A judge's answer. `model`: what the server says that it ran. Tokens are those of the attempt that succeeded;
    `attempts`: how often it was sent until then."""

    text: str
    model: str
    finish_reason: str
    tokens_in: int
    tokens_out: int
    attempts: int


def default_place() -> Path:
    """Where answers lie unless told otherwise: in the folder of files that only save time (and money). The file grows
    with every answer; it can be deleted whenever nothing runs."""
    return cache_folder() / "judges" / "answers.sqlite"


class AnswerStore:
    """The file of answers. Threads share one; processes may have the same file open.

    Raises StoreError here and in every method for a file that is no store of answers, of a later version, damaged, not
    writable, or locked for half a minute. Who keeps more than answers says so in the four names of the class.
    """

    application = 0x62796C77  # "bylw", in the header of the file
    version = 1
    tables: tuple[str, ...] = (_TABLE,)
    holds = "judges' answers"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._claimed: set[int] = set()
        self._claims: int | None = None
        with self._told():
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            # Autocommit: each statement is its own transaction. One connection, guarded by the lock.
            self._connection = sqlite3.connect(
                path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare()
            except BaseException:
                self._connection.close()
                raise

    def get(self, key: str) -> Answer | None:
        """The stored answer; None: there is none."""
        with self._told(), self._lock:
            row = self._connection.execute(
                "select text, model, finish_reason, tokens_in, tokens_out, attempts from answers where key = ?", (key,)
            ).fetchone()
        return None if row is None else Answer(*row)

    def put(self, key: str, answer: Answer) -> Answer:
        """Stores an answer and gives what is stored: of two processes that asked the same, both get the first answer,
        so that both report what a later run will find."""
        values = (
            key, answer.text, answer.model, answer.finish_reason, answer.tokens_in, answer.tokens_out, answer.attempts,
        )  # fmt: skip
        with self._told(), self._lock:
            row = self._connection.execute(
                "insert into answers values (?, ?, ?, ?, ?, ?, ?) on conflict (key) do nothing returning key", values
            ).fetchone()
        if row is not None:
            return answer
        return self.get(key) or answer

    def remove(self, key: str) -> None:
        """Forgets an answer."""
        with self._told(), self._lock:
            self._connection.execute("delete from answers where key = ?", (key,))

    def __len__(self) -> int:
        with self._told(), self._lock:
            return int(self._connection.execute("select count(*) from answers").fetchone()[0])

    def close(self) -> None:
        """Closes the file; the store is of no use after that."""
        with self._lock:
            self._connection.close()
            if self._claims is not None:
                os.close(self._claims)
                self._claims = None

    def claim(self, key: str) -> bool:
        """Says that this process is about to ask for a key; False: another one is at it (wait, and look again).

        A claim is a lock on one byte of a file beside the store. The system gives it back when the process ends,
        however it ends, so nothing is left of a killed one. Where there are no such locks (Windows), every claim is
        granted: two processes may then pay twice for one question, and still report one answer.
        """
        try:
            import fcntl
        except ImportError:  # pragma: no cover - Windows
            return True
        byte = int(key[:15], 16)
        with self._told(), self._lock:
            if self._claims is None:
                self._claims = os.open(self._claims_path, os.O_RDWR | os.O_CREAT, 0o600)
            if byte in self._claimed:
                return False
            try:
                fcntl.lockf(self._claims, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
            except (BlockingIOError, PermissionError):
                return False
            except OSError:
                return True  # a file system without locks is like a system without them
            self._claimed.add(byte)
            return True

    def release(self, key: str) -> None:
        """Gives a claim back."""
        try:
            import fcntl
        except ImportError:  # pragma: no cover - Windows
            return
        byte = int(key[:15], 16)
        with self._lock:
            self._claimed.discard(byte)
            if self._claims is not None:
                with suppress(OSError):
                    fcntl.lockf(self._claims, fcntl.LOCK_UN, 1, byte)

    @property
    def _claims_path(self) -> Path:
        return self.path.with_name(self.path.name + "-claims")

    def _prepare(self) -> None:
        self._connection.execute("pragma synchronous = normal")
        if (self._number("application_id"), self._number("user_version")) != (self.application, self.version):
            # One transaction: a process that makes the file at the same time sees all of it or nothing.
            self._connection.execute("begin immediate")
            try:
                self._check()
                for table in self.tables:
                    self._connection.execute(table)
                self._connection.execute(f"pragma user_version = {self.version}")
                self._connection.execute(f"pragma application_id = {self.application}")
            except BaseException:
                self._connection.execute("rollback")
                raise
            self._connection.execute("commit")
        end = time.monotonic() + _BUSY_SECONDS
        while self._connection.execute("pragma journal_mode").fetchone()[0] != "wal":
            try:
                # This statement does not wait for others that have the file open, it fails. Where there can be no such
                # log, the journal that there is keeps answers just as safe, and only makes processes wait.
                self._connection.execute("pragma journal_mode = wal")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > end:
                    raise
                time.sleep(0.01)

    def _check(self) -> None:
        application, version = self._number("application_id"), self._number("user_version")
        tables = self._connection.execute("select count(*) from sqlite_master").fetchone()[0]
        if application != self.application and (application or tables):
            raise StoreError(f"{self.path} is a database, but no store of {self.holds}: name another file")
        if application == self.application and version > self.version:
            raise StoreError(f"{self.path} was written by a later bylaw (version {version}): name another file")

    def _number(self, name: str) -> int:
        row: Any = self._connection.execute(f"pragma {name}").fetchone()
        return int(row[0])

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise StoreError(f"the {self.holds} cannot be kept in {self.path}: {error}") from error
        except sqlite3.ProgrammingError as error:
            raise StoreError(f"the store of {self.holds} {self.path} was closed before") from error
        except sqlite3.DatabaseError as error:
            raise StoreError(
                f"{self.path} is no store of {self.holds}, or it is damaged ({error}): move it away or name another "
                "file; the answers in it are asked for again"
            ) from error
        except OSError as error:
            raise StoreError(f"the {self.holds} cannot be kept in {self.path}: {error.strerror or error}") from error
