"""The steps of `bylaw audit`, in order: read the texts, score them, measure, and what the others add to that."""

from __future__ import annotations

import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bylaw.runtime.cli.scoring import (
    announce,
    require_other_judges,
    say_scores,
    scoring_refused,
)
from bylaw.runtime.cli.shared import UNUSABLE, fail

if TYPE_CHECKING:
    from bylaw.compiler.pipeline import Compiled
    from bylaw.compiler.program import RewardProgram
    from bylaw.runtime.audit.audit import Audited
    from bylaw.runtime.audit.columns import VerdictColumns
    from bylaw.runtime.audit.inputs import ColumnNames, Transcripts
    from bylaw.runtime.cli.audit_ray import Engine
    from bylaw.runtime.cli.audit_stopping import Stopping
    from bylaw.runtime.record import AuditRecord, InputProblem
    from bylaw.runtime.scorers.asking import ScoringRecord
    from bylaw.runtime.scorers.build import Scorers
    from bylaw.spec.trace import Trace

MAXIMUM_PROBLEMS_SHOWN = 20
SAMPLES = ".samples"
"""The ending of what `bylaw sample` keeps its samples in."""

_HELD_BYTES = 32_000_000
"""Files up to this size are read once and held; larger ones are read as they are audited, and again where a report
shows texts."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be audited, and how. `wanted`: (rule, column, labels that say it is broken); `examples`: findings that
    are kept of each rule."""

    compiled: Compiled
    transcripts: str
    columns: ColumnNames
    scorers: Scorers
    wanted: tuple[tuple[str, str, tuple[str, ...]], ...] = ()
    examples: int = 5
    engine: Engine | None = None
    workers: int = 1
    stopping: Stopping | None = None

    @property
    def program(self) -> RewardProgram:
        """The rules."""
        return self.compiled.require()


@dataclass(frozen=True, slots=True)
class Measured:
    """An audit with what later steps and reports need.

    `traces` are the transcripts with the scores of concepts; they can be iterated several times (a large file is then
    read again each time), and have no length. A step gives back `replace(measured, record=...)`.
    """

    request: Request
    record: AuditRecord
    columns: VerdictColumns
    traces: Iterable[Trace]
    scoring: ScoringRecord | None = None


@dataclass(frozen=True, slots=True)
class Texts:
    """Transcripts that can be iterated several times; `problems` is asked for when they have come. `total` and `done`
    say how far an audit has come: transcripts, or bytes of the file."""

    traces: Iterable[Trace]
    problems: Callable[[], Sequence[InputProblem]]
    total: int
    done: Callable[[int], int]


def measure_or_exit(request: Request) -> Measured:
    """Reads, scores and measures; what cannot be used is one message and exit code 2."""
    stopped = None
    with _refusals():
        if request.engine is not None:
            audited, scored, scoring = _on_ray(request, request.engine)
        elif request.stopping is not None:
            from bylaw.runtime.cli.audit_stopping import stop_or_exit

            texts = _texts(request)
            traces, scoring, stopped = stop_or_exit(
                request.program, request.scorers, tuple(texts.traces), request.stopping
            )
            scored = replace(texts, traces=traces, total=len(traces), done=lambda done: done)
            audited = _audited(request, scored)
        else:
            scored, scoring = _scored(request, _texts(request))
            audited = _audited(request, scored)
        record = _with_agreements(request, audited.record, scored.traces)
    if stopped is not None:
        from bylaw.runtime.audit.stopping import with_stopping

        record = with_stopping(record, stopped)
    concepts = () if scoring is None else scoring.concepts
    measured = Measured(request, replace(record, scoring=concepts), audited.columns, scored.traces, scoring)
    _warn(measured.record)
    return measured


@contextmanager
def _refusals() -> Iterator[None]:
    from bylaw.runtime.audit.agreement import LabelError
    from bylaw.runtime.audit.inputs import TranscriptError

    try:
        yield
    except (TranscriptError, LabelError) as error:
        fail(str(error), UNUSABLE)


# ---------------------------------------------------------------------------------------------------------- the texts
def _texts(request: Request) -> Texts:
    """The transcripts: held, or read anew each time where the file is large and nothing is scored by asking others."""
    from bylaw.runtime.audit.inputs import Transcripts as Read
    from bylaw.runtime.audit.transcripts import stream_transcripts

    path = Path(request.transcripts)
    if path.suffix.lower() == SAMPLES and not path.is_dir():
        from bylaw.runtime.running.export import read_samples

        return _held(read_samples(path))
    stream = stream_transcripts(path, columns=request.columns)
    if request.scorers.by_concept or not _is_large(path):
        traces = tuple(stream)
        return _held(Read(traces, stream.problems))
    size = 0 if path.is_dir() else path.stat().st_size
    return Texts(stream, lambda: stream.problems, size, lambda _: stream.position)


def _held(read: Transcripts) -> Texts:
    return Texts(read.traces, lambda: read.problems, len(read.traces), lambda done: done)


def _is_large(path: Path) -> bool:
    """Whether a file, or all of a folder, is too large to be held. What is no plain file can be read only once."""
    try:
        if path.is_dir():
            return sum(each.stat().st_size for each in path.rglob("*") if each.is_file()) > _HELD_BYTES
        found = path.stat()
    except OSError:
        return False  # reading it says what is wrong
    return stat.S_ISREG(found.st_mode) and found.st_size > _HELD_BYTES


def _scored(request: Request, texts: Texts) -> tuple[Texts, ScoringRecord | None]:
    """The texts with what scorers say of them, and what is to be said of that."""
    if not request.scorers.by_concept:
        return texts, None
    from bylaw.runtime.cli.sampling import Bars
    from bylaw.runtime.scorers.asking import score_traces

    traces = tuple(texts.traces)
    require_other_judges(request.scorers, traces)
    with scoring_refused(), Bars(is_quiet=True) as bars:
        scored, record = score_traces(request.program, traces, request.scorers, bars, announce=announce)
    say_scores(record)
    return replace(texts, traces=scored), record


# ---------------------------------------------------------------------------------------------------------- measuring
def _audited(request: Request, texts: Texts) -> Audited:
    if request.workers > 1 and request.scorers.by_concept:
        announce("texts whose concepts were scored are measured by one process: --workers is of no use here")
    elif request.workers > 1:
        from bylaw.runtime.cli.audit_scale import measure_by_workers

        with _bar(texts.total) as tell:
            return measure_by_workers(
                request.compiled, texts.traces, request.workers, source=request.transcripts, problems=texts.problems,
                progress=lambda done, place: tell(place or texts.done(done)), examples=request.examples,
            )  # fmt: skip
    from bylaw.runtime.audit.audit import measure

    with _bar(texts.total) as tell:
        return measure(
            request.program, texts.traces, source=request.transcripts, policy=request.compiled.source,
            problems=texts.problems, progress=lambda done, _: tell(texts.done(done)), max_findings=request.examples,
        )  # fmt: skip


def _on_ray(request: Request, engine: Engine) -> tuple[Audited, Texts, None]:
    """The audit on a cluster; the texts are read here only for reports that show them."""
    from bylaw.runtime.audit.transcripts import stream_transcripts
    from bylaw.runtime.cli.audit_ray import audited_or_exit

    if request.workers > 1:
        raise click.UsageError("--workers is for this machine: with --engine ray the cores of the cluster are used")
    if request.scorers.by_concept:
        fail(
            "rules of this policy hang on what texts express, which is not scored on Ray: leave out --engine", UNUSABLE
        )
    audited = audited_or_exit(request.compiled, request.transcripts, request.columns, request.examples, engine)
    stream = stream_transcripts(request.transcripts, columns=request.columns)
    return audited, Texts(stream, lambda: stream.problems, 0, lambda _: 0), None


@contextmanager
def _bar(total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr, where that is a terminal, and what tells it how much of `total` is done."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn

    with Progress(
        SpinnerColumn(),
        *Progress.get_default_columns(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    ) as bar:
        task = bar.add_task("auditing", total=total or None)
        yield lambda done: bar.update(task, completed=done)


def _with_agreements(request: Request, record: AuditRecord, traces: Iterable[Trace]) -> AuditRecord:
    from bylaw.runtime.audit.agreement import agreement, labellers

    program = request.program
    found = (agreement(program.term(name), traces, column, labels) for name, column, labels in request.wanted)
    by_rule: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
    for name, column, labels in request.wanted:
        by_rule.setdefault(name, []).append((column, labels))
    people = (labellers(program.term(name), traces, given) for name, given in by_rule.items() if len(given) > 1)
    return replace(record, agreements=tuple(found), labellers=tuple(people))


def comparison_of(text: str, program: RewardProgram) -> tuple[str, str, tuple[str, ...]]:
    """`RULE=COLUMN:LABEL,LABEL` of `--compare`. Raises click.BadParameter."""
    rule, equals, rest = text.partition("=")
    column, colon, labels = rest.partition(":")
    if not equals or not colon or not labels:
        raise click.BadParameter("write it as RULE=COLUMN:LABEL,LABEL", param_hint="--compare")
    known = [term.id for term in program.terms]
    if rule not in known:
        from bylaw.runtime.audit.inputs import suggestion

        words = f"there is no rule `{rule}`; rules here: {', '.join(known)}{suggestion(rule, known)}"
        raise click.BadParameter(words, param_hint="--compare")
    return rule, column, tuple(label.strip() for label in labels.split(","))


def _warn(record: AuditRecord) -> None:
    for problem in record.problems[:MAXIMUM_PROBLEMS_SHOWN]:
        click.echo(f"warning: {problem.source}, line {problem.line}: {problem.message}; left out", err=True)
    rest = len(record.problems) - MAXIMUM_PROBLEMS_SHOWN
    if rest > 0:
        click.echo(f"warning: {rest} more parts of the input were left out", err=True)
