"""`--workers` of `bylaw audit`: the same audit in several processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from bylaw.runtime.cli.shared import UNUSABLE, fail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from bylaw.compiler.pipeline import Compiled
    from bylaw.runtime.audit.audit import Audited, Progress
    from bylaw.runtime.record import InputProblem
    from bylaw.spec.trace import Trace

workers_option = click.option(
    "--workers",
    default=1,
    show_default=True,
    type=click.IntRange(1, 256),
    help="Processes that score the transcripts; the result is the same. What judges are asked is not spread over them.",
)


def measure_by_workers(
    compiled: Compiled,
    traces: Iterable[Trace],
    workers: int,
    *,
    source: str,
    problems: Callable[[], Sequence[InputProblem]],
    progress: Progress,
    examples: int,
) -> Audited:
    """The audit by several processes, the same as by one; workers that fail are one message and exit code 2.

    `progress` is told (transcripts, bytes of the file) that are done; otherwise as `measure`.
    """
    from bylaw.runtime.audit.audit import gather
    from bylaw.runtime.audit.transcripts import ProblemList, TranscriptStream
    from bylaw.runtime.audit.workers import WorkerError, tallied_by_workers

    program = compiled.require()
    most = traces.limits.problems if isinstance(traces, TranscriptStream) else 0
    found = ProblemList(source, most)
    tallied = tallied_by_workers(
        program, traces, workers, most_findings=examples, problems=found, progress=progress
    )  # fmt: skip
    try:
        return gather(
            program, tallied, source=source, policy=compiled.source, max_findings=examples,
            problems=lambda: (*problems(), *found.found()),
        )  # fmt: skip
    except WorkerError as error:
        fail(str(error), UNUSABLE)
