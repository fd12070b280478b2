"""`bylaw compile`: what trainers, judges and engines take, made of a policy."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bylaw.runtime.cli.paths import PolicyPath
from bylaw.runtime.cli.scoring import Scoring, announce, scoring_options
from bylaw.runtime.cli.shared import LEFT_OUT, UNUSABLE, compile_or_exit, fail

if TYPE_CHECKING:
    from bylaw.compiler.pipeline import Compiled
    from bylaw.compiler.program import RewardProgram
    from bylaw.compiler.targets.interface import Inputs, Options, Target
    from bylaw.spec.trace import Trace

LIST = "list"
_MANY = 1_000
"""Answers from which on a bar is shown."""
_COUNT = "How many answers to each prompt the engine samples."


class ListingCommand(click.Command):
    """Its help ends with the targets, one line each; none of them is imported."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Targets"):
            formatter.write_dl(_targets())
        super().format_epilog(ctx, formatter)


def _targets() -> list[tuple[str, str]]:
    from bylaw.compiler.targets import catalog

    return [(name, catalog.summary(name)) for name in catalog.names()]


@dataclass(frozen=True)
class Request:
    """What the command line asks for. `columns`: where tables have prompt, response and system message."""

    rules: str
    name: str
    target: Target
    data: str | None
    out: Path
    options: Options
    calibration: str | None
    columns: tuple[str, str, str | None]
    scoring: Scoring = field(default_factory=Scoring)


@click.command(
    "compile",
    cls=ListingCommand,
    epilog="\b\nExamples:\n  bylaw compile rules.bylaw --target prompt --out prompt\n"
    "  bylaw compile rules.bylaw answers.jsonl --target pairs --calibration calibration --out pairs\n"
    "  bylaw compile rules.bylaw prompts.jsonl --target verl --calibration calibration --out bundle",
)
@click.argument("rules", type=PolicyPath(), required=False)
@click.argument("data", type=click.Path(), required=False)
@click.option("--target", "name", required=True, metavar="NAME", help="What to make, or `list` to see what there is.")
@click.option("--out", type=click.Path(), help="The folder to write; it must not be there, or be empty.")
@click.option("--force", is_flag=True, help="Replace a folder that this verb wrote; never another one.")
@click.option("--calibration", type=click.Path(), help="What `bylaw calibrate` wrote: the multipliers of the limits.")
@click.option(
    "--keep",
    type=click.Choice(["clean", "best", "all"]),
    default="clean",
    show_default=True,
    help="Answers for sft: to each prompt the one that the law weighs most, of those that break no `must` and no "
    "`should` (clean) or no `must` (best); or all that break no `must`.",
)
@click.option(
    "--pairs",
    type=click.Choice(["extreme", "all"]),
    default="extreme",
    show_default=True,
    help="Pairs to each prompt: the best answer against the worst, or all.",
)
@click.option(
    "--hard-penalty",
    metavar="NATS",
    type=click.FloatRange(0.0, 1e5, min_open=True),
    help="What a broken hard rule counts where it has to be finite.  [default: 10 more than all soft rules together]",
)
@click.option(
    "--unscored",
    type=click.Choice(["error", "broken", "none"]),
    default="error",
    show_default=True,
    help="What a rule that cannot be told of an answer is in training: the end of it, broken, or no rule.",
)
@click.option(
    "--max-tokens",
    default=512,
    show_default=True,
    type=click.IntRange(1, 1_000_000),
    help="Longest answer of an engine, in tokens.",
)
@click.option("--samples", default=8, show_default=True, type=click.IntRange(2, 4096), help=_COUNT)
@click.option(
    "--table",
    type=click.Choice(["parquet", "jsonl"]),
    help="How prompts for verl are written.  [default: parquet where pyarrow is installed]",
)
@click.option("--prompt-column", default="prompt", show_default=True, help="Column or JSON key of the user's message.")
@click.option("--response-column", default="response", show_default=True, help="Column or JSON key of the answer.")
@click.option("--system-column", help="Column or JSON key of the system message.")
@click.option(
    "--format",
    "output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How to print what was written: in words, or the manifest.",
)
@scoring_options
def command(
    rules: str | None, data: str | None, name: str, out: str | None, force: bool,
    calibration: str | None, prompt_column: str, response_column: str, system_column: str | None, output: str,
    scoring: Scoring, **given: Any,
) -> None:  # fmt: skip
    """Make of the policy RULES what a trainer, a judge or an engine takes, and write it into a folder.

    DATA are transcripts with answers for sft and pairs (several to each prompt, as `bylaw sample` asks for them), and
    prompts for verl and openrlhf, which also take the suites of the policy. Every folder has a `bylaw.json` that names
    the policy, its digest and each file, and says what the target cannot say of the policy: that is told here as well.
    The same inputs give the same bytes.

    Exit code 0, 1 when the policy is not sound, 2 for wrong usage, data that cannot be used, or a policy that the
    target can say nothing of, 3 when a rule or a part of the data was left out.
    """
    if name == LIST:
        for each, summary in _targets():
            click.echo(f"{each:10} {summary}")
        return
    target = _target_or_exit(name)
    _require_usage(name, target, given, calibration, data, scoring)
    if rules is None or out is None:
        raise click.UsageError("name the policy RULES, and the folder to write with --out")
    columns = (prompt_column, response_column, system_column)
    request = Request(rules, name, target, data, Path(out), _options(given), calibration, columns, scoring)
    _write(request, force=force, output=output)


# -------------------------------------------------------------------------------------------------------------- usage
def _target_or_exit(name: str) -> Target:
    from bylaw.compiler.targets import catalog
    from bylaw.compiler.targets.interface import UnknownTarget

    try:
        return catalog.target(name)
    except UnknownTarget as error:
        fail(str(error), UNUSABLE)


def _require_usage(
    name: str, target: Target, given: dict[str, Any], calibration: str | None,
    data: str | None, scoring: Scoring,
) -> None:  # fmt: skip
    """Raises click.UsageError for what a target has no use for: an option without effect would be misread."""
    from click.core import ParameterSource

    asked = [
        each for each in given if click.get_current_context().get_parameter_source(each) is not ParameterSource.DEFAULT
    ]
    if calibration is not None:
        asked.append("calibration")
    for option in asked:
        if option not in target.OPTIONS:
            raise click.UsageError(f"--{option.replace('_', '-')} is of no use for the target {name}")
    if scoring.is_asked_for and target.DATA != "answers":
        raise click.UsageError(f"options about scores are of no use for the target {name}, which reads no answers")
    if data is not None and target.DATA == "none":
        raise click.UsageError(f"the target {name} reads no data: leave out {data}")
    if data is None and target.DATA == "answers":
        raise click.UsageError(f"the target {name} needs transcripts with answers: name a file DATA behind the policy")


def _options(given: dict[str, Any]) -> Options:
    from importlib.util import find_spec

    from bylaw.compiler.targets.interface import Options

    table = given["table"] or ("parquet" if find_spec("pyarrow") is not None else "jsonl")
    return Options(**{**given, "table": table})


# --------------------------------------------------------------------------------------------------------------- work
def _write(request: Request, *, force: bool, output: str) -> None:
    from bylaw.compiler.targets.bundle import bundle
    from bylaw.compiler.targets.interface import TargetError
    from bylaw.compiler.targets.writing import require_free, write_bundle

    compiled = compile_or_exit(request.rules)
    try:
        require_free(request.out, force=force)
        inputs, is_left_out = _inputs(request, compiled)
        with _watched(len(inputs.traces)) as advance:
            manifest, made = bundle(request.name, replace(inputs, advance=advance))
        write_bundle(request.out, made.files, force=force)
    except TargetError as error:
        fail(str(error), UNUSABLE)
    for left_out in made.left_out:
        click.echo(f"left out: {left_out.words}", err=True)
    for note in made.notes:
        announce(note)
    if output == "json":
        click.echo(json.dumps(manifest, ensure_ascii=False, indent=2))
    else:
        for path, content in sorted(made.files.items()):
            click.echo(f"{request.out / path}  {len(content):,} bytes")
    raise SystemExit(LEFT_OUT if is_left_out or made.left_out else 0)


def _inputs(request: Request, compiled: Compiled) -> tuple[Inputs, bool]:
    """(what the target is made from, whether a part of the data could not be read)."""
    import bylaw
    from bylaw.compiler.targets.interface import Inputs

    program = _calibrated(compiled.require(), request.calibration)
    inputs = Inputs(compiled, program, bylaw.__version__, options=request.options, ask=_judge_question)
    if request.target.DATA == "none":
        return inputs, False
    traces, is_left_out = (
        _answers(request, compiled) if request.target.DATA == "answers" else _prompts(request, compiled)
    )
    return replace(inputs, traces=traces), is_left_out


def _calibrated(program: RewardProgram, path: str | None) -> RewardProgram:
    """The program with the multipliers of a calibration; one of other rules is a message and exit code 2."""
    if path is None:
        return program
    from bylaw.runtime.calibration.record import CalibrationRecordError, load_record

    try:
        record = load_record(path)
    except CalibrationRecordError as error:
        fail(str(error), UNUSABLE)
    if record.rules != program.digest:
        fail(f"the calibration `{path}` was made for other rules: run `bylaw calibrate` for these", UNUSABLE)
    single = {budget.term: budget.multiplier for budget in record.budgets if budget.multiplier is not None}
    return program.with_multipliers(single)


def _answers(request: Request, compiled: Compiled) -> tuple[tuple[Trace, ...], bool]:
    """The transcripts, with the scores of what rules hang on, and whether a part could not be read."""
    from bylaw.runtime.audit.inputs import ColumnNames, TranscriptError
    from bylaw.runtime.audit.transcripts import read_transcripts
    from bylaw.runtime.cli.sampling import Bars
    from bylaw.runtime.cli.scoring import (
        require_other_judges,
        say_scores,
        say_unanswered,
        scorers_or_exit,
        scoring_refused,
    )
    from bylaw.runtime.scorers.asking import score_traces

    assert request.data is not None
    prompt, response, system = request.columns
    try:
        read = read_transcripts(request.data, columns=ColumnNames(prompt=prompt, response=response, system=system))
    except TranscriptError as error:
        fail(str(error), UNUSABLE)
    _say_problems(read.problems)
    scorers = scorers_or_exit(compiled, request.rules, request.scoring)
    if not scorers.by_concept:
        return read.traces, bool(read.problems)
    require_other_judges(scorers, read.traces)
    with scoring_refused(), Bars(is_quiet=True) as bars:
        scored, record = score_traces(compiled.require(), read.traces, scorers, bars, announce=announce)
    say_scores(record)
    return scored, say_unanswered(record) or bool(read.problems)


def _prompts(request: Request, compiled: Compiled) -> tuple[tuple[Trace, ...], bool]:
    """The prompts of a file, or of the policy's suites, and whether a part could not be read."""
    from bylaw.runtime.audit.inputs import ColumnNames, TranscriptError
    from bylaw.runtime.audit.transcripts import read_prompts
    from bylaw.spec.trace import Message, Trace

    if request.data is None:
        suites = () if compiled.regulators is None else compiled.regulators.suites
        texts = tuple(dict.fromkeys(prompt for suite in suites for prompt in suite.prompts))
        if not texts:
            raise click.UsageError(
                f"the target {request.name} needs prompts: name a file DATA behind the policy, which declares no suite"
            )
        return tuple(Trace((Message("user", text),), id=str(n)) for n, text in enumerate(texts, 1)), False
    prompt, response, system = request.columns
    try:
        read = read_prompts(request.data, columns=ColumnNames(prompt=prompt, response=response, system=system))
    except TranscriptError as error:
        fail(str(error), UNUSABLE)
    _say_problems(read.problems)
    return read.traces, bool(read.problems)


def _say_problems(problems: Any) -> None:
    for problem in problems:
        click.echo(f"left out: {problem.source}:{problem.line}: {problem.message}", err=True)


@contextmanager
def _watched(total: int) -> Iterator[Callable[[], None]]:
    """What is told of each answer that was weighed: a bar on stderr, where that is a terminal and there are many."""
    if total < _MANY:
        yield lambda: None
        return
    from bylaw.runtime.cli.sampling import Bars

    done = 0
    with Bars(is_quiet=True) as bars:
        bars.stage("weighing answers", total)

        def advance() -> None:
            nonlocal done
            done += 1
            bars.progress(done, total)

        yield advance


def _judge_question(question: Any) -> Any:
    from bylaw.runtime.judges.exported import asked

    return asked(question)
