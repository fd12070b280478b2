"""The samples of one run on disk: what was asked for, every answer, and every attempt that failed. Nothing is changed.

One SQLite file with a write-ahead log, as for judges' answers, and for the same reasons (`bylaw.runtime.judges.store`):
an answer is there whole or not at all when the process is killed at any moment, and several processes may work on one
file. JSON Lines with an fsync for each line would need a disk's round trip for each sample, a repair of the last line
after each crash and a scan of everything before each start; and two processes would write into each other's lines.

There is no mark for "begun": a sample is there or it is to be asked for. What failed is kept beside it, since an audit
has to know how many answers are missing, why, and how many came only at a second attempt.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bylaw.runtime.judges.store import Answer, AnswerStore
from bylaw.runtime.running.plan import Plan, Prompt, RunningError

_ANSWERS = """
create table if not exists answers (
    key text primary key not null, text text not null, model text not null, finish_reason text not null,
    tokens_in integer not null, tokens_out integer not null, attempts integer not null
) without rowid, strict
"""
_PLANS = """
create table if not exists plans (
    number integer primary key, settings text not null, epochs integer not null, prompts text not null
) strict
"""
_FAILURES = """
create table if not exists failures (
    number integer primary key, key text not null, is_end integer not null, why text not null, reason text not null,
    tokens_in integer not null, tokens_out integer not null
) strict
"""
SETTLED = frozenset({"filtered", "input", "parse", "refusal"})
"""Reasons that lie in what is asked and answered, not in the way there. Asking again and again until something else
comes would choose among the model's answers, so it is done only when somebody says so."""
_PARAMETERS = 500


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no answer. `why`: a class of reasons, see `bylaw.runtime.scorers.interface.Why`."""

    why: str
    reason: str


class RunStore(AnswerStore):
    """The file of a run. Threads share one; processes may have the same file open. Raises as `AnswerStore` does."""

    application = 0x62796C73  # "byls"
    version = 1
    tables = (_ANSWERS, _PLANS, _FAILURES)
    holds = "samples"

    def plan(self) -> Plan | None:
        """What the file is for; None where nothing was begun."""
        with self._told(), self._lock:
            row = self._connection.execute(
                "select settings, epochs, prompts from plans order by number desc limit 1"
            ).fetchone()
        if row is None:
            return None
        return Plan(tuple(_prompt(each) for each in json.loads(row[2])), int(row[1]), json.loads(row[0]))

    def begin(self, plan: Plan) -> None:
        """Says what the file is for. A run that goes on may have more prompts and more epochs, and nothing else.

        Raises RunningError with what is different.
        """
        self.require(plan)
        prompts = [[each.id, each.messages, each.facts, each.occurrence] for each in plan.prompts]
        written = json.dumps(dict(plan.settings)), plan.epochs, json.dumps(prompts)
        with self._told(), self._lock:
            last = "select settings, epochs, prompts from plans order by number desc limit 1"
            if self._connection.execute(last).fetchone() != written:
                self._connection.execute("insert into plans (settings, epochs, prompts) values (?, ?, ?)", written)

    def require(self, plan: Plan) -> None:
        """Raises RunningError where the file is for something else."""
        before = self.plan()
        if before is not None:
            _require_same(before, plan, self.path)

    def put_all(self, answers: Iterable[tuple[str, Answer]], failures: Iterable[tuple[str, Failure]] = ()) -> None:
        """Stores several answers and final failures together: after a kill all are there or none."""
        rows = [
            (key, a.text, a.model, a.finish_reason, a.tokens_in, a.tokens_out, a.attempts) for key, a in answers
        ]  # fmt: skip
        ends = [(key, 1, failure.why, failure.reason, 0, 0) for key, failure in failures]
        with self._told(), self._lock:
            self._connection.execute("begin immediate")
            try:
                self._connection.executemany(
                    "insert into answers values (?, ?, ?, ?, ?, ?, ?) on conflict (key) do nothing", rows
                )
                self._connection.executemany(_FAIL, ends)
            except BaseException:
                self._connection.execute("rollback")
                raise
            self._connection.execute("commit")

    def fail(self, key: str, failure: Failure, *, is_end: bool, tokens: tuple[int, int] = (0, 0)) -> None:
        """Adds an attempt that brought nothing or, with `is_end`, that no more are made. `tokens`: in and out."""
        with self._told(), self._lock:
            self._connection.execute(_FAIL, (key, int(is_end), failure.why, failure.reason, *tokens))

    def answers(self, keys: Sequence[str]) -> dict[str, Answer]:
        """The answers that are there, by key."""
        found: dict[str, Answer] = {}
        for first in range(0, len(keys), _PARAMETERS):
            part = keys[first : first + _PARAMETERS]
            marks = ",".join("?" * len(part))
            with self._told(), self._lock:
                rows = self._connection.execute(
                    "select key, text, model, finish_reason, tokens_in, tokens_out, attempts from answers "
                    f"where key in ({marks})", part,
                ).fetchall()  # fmt: skip
            found.update((row[0], Answer(*row[1:])) for row in rows)
        return found

    def failures(self) -> dict[str, Failure]:
        """For each key that ever came to its end without an answer: why, the last time."""
        with self._told(), self._lock:
            rows = self._connection.execute(
                "select key, why, reason from failures where is_end = 1 order by number"
            ).fetchall()
        return {key: Failure(why, reason) for key, why, reason in rows}

    def attempts_failed(self) -> dict[str, tuple[int, int, int]]:
        """For each key with attempts that brought nothing: how many, and their tokens in and out."""
        with self._told(), self._lock:
            rows = self._connection.execute(
                "select key, count(*), sum(tokens_in), sum(tokens_out) from failures where is_end = 0 group by key"
            ).fetchall()
        return {key: (count, tokens_in, tokens_out) for key, count, tokens_in, tokens_out in rows}


_FAIL = "insert into failures (key, is_end, why, reason, tokens_in, tokens_out) values (?, ?, ?, ?, ?, ?)"


def open_store(path: Path, *, must_exist: bool = False) -> RunStore:
    """The store in a file. Raises RunningError where it has to exist and does not, or its folder does not."""
    if must_exist and not path.is_file():
        raise RunningError(f"there is no file of samples `{path}`")
    if must_exist and path.stat().st_size == 0:
        raise RunningError(f"nothing was asked for yet in `{path}`")
    if not path.parent.is_dir():
        raise RunningError(f"samples cannot be kept in `{path}`: there is no folder `{path.parent}`")
    return RunStore(path)


def _prompt(value: Sequence[object]) -> Prompt:
    identifier, messages, facts, occurrence = value
    assert isinstance(messages, list)
    assert isinstance(facts, list)
    assert isinstance(occurrence, int)
    return Prompt(
        str(identifier), tuple(messages), tuple((name, fact) for name, fact in facts),
        occurrence,
    )  # fmt: skip


def _require_same(before: Plan, now: Plan, path: Path) -> None:
    names = {**before.settings, **now.settings}
    other = [name for name in names if before.settings.get(name) != now.settings.get(name)]
    if other:
        told = ", ".join(
            f"{name} ({_shown(before.settings, name)}, now {_shown(now.settings, name)})" for name in other
        )
        raise RunningError(f"the samples in `{path}` were asked for with other settings: {told}; name another file")
    if now.epochs < before.epochs:
        raise RunningError(
            f"`{path}` is for {before.epochs} answers to each prompt, and {now.epochs} are fewer: name another file"
        )
    gone = {each.digest: each.id for each in before.prompts}
    for each in now.prompts:
        gone.pop(each.digest, None)
    if gone:
        first = next(iter(gone.values()))
        raise RunningError(
            f"{len(gone)} of the {len(before.prompts)} prompts of `{path}` are no longer asked (`{first}` first): a "
            "run may get more prompts, not others; name another file"
        )


def _shown(settings: Mapping[str, object], name: str) -> str:
    text = str(settings.get(name, "nothing"))
    return text if len(text) <= 40 else f"{text[:12]}…"
