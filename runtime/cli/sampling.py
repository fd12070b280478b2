"""What the verbs that sample a model share: prompts, the model, its refusals, progress bars."""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bylaw.runtime.cli.shared import POLICY_ERROR, UNUSABLE, fail, fail_at
from bylaw.spec.trace import Message, Trace

if TYPE_CHECKING:
    from rich.progress import TaskID

    from bylaw.compiler.pipeline import Compiled
    from bylaw.runtime.audit.inputs import Transcripts
    from bylaw.runtime.calibration.record import CalibrationRecord
    from bylaw.runtime.models.huggingface import HuggingFaceModel
    from bylaw.runtime.models.interface import LanguageModel


class Temperature(click.FloatRange):
    """A sampling temperature; the range of click lets `nan` through."""

    name = "temperature"

    def __init__(self) -> None:
        super().__init__(min=0.05, max=10)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = float(super().convert(value, param, ctx))
        if math.isnan(found):
            self.fail(f"{value} is not a temperature.", param, ctx)
        return found


_LAW_OPTIONS = (
    click.option(
        "--model",
        help="A Hugging Face model: a folder, or an id with --allow-download. Default: the one that comes with bylaw.",
    ),
    click.option("--allow-download", is_flag=True, help="Fetch the model from the hub if it is not a folder."),
    click.option(
        "--prompts",
        type=click.Path(),
        help="JSON Lines or text file with the prompts. Default: the suites of the policy, else prompts.jsonl beside "
        "it.",
    ),
    click.option(
        "--max-tokens",
        default=160,
        show_default=True,
        type=click.IntRange(1),
        help="Longest answer, in tokens of the model.",
    ),
    click.option(
        "--temperature",
        default=1.0,
        show_default=True,
        type=Temperature(),
        help="Sampling temperature of the base model.",
    ),
)


def law_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that fix what the law is about; every verb that samples it has the same, with the same defaults."""
    for option in reversed(_LAW_OPTIONS):
        command = option(command)
    return command


SMALL_MODEL = 20_000_000
"""Parameters."""


def prompts_or_exit(compiled: Compiled, given: str | None, beside: Path) -> tuple[Transcripts, str, str]:
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
class ModelChoice:
    """Which model answers; `path` None is the one that comes with bylaw."""

    path: str | None
    allow_download: bool

    def load(self, temperature: float) -> HuggingFaceModel:
        """The model; exits with a message where the libraries are missing. Raises ModelError."""
        try:
            from bylaw.runtime.models.huggingface import load_model
        except ImportError as error:
            fail(
                f"running a model needs the extra `models` ({error.name} is missing): "
                "install bylaw with it, as in pip install '.[models]'",
                UNUSABLE,
            )
        from bylaw.runtime.default_model import default_model_path

        model = load_model(
            self.path or default_model_path(),
            temperature=temperature,
            allow_download=self.allow_download,
            name=None if self.path else "default",
        )
        _use_one_thread_if_small(model)
        return model

    def load_stopping(self, temperature: float, stops: tuple[str, ...]) -> LanguageModel:
        """The model, whose answers end before any of `stops`. Raises ModelError."""
        from bylaw.runtime.models.stopping import StoppingModel

        model = self.load(temperature)
        return StoppingModel(model, stops) if stops else model


def calibration_or_exit(path: str) -> CalibrationRecord:
    """The record of an earlier calibration; a message and exit code 2 where it cannot be read."""
    from bylaw.runtime.calibration.record import CalibrationRecordError, load_record

    try:
        return load_record(path)
    except CalibrationRecordError as error:
        fail(str(error), UNUSABLE)


@contextmanager
def refusals(compiled: Compiled) -> Iterator[None]:
    """Each way in which a policy, a model and prompts can turn out not to go together is one message and an exit."""
    from bylaw.compiler.factors import Infeasible
    from bylaw.compiler.law.numerics import EmptySupport, LowEffectiveSampleSize
    from bylaw.runtime.calibration.problem import CalibrationError
    from bylaw.runtime.decoders.interface import DecodeError
    from bylaw.runtime.enforcement import EnforcementError
    from bylaw.runtime.models.interface import ModelError
    from bylaw.runtime.twist import TwistError

    try:
        yield
    except ModelError as error:
        fail(str(error), UNUSABLE)
    except EnforcementError as error:
        fail_at(compiled, "P701", str(error), error.terms)
    except Infeasible as error:
        fail_at(compiled, "P702", str(error), error.terms)
    except CalibrationError as error:
        fail_at(compiled, "P703", str(error), error.terms)
    except TwistError as error:
        fail_at(compiled, "P701", str(error), error.terms)
    except (DecodeError, EmptySupport, LowEffectiveSampleSize) as error:
        fail(str(error), POLICY_ERROR)


def _use_one_thread_if_small(model: HuggingFaceModel) -> None:
    """The matrices of a small model are done before a second thread wakes up: waiting for it costs more."""
    import torch

    if model.parameters < SMALL_MODEL:
        torch.set_num_threads(1)


class Bars:
    """Progress bars on stderr; a line for each stage where stderr is not a terminal, or nothing if `is_quiet`."""

    def __init__(self, is_quiet: bool = False) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._is_quiet = is_quiet
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

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def stage(self, name: str, total: int) -> None:
        if not self._shown and not self._is_quiet:
            click.echo(f"{name} ...", err=True)
        self._task = self._progress.add_task(name, total=total)

    def progress(self, done: int, total: int) -> None:
        if self._task is not None:
            self._progress.update(self._task, completed=done, total=total)
