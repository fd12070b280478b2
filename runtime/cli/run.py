"""`bylaw run`."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bylaw.runtime.cli.paths import PolicyPath
from bylaw.runtime.cli.shared import (
    POLICY_ERROR,
    UNUSABLE,
    compile_or_exit,
    exit_code,
    fail,
    fail_at,
    print_record,
    report_directory_or_exit,
)
from bylaw.spec.trace import Message, Trace

if TYPE_CHECKING:
    from rich.progress import TaskID

    from bylaw.compiler.pipeline import Compiled
    from bylaw.runtime.audit.inputs import Transcripts
    from bylaw.runtime.models.huggingface import HuggingFaceModel
    from bylaw.runtime.run import DecoderName, RunSettings

SMALL_MODEL = 20_000_000
"""Parameters."""


@click.command("run")
@click.argument("rules", type=PolicyPath())
@click.option(
    "--model",
    help="A Hugging Face model: a folder, or an id with --allow-download. Default: the one that comes with bylaw.",
)
@click.option(
    "--prompts",
    type=click.Path(),
    help="JSON Lines or text file with the prompts. Default: the suites of the policy, else prompts.jsonl beside it.",
)
@click.option(
    "--samples", default=16, show_default=True, type=click.IntRange(2), help="Answers of the base model to each prompt."
)
@click.option(
    "--particles",
    default=32,
    show_default=True,
    type=click.IntRange(2),
    help="Proposals of the decoder for each prompt.",
)
@click.option(
    "--calibration-particles",
    default=32,
    show_default=True,
    type=click.IntRange(2),
    help="Proposals for each prompt in the first round of calibration; doubled in each further round.",
)
@click.option(
    "--responses",
    default=16,
    show_default=True,
    type=click.IntRange(1),
    help="Answers under the policy to each prompt.",
)
@click.option(
    "--max-tokens",
    default=160,
    show_default=True,
    type=click.IntRange(1),
    help="Longest answer, in tokens of the model.",
)
@click.option(
    "--temperature",
    default=1.0,
    show_default=True,
    type=click.FloatRange(min=0.05, max=10),
    help="Sampling temperature of the base model.",
)
@click.option(
    "--decoder",
    type=click.Choice(["sir", "mask"]),
    default="sir",
    show_default=True,
    help="Who writes the answers under the policy: `sir` samples its law, `mask` only removes illegal tokens (biased).",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Makes a run repeatable.")
@click.option(
    "--out",
    type=click.Path(),
    default="bylaw-report",
    show_default=True,
    help="Folder for report.html, report.md and report.json.",
)
@click.option(
    "--format",
    "output",
    type=click.Choice(["text", "json", "markdown"]),
    default="text",
    show_default=True,
    help="What to print.",
)
@click.option("--allow-download", is_flag=True, help="Fetch the model from the hub if it is not a folder.")
def command(
    rules: str, model: str | None, prompts: str | None, samples: int, particles: int, calibration_particles: int,
    responses: int, max_tokens: int, temperature: float, decoder: DecoderName, seed: int, out: str, output: str,
    allow_download: bool,
) -> None:  # fmt: skip
    """Check, price, enforce and audit the policy RULES on a model.

    Samples the base model, solves for the multipliers of the budgets, samples under the policy, audits both and prices
    every rule. Ctrl-C ends it early and leaves a partial report (exit code 130). Exit code 4: a hard rule or a budget
    is not known to be kept.
    """
    compiled = compile_or_exit(rules)
    read, name, digest = _prompts(compiled, prompts, Path(rules).parent / "prompts.jsonl")
    for problem in read.problems:
        click.echo(f"warning: {problem.source}, line {problem.line}: {problem.message}; left out", err=True)
    from bylaw.runtime.run import RunSettings

    settings = RunSettings(
        samples, particles, responses, max_tokens, seed, decoder, calibration_particles,
        temperature=temperature, prompts_digest=digest,
    )  # fmt: skip
    _run(compiled, read, name, _ModelChoice(model, allow_download), settings, out, output)


def _prompts(compiled: Compiled, given: str | None, beside: Path) -> tuple[Transcripts, str, str]:
    """(the prompts, what to call them, their digest): from a file, or the suites that the policy declares."""
    from bylaw.runtime.audit.inputs import TranscriptError, Transcripts
    from bylaw.runtime.audit.transcripts import read_prompts

    suites = () if compiled.regulators is None else compiled.regulators.suites
    path = beside if given is None else Path(given)
    if given is None and suites:
        texts = tuple(dict.fromkeys(prompt for suite in suites for prompt in suite.prompts))
        digest = hashlib.sha256("\n".join(map(json.dumps, texts)).encode()).hexdigest()
        traces = tuple(Trace((Message("user", text),), id=str(number)) for number, text in enumerate(texts, 1))
        return Transcripts(traces, ()), f"suite {', '.join(suite.name for suite in suites)}", digest
    if given is None and not path.is_file():
        message = (
            f"there are no prompts: `{path}` does not exist, the policy declares no suite, and --prompts is missing"
        )
        fail(message, UNUSABLE)
    try:
        return read_prompts(path), str(path), _digest(path)
    except TranscriptError as error:
        fail(str(error), UNUSABLE)


def _digest(path: Path) -> str:
    if not path.is_file():
        return ""  # what came through a pipe cannot be read twice
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        fail(f"`{path}` cannot be read: {error.strerror or error}", UNUSABLE)


@dataclass(frozen=True, slots=True)
class _ModelChoice:
    """Which model answers; `path` None is the one that comes with bylaw."""

    path: str | None
    allow_download: bool


def _run(
    compiled: Compiled,
    read: Transcripts,
    prompts: str,
    choice: _ModelChoice,
    settings: RunSettings,
    out: str,
    output: str,
) -> None:
    try:
        from bylaw.runtime.models.huggingface import load_model
    except ImportError as error:
        fail(
            f"running a model needs the extra `models` ({error.name} is missing): "
            "install bylaw with it, as in pip install '.[models]'",
            UNUSABLE,
        )
    from bylaw.runtime.default_model import default_model_path
    from bylaw.runtime.report import write_report
    from bylaw.runtime.run import run_policy

    with report_directory_or_exit(out):
        with _refusals(compiled):
            model = load_model(
                choice.path or default_model_path(),
                temperature=settings.temperature,
                allow_download=choice.allow_download,
                name=None if choice.path else "default",
            )
            _use_one_thread_if_small(model)
            with _Bars() as bars:
                record = run_policy(compiled, read.traces, prompts, model, settings, bars)
        written = write_report(record, out)
    print_record(record, output)
    for file in written:
        click.echo(f"wrote {file}", err=True)
    raise SystemExit(exit_code(record, is_gate=True, is_left_out=bool(read.problems)))


@contextmanager
def _refusals(compiled: Compiled) -> Iterator[None]:
    """Each way in which a policy, a model and prompts can turn out not to go together is one message and an exit."""
    from bylaw.compiler.factors import Infeasible
    from bylaw.compiler.law.numerics import EmptySupport, LowEffectiveSampleSize
    from bylaw.runtime.calibration import CalibrationError
    from bylaw.runtime.decoders.interface import DecodeError
    from bylaw.runtime.enforcement import EnforcementError
    from bylaw.runtime.models.interface import ModelError
    from bylaw.runtime.twist import TwistError

    try:
        yield
    except ModelError as error:
        fail(str(error), UNUSABLE)
    except EnforcementError as error:
        fail_at(compiled, "P701", str(error), () if error.term is None else (error.term,))
    except Infeasible as error:
        fail_at(compiled, "P702", str(error), error.terms)
    except CalibrationError as error:
        fail_at(compiled, "P703", str(error), error.terms)
    except (DecodeError, EmptySupport, LowEffectiveSampleSize, TwistError) as error:
        fail(str(error), POLICY_ERROR)


def _use_one_thread_if_small(model: HuggingFaceModel) -> None:
    """The matrices of a small model are done before a second thread wakes up: waiting for it costs more."""
    import torch

    if model.parameters < SMALL_MODEL:
        torch.set_num_threads(1)


class _Bars:
    """Progress bars on stderr; a line for each stage where stderr is not a terminal."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._shown = sys.stderr.isatty()
        self._progress = Progress(
            TextColumn("{task.description:28}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not self._shown,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> _Bars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def stage(self, name: str, total: int) -> None:
        if not self._shown:
            click.echo(f"{name} ...", err=True)
        self._task = self._progress.add_task(name, total=total)

    def progress(self, done: int, total: int) -> None:
        if self._task is not None:
            self._progress.update(self._task, completed=done, total=total)
