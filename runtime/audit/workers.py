"""Audits in several processes: the texts go out in chunks, what was seen of each comes back in order.

The result is that of one process, bit for bit. JSON Lines are cut into blocks of whole lines, which the workers decode
themselves; of other files the transcripts are sent. A worker that dies is replaced and its chunk done again; a chunk
that has ended several workers ends the audit. Workers do not see Ctrl-C: the process that gives out the work does.
"""

from __future__ import annotations

import io
import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext, SpawnProcess
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from bylaw.compiler.program import RewardProgram, from_json, to_json
from bylaw.runtime.audit.inputs import ColumnNames, Limits, Lines, TranscriptError, quote
from bylaw.runtime.audit.tally import Tallied, Tallier, batches
from bylaw.runtime.audit.transcripts import (
    ProblemList,
    TranscriptStream,
    json_lines,
    nothing_to_read,
)
from bylaw.spec.trace import Message, Trace

BLOCK_BYTES: Final = 4_000_000
"""Bytes of one block of lines, about."""
_MOST_TRIES: Final = 3
_AHEAD: Final = 3
"""Chunks for each worker that may be done before their turn, so that what waits is bounded."""
_LINES: Final = (".jsonl", ".ndjson")


class WorkerError(Exception):
    """Workers that died or failed; text fit for users."""


@dataclass(frozen=True, slots=True)
class Block:
    """Whole lines of a file; `before` is how many lines came before, `end` the place in the file behind them."""

    data: bytes
    before: int
    end: int


Packed: TypeAlias = tuple[tuple[tuple[Any, ...], ...], dict[str, Any], str]
Chunk: TypeAlias = Block | tuple[Packed, ...]


@dataclass(frozen=True, slots=True)
class Setup:
    """What a worker has to know: the program as JSON, and how a file is read."""

    program: str
    most_findings: int
    shown: str
    columns: ColumnNames
    limits: Limits


@dataclass(frozen=True, slots=True)
class Done:
    """A chunk: what was seen of it, its problems as (line, words), and how many more came up to line `last`."""

    tallied: Tallied
    problems: tuple[tuple[int, str], ...] = ()
    more: int = 0
    last: int = 0


def tallied_by_workers(
    program: RewardProgram,
    traces: Iterable[Trace],
    workers: int,
    *,
    most_findings: int,
    problems: ProblemList | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Tallied]:
    """What `workers` processes see of the traces, in order, for `gather`.

    A stream of JSON Lines is not decoded here: what cannot be read in it goes to `problems`. `progress` is told
    (transcripts, bytes of the file) that are done. Raises WorkerError, and what reading raises.
    """
    reads_lines = isinstance(traces, TranscriptStream) and traces.path.suffix.lower() in _LINES
    if isinstance(traces, TranscriptStream) and reads_lines and not traces.path.is_dir():
        path, columns, limits = traces.path, traces.columns, traces.limits
        chunks: Iterator[Chunk] = blocks(path, limits)
    else:
        path, columns, limits = None, ColumnNames(), Limits()
        chunks = (tuple(map(_packed, batch)) for batch in batches(traces))
    setup = Setup(to_json(program), most_findings, "" if path is None else path.name, columns, limits)
    kept = ProblemList("", limits.problems) if problems is None else problems
    count = 0
    with crew_of(workers, setup) as crew:
        for chunk, done in crew.in_order(chunks):
            for line, words in done.problems:
                kept.add(str(path), line, words)
            if done.more:
                kept.count(str(path), done.last, done.more)
            count += done.tallied.count
            if progress is not None:
                progress(count, chunk.end if isinstance(chunk, Block) else 0)
            if done.tallied.count:
                yield done.tallied
    if path is not None and not count:
        raise nothing_to_read(path, kept.found(), "transcript")


# -------------------------------------------------------------------------------------------------------- the texts
def blocks(path: Path, limits: Limits, size: int = BLOCK_BYTES) -> Iterator[Block]:
    """The file in blocks of whole lines. Of a line over the limit only so much is kept as shows that it is.

    Raises TranscriptError for a file that cannot be read or is over its limit.
    """
    before = read = 0
    try:
        with path.open("rb") as file:
            while data := file.read(size):
                read += len(data)
                if not data.endswith(b"\n"):
                    rest = file.readline(limits.line_bytes + 1)
                    read += len(rest)
                    data += rest
                    while rest and not rest.endswith(b"\n"):
                        rest = file.readline(limits.line_bytes + 1)
                        read += len(rest)
                        if rest.endswith(b"\n"):
                            data += b"\n"
                if read > limits.file_bytes:
                    raise TranscriptError(f"the file is larger than {limits.file_bytes:,} bytes; split it")
                yield Block(data, before, read)
                before += data.count(b"\n")
    except OSError as error:
        raise TranscriptError(f"{quote(str(path))} cannot be read: {error.strerror or error}") from error


def _packed(trace: Trace) -> Packed:
    """A transcript as what can be sent. Scores of concepts do not go along."""
    messages = tuple((each.role, each.content, each.tool, each.arguments) for each in trace.messages)
    return messages, dict(trace.facts), trace.id


def _unpacked(packed: Packed) -> Trace:
    messages, facts, name = packed
    return Trace(tuple(Message(*each) for each in messages), MappingProxyType(facts), name)


# --------------------------------------------------------------------------------------------------------- a worker
def _serve(connection: Connection, setup: Setup) -> None:
    """The whole life of a worker: a chunk in, what was seen of it out, until nobody is there any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tallier = Tallier(from_json(setup.program).terms, setup.most_findings)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            chunk = connection.recv()
            try:
                answer: Done | str = _done(tallier, chunk, setup)
            except Exception as error:  # told to the one who asked: there it ends the audit
                answer = f"{type(error).__name__}: {error}"
            connection.send(answer)


def _done(tallier: Tallier, chunk: Chunk, setup: Setup) -> Done:
    if not isinstance(chunk, Block):
        return Done(tallier.part(map(_unpacked, chunk)))
    problems: list[tuple[int, str]] = []
    more = last = 0

    def traces() -> Iterator[Trace]:
        nonlocal more, last
        lines = Lines(io.BytesIO(chunk.data), setup.limits, chunk.before)
        for line, item in json_lines(lines, setup.columns, setup.limits, setup.shown, answered=True):
            if isinstance(item, Trace):
                yield item
            elif len(problems) < setup.limits.problems:
                problems.append((line, item))
            else:
                more, last = more + 1, line

    tallied = tallier.part(traces())
    return Done(tallied, tuple(problems), more, last)


# -------------------------------------------------------------------------------------------------------- all of them
@dataclass(slots=True)
class _Worker:
    process: SpawnProcess
    connection: Connection
    job: int | None = None


@dataclass(slots=True)
class Crew:
    """Processes that work on chunks; made by `crew_of`."""

    workers: list[_Worker]
    setup: Setup
    context: SpawnContext
    replaced: int = 0
    _chunks: dict[int, Chunk] = field(default_factory=dict)
    _tries: dict[int, int] = field(default_factory=dict)

    def in_order(self, chunks: Iterator[Chunk]) -> Iterator[tuple[Chunk, Done]]:
        """Each chunk with what was seen of it, in order. Raises WorkerError, and what `chunks` raises."""
        given = taken = 0
        is_more = True
        finished: dict[int, Done] = {}
        while True:
            while is_more and given - taken < _AHEAD * len(self.workers) and (idle := self._idle()) is not None:
                chunk = next(chunks, None)
                if chunk is None:
                    is_more = False
                else:
                    self._chunks[given] = chunk
                    self._give(idle, given)
                    given += 1
            if not self._chunks:
                return
            while taken in finished:
                done = finished.pop(taken)
                yield self._chunks.pop(taken), done
                taken += 1
            if taken < given and taken not in finished:
                finished.update(self._answers())

    def _idle(self) -> int | None:
        return next((place for place, each in enumerate(self.workers) if each.job is None), None)

    def _give(self, place: int, number: int) -> None:
        worker = self.workers[place]
        worker.job = number
        # a worker that is gone is seen when its answer is asked for
        with suppress(BrokenPipeError, ConnectionResetError):
            worker.connection.send(self._chunks[number])

    def _answers(self) -> dict[int, Done]:
        """What some workers have finished; waits for at least one of them, or for the end of one."""
        busy = {each.connection: place for place, each in enumerate(self.workers) if each.job is not None}
        found: dict[int, Done] = {}
        for connection in wait(list(busy)):
            place = busy[connection]  # type: ignore[index]
            number = self.workers[place].job
            assert number is not None
            try:
                answer = self.workers[place].connection.recv()
            except (EOFError, ConnectionResetError, BrokenPipeError):
                self._replace(place, number)
                continue
            if isinstance(answer, str):
                raise WorkerError(f"a worker failed: {answer}")
            found[number] = answer
            self.workers[place].job = None
        return found

    def _replace(self, place: int, number: int) -> None:
        """Another worker in the place of one that died, with its chunk."""
        dead = self.workers[place]
        dead.connection.close()
        dead.process.terminate()
        dead.process.join()
        self.replaced += 1
        self._tries[number] = self._tries.get(number, 1) + 1
        if self._tries[number] > _MOST_TRIES:
            raise WorkerError(
                f"{_MOST_TRIES} workers died over the same texts (the last with {_ending(dead.process.exitcode)}): "
                "there may be too little memory; try fewer --workers"
            )
        self.workers[place] = _start(self.context, self.setup)
        self._give(place, number)


@contextmanager
def crew_of(count: int, setup: Setup) -> Iterator[Crew]:
    """`count` workers, which are gone afterwards however it ends."""
    context = multiprocessing.get_context("spawn")
    crew = Crew([], setup, context)
    try:
        for _ in range(count):
            crew.workers.append(_start(context, setup))
        yield crew
    finally:
        for worker in crew.workers:
            worker.connection.close()
            worker.process.terminate()
        for worker in crew.workers:
            worker.process.join()


def _start(context: SpawnContext, setup: Setup) -> _Worker:
    own, others = context.Pipe()
    process = context.Process(target=_serve, args=(others, setup), daemon=True)
    resource_tracker.ensure_running()  # it would take off the mask below if it were started under it
    # an interrupt waits until the worker is there, which inherits that it does not see any
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    others.close()
    return _Worker(process, own)


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        with suppress(ValueError):
            return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"
