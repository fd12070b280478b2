"""`bylaw calibrate`."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bylaw.runtime.cli import INTERRUPTED
from bylaw.runtime.cli.paths import PolicyPath
from bylaw.runtime.cli.sampling import Bars, ModelChoice, law_options, prompts_or_exit, refusals
from bylaw.runtime.cli.shared import GATE_FAILED, LEFT_OUT, UNUSABLE, compile_or_exit, fail

if TYPE_CHECKING:
    from bylaw.compiler.pipeline import Compiled
    from bylaw.compiler.program import RewardProgram
    from bylaw.runtime.audit.inputs import Transcripts
    from bylaw.runtime.calibration.job import JobSettings, Written
    from bylaw.runtime.calibration.record import CalibrationRecord

NOT_KEPT = ("saturated", "undetermined", "missed")


@click.command("calibrate")
@click.argument("rules", type=PolicyPath())
@law_options
@click.option(
    "--out",
    type=click.Path(),
    default="bylaw-calibration",
    show_default=True,
    help="Folder for calibration.json, scores.npz and the samples.",
)
@click.option(
    "--samples", default=32, show_default=True, type=click.IntRange(2), help="Answers of the base model to each prompt."
)
@click.option(
    "--draws", default=64, show_default=True, type=click.IntRange(2), help="Draws from the law in the first round."
)
@click.option("--rounds", default=4, show_default=True, type=click.IntRange(1, 20), help="Rounds of draws at most.")
@click.option(
    "--ess-floor",
    default=100.0,
    show_default=True,
    type=float,
    help="Effective samples under which no multiplier is stated.",
)
@click.option(
    "--elastic",
    multiple=True,
    metavar="LEVEL=NATS",
    help="Limits of this level give way at this price for each unit of their rate, whatever `price` they state "
    "themselves; repeatable.",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Makes a calibration repeatable.")
@click.option(
    "--format",
    "output",
    type=click.Choice(["text", "json", "markdown"]),
    default="text",
    show_default=True,
    help="What to print.",
)
def command(
    rules: str, model: str | None, prompts: str | None, out: str, samples: int, draws: int, rounds: int,
    ess_floor: float, elastic: tuple[str, ...], max_tokens: int, temperature: float, seed: int, output: str,
    allow_download: bool,
) -> None:  # fmt: skip
    """Solve for the multipliers of the limits in RULES on a model, and write them down for later use.

    \b
    bylaw calibrate rules.bylaw --prompts prompts.jsonl --out calibration
    bylaw run rules.bylaw --prompts prompts.jsonl --calibration calibration

    Draws answers of the model and of the law, weighs them together, and moves the draws towards the law until they are
    worth enough. Everything drawn is kept in OUT/samples: after Ctrl-C the same command goes on where it stopped.
    `bylaw price` reads OUT/scores.npz.

    Exit code 0 when every limit is kept, 1 when the limits cannot be met or the draws are worth too little, 2 for
    unusable input, 3 when some prompts could not be read, 4 when a limit gave way or cannot be told, 130 after Ctrl-C.
    """
    compiled = compile_or_exit(rules)
    program = compiled.require()
    if not (math.isfinite(ess_floor) and ess_floor > 0):
        raise click.BadParameter("it must be a positive number", param_hint="--ess-floor")
    prices = _elastic(elastic, program)
    read, name, _ = prompts_or_exit(compiled, prompts, Path(rules).parent / "prompts.jsonl")
    for problem in read.problems:
        click.echo(f"warning: {problem.source}, line {problem.line}: {problem.message}; left out", err=True)
    from bylaw.runtime.calibration.fit import FitSettings
    from bylaw.runtime.calibration.job import JobSettings

    settings = JobSettings(temperature, max_tokens, seed, FitSettings(samples, draws, rounds, ess_floor, prices))
    folder = Path(out)
    with _writable_or_exit(folder):
        written = _calibrate(compiled, read, name, ModelChoice(model, allow_download), settings, folder)
    _print(written.record, output)
    for shard in written.damaged:
        click.echo(f"warning: the shard {shard} was damaged and has been drawn again", err=True)
    if written.freed_bytes:
        click.echo(f"removed {_megabytes(written.freed_bytes)} of samples that nothing needs any more", err=True)
    for file in written.files:
        click.echo(f"wrote {file}", err=True)
    click.echo(f"{_megabytes(written.sample_bytes)} of samples in {folder / 'samples'}", err=True)
    if any(budget.status in NOT_KEPT for budget in written.record.budgets):
        raise SystemExit(GATE_FAILED)
    raise SystemExit(LEFT_OUT if read.problems else 0)


def _elastic(given: tuple[str, ...], program: RewardProgram) -> dict[str, float]:
    """Prices in nats by level. Exits with code 2 for what is none."""
    found: dict[str, float] = {}
    for text in given:
        level, equals, words = text.partition("=")
        try:
            price = float(words)
        except ValueError:
            price = math.nan
        if not equals or not (math.isfinite(price) and price > 0):
            raise click.BadParameter(
                f"`{text}`: write it as LEVEL=NATS, with a price above 0 as in {level or 'user'}=3",
                param_hint="--elastic",
            )
        if level not in program.levels:
            raise click.BadParameter(
                f"there is no level `{level}`; levels here: {', '.join(program.levels)}", param_hint="--elastic"
            )
        if level in found:
            raise click.BadParameter(f"the level `{level}` has two prices", param_hint="--elastic")
        found[level] = price
    return found


@contextmanager
def _writable_or_exit(folder: Path) -> Iterator[None]:
    """Sees to it before any work that `folder` can be written; folders made here that stay empty are removed again."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        fail(f"the calibration cannot be written to `{folder}`: {(error.strerror or str(error)).lower()}", UNUSABLE)
    try:
        yield
    finally:
        for path in missing:
            with suppress(OSError):
                path.rmdir()


def _calibrate(
    compiled: Compiled, read: Transcripts, prompts: str, choice: ModelChoice, settings: JobSettings, folder: Path
) -> Written:
    from bylaw.runtime.calibration.job import SAMPLES, calibrate_policy, earlier_calibration
    from bylaw.runtime.calibration.sample_store import StoreError

    program = compiled.require()
    try:
        replaced = earlier_calibration(folder, program)
        if replaced is not None:
            click.echo(f"warning: {replaced}", err=True)
        with refusals(compiled):
            model = choice.load(settings.temperature)
            with Bars() as bars:
                return calibrate_policy(program, read.traces, prompts, model, settings, folder, bars)
    except StoreError as error:
        fail(str(error), UNUSABLE)
    except OSError as error:
        fail(f"the calibration cannot be written to `{folder}`: {(error.strerror or str(error)).lower()}", UNUSABLE)
    except KeyboardInterrupt:
        kept = f"; what was drawn is kept in {folder / SAMPLES}, and the same command goes on from there"
        click.echo(f"interrupted{kept if (folder / SAMPLES).exists() else ''}", err=True)
        raise SystemExit(INTERRUPTED) from None


def _print(record: CalibrationRecord, output: str) -> None:
    from bylaw.runtime.calibration.text import markdown, print_calibration
    from bylaw.runtime.record import writable
    from bylaw.runtime.report.terminal import standard_output

    if output == "json":
        click.echo(json.dumps(writable(asdict(record)), ensure_ascii=False, indent=2, allow_nan=False))
    elif output == "markdown":
        click.echo(markdown(record))
    else:
        print_calibration(record, standard_output())


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{size / 1e3:.1f} kB"
