"""`bylaw run`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bylaw.runtime.cli.paths import PolicyPath
from bylaw.runtime.cli.sampling import Bars, ModelChoice, calibration_or_exit, law_options, prompts_or_exit, refusals
from bylaw.runtime.cli.scoring import Scoring, live_prompts, scoring_options
from bylaw.runtime.cli.shared import UNUSABLE, compile_or_exit, exit_code, fail, print_record, report_directory_or_exit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bylaw.compiler.pipeline import Compiled
    from bylaw.runtime.audit.inputs import Transcripts
    from bylaw.runtime.calibration.record import CalibrationRecord
    from bylaw.runtime.models.interface import LanguageModel
    from bylaw.runtime.run import DecoderName, RunSettings, Solved
    from bylaw.runtime.scorers.asking import Asker
    from bylaw.spec.trace import Trace


@click.command("run")
@click.argument("rules", type=PolicyPath())
@law_options
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
    help="Draws from the law for each prompt in the first round of calibration; more follow where they say too little.",
)
@click.option(
    "--responses",
    default=16,
    show_default=True,
    type=click.IntRange(1),
    help="Answers under the policy to each prompt.",
)
@click.option(
    "--decoder",
    type=click.Choice(["sir", "mask"]),
    default="sir",
    show_default=True,
    help="Who writes the answers under the policy: `sir` samples its law, `mask` only removes illegal tokens (biased).",
)
@click.option(
    "--calibration",
    type=click.Path(),
    help="Enforce with the multipliers that `bylaw calibrate` wrote here (folder or file) instead of solving again.",
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
@scoring_options
def command(
    rules: str, model: str | None, prompts: str | None, samples: int, particles: int, calibration_particles: int,
    responses: int, max_tokens: int, temperature: float, decoder: DecoderName, calibration: str | None, seed: int,
    out: str, output: str, allow_download: bool, scoring: Scoring,
) -> None:  # fmt: skip
    """Check, price, enforce and audit the policy RULES on a model.

    Samples the base model, solves for the multipliers of the budgets, samples under the policy, audits both and prices
    every rule. Ctrl-C ends it early and leaves a partial report (exit code 130). Exit code 4: a hard rule or a budget
    is not known to be kept.

    With --calibration the multipliers come from an earlier `bylaw calibrate`; one that was made for other rules,
    another model, other prompts or other settings is refused (exit code 2).

    What an answer expresses is scored as in `bylaw audit`. Where that cannot be told, a `must` forbids the answer.
    """
    compiled = compile_or_exit(rules)
    read, name, digest = prompts_or_exit(compiled, prompts, Path(rules).parent / "prompts.jsonl")
    for problem in read.problems:
        click.echo(f"warning: {problem.source}, line {problem.line}: {problem.message}; left out", err=True)
    from bylaw.runtime.run import RunSettings

    settings = RunSettings(
        samples, particles, responses, max_tokens, seed, decoder, calibration_particles,
        temperature=temperature, prompts_digest=digest,
    )  # fmt: skip
    earlier = None if calibration is None else calibration_or_exit(calibration)
    with live_prompts(compiled, rules, scoring, read, model) as (live, asker):
        _run(compiled, live, name, ModelChoice(model, allow_download), settings, earlier, out, output, asker)


def _run(
    compiled: Compiled,
    read: Transcripts,
    prompts: str,
    choice: ModelChoice,
    settings: RunSettings,
    calibration: CalibrationRecord | None,
    out: str,
    output: str,
    asker: Asker | None,
) -> None:
    from bylaw.runtime.report import write_report
    from bylaw.runtime.run import run_policy

    with report_directory_or_exit(out):
        with refusals(compiled):
            model = choice.load(settings.temperature)
            solved = None if calibration is None else _current(calibration, compiled, model, read.traces, settings)
            with Bars() as bars:
                record = run_policy(compiled, read.traces, prompts, model, settings, bars, solved)
        if asker is not None:
            record = replace(record, scoring=asker.record().concepts)
        written = write_report(record, out)
    print_record(record, output)
    for file in written:
        click.echo(f"wrote {file}", err=True)
    raise SystemExit(exit_code(record, is_gate=True, is_left_out=bool(read.problems)))


def _current(
    record: CalibrationRecord,
    compiled: Compiled,
    model: LanguageModel,
    prompts: Sequence[Trace],
    settings: RunSettings,
) -> Solved:
    """The multipliers of a calibration that was made for just this run; any other ends with exit code 2."""
    from bylaw.runtime.calibration.problem import Multipliers
    from bylaw.runtime.calibration.record import StaleRecord, require_current

    asked = {"temperature": settings.temperature, "max_tokens": settings.max_tokens}
    try:
        require_current(record, compiled.require(), model, prompts, asked)
    except StaleRecord as error:
        fail(str(error), UNUSABLE)
    own = tuple(tuple(pairs.items()) for pairs in record.own())
    return Multipliers(record.multipliers, own), record.summary() if record.budgets else None
