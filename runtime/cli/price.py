"""`bylaw price`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from bylaw.runtime.cli.paths import PolicyPath
from bylaw.runtime.cli.shared import (
    POLICY_ERROR,
    UNUSABLE,
    compile_or_exit,
    fail,
    fail_at,
    report_directory_or_exit,
)

if TYPE_CHECKING:
    from pathlib import Path

    from bylaw.compiler.pipeline import Compiled
    from bylaw.runtime.prices.calibrated import Calibrated
    from bylaw.runtime.prices.what_if import Change
    from bylaw.runtime.report.price_answer import Answer

_EXAMPLES = """\b
Examples:
  bylaw price rules.bylaw --calibration calibration
  bylaw price rules.bylaw --calibration calibration --out prices
  bylaw price rules.bylaw --calibration calibration --tradeoff few_refusals
  bylaw price rules.bylaw --calibration calibration --what-if "few_refusals=2%"
  bylaw price rules.bylaw --calibration calibration \\
      --what-if "short_answers weight 3" --without no_legal_advice
"""


def _calibrate_first(context: click.Context, option: click.Parameter, value: str | None) -> None:
    """Prices are read off a calibration; it takes minutes, so nobody should start one by accident."""
    if value is not None:
        raise click.UsageError(
            f"--{option.name} belongs to `bylaw calibrate`: run `bylaw calibrate RULES --{option.name} {value} --out "
            "DIR` first, then `bylaw price RULES --calibration DIR`"
        )


@click.command("price", epilog=_EXAMPLES)
@click.argument("rules", type=PolicyPath())
@click.option(
    "--calibration",
    "folder",
    default="bylaw-calibration",
    show_default=True,
    type=click.Path(),
    help="The folder that `bylaw calibrate` wrote for these rules, with calibration.json and scores.npz.",
)
@click.option("--model", hidden=True, expose_value=False, callback=_calibrate_first)
@click.option("--prompts", hidden=True, expose_value=False, callback=_calibrate_first)
@click.option("--tradeoff", metavar="RULE", help="How the rate of one limit trades against the divergence.")
@click.option(
    "--what-if",
    "changes",
    multiple=True,
    metavar="CHANGE",
    help='Another bound, as in "RULE=2%", or another weight, as in "RULE weight 3"; repeatable.',
)
@click.option("--without", multiple=True, metavar="RULE", help="Leave a rule out; repeatable, goes with --what-if.")
@click.option(
    "--ess-floor",
    "floor",
    type=click.FloatRange(min=2),
    help="Effective samples under which nothing is stated. Default: that of the calibration.",
)
@click.option("--out", type=click.Path(), help="Folder for prices.html, prices.md, prices.json and the plots.")
@click.option(
    "--format",
    "output",
    type=click.Choice(["text", "json", "markdown"]),
    default="text",
    show_default=True,
    help="What to print.",
)
def command(
    rules: str, folder: str, tradeoff: str | None, changes: tuple[str, ...], without: tuple[str, ...],
    floor: float | None, out: str | None, output: str,
) -> None:  # fmt: skip
    """Say what every rule of the policy RULES costs on a model, and which rules pull against each other.

    Reads the scored responses that `bylaw calibrate` left; run that first, here no model is needed. For each rule: how
    often it is broken without rules and under the law, its weight or multiplier, the price of its limit, and its part
    of the divergence from the base model. With --tradeoff, --what-if or --without only their answer is printed; a
    report in --out has the table of prices as well.

    Exit code 0 when all was answered, 1 when the policy is not sound, when no law meets the changed limits or when the
    responses are too few to say, 2 for wrong usage, a missing or damaged calibration, or one of other rules.
    """
    if floor is not None and not math.isfinite(floor):
        raise click.BadParameter("it must be a finite number", param_hint="--ess-floor")
    compiled = compile_or_exit(rules)
    with _refusals(compiled):
        asked = _parsed(changes, without)
        found = _calibrated(compiled, folder)
        if out is None:
            _print(_answer(compiled, found, tradeoff, asked, floor, is_whole=not asked and tradeoff is None), output)
            return
        with report_directory_or_exit(out):
            whole = _answer(compiled, found, tradeoff, asked, floor, is_whole=True)
            written = _write(out, compiled, whole)
    _print(whole if not asked and tradeoff is None else replace(whole, table=None, interactions=None), output)
    for file in written:
        click.echo(f"wrote {file}", err=True)


def _parsed(changes: tuple[str, ...], without: tuple[str, ...]) -> list[Change]:
    from bylaw.runtime.prices.what_if import Change, parse_change

    return [*map(parse_change, changes), *(Change("without", name) for name in without)]


def _calibrated(compiled: Compiled, folder: str) -> Calibrated:
    from bylaw.runtime.prices.calibrated import read_calibrated

    return read_calibrated(folder, compiled.require())


def _answer(
    compiled: Compiled,
    found: Calibrated,
    tradeoff: str | None,
    asked: list[Change],
    least: float | None,
    *,
    is_whole: bool,
) -> Answer:
    from bylaw.runtime.prices.curve import curve
    from bylaw.runtime.prices.interactions import interactions
    from bylaw.runtime.prices.solve import solve
    from bylaw.runtime.prices.table import price_table
    from bylaw.runtime.prices.what_if import what_if
    from bylaw.runtime.report.price_answer import Answer

    program, floor = compiled.require(), found.record.floor if least is None else least
    solved = solve(found.scores, found.terms, ess_floor=floor)
    return Answer(
        policy=program.policy,
        digest=program.digest,
        model=found.record.model,
        prompts=found.record.prompts,
        table=price_table(solved, found.ceilings) if is_whole else None,
        interactions=interactions(solved.law) if is_whole else None,
        curve=None if tradeoff is None else curve(found.scores, found.terms, tradeoff, floor),
        what_if=what_if(found.scores, found.terms, asked, before=solved, ess_floor=floor) if asked else None,
    )


def _write(out: str, compiled: Compiled, answer: Answer) -> list[Path]:
    from bylaw.runtime.report.price_files import write_prices

    title = f"Prices of {compiled.require().policy}"
    return write_prices(out, title, answer.sections(), answer.as_json(), answer.figures())


def _print(answer: Answer, output: str) -> None:
    if output == "json":
        click.echo(answer.as_json())
        return
    from bylaw.runtime.report.price_render import as_markdown, print_sections

    if output == "markdown":
        click.echo(as_markdown(answer.sections()), nl=False)
        return
    from bylaw.runtime.report.terminal import standard_output

    print_sections(answer.sections(), standard_output())


@contextmanager
def _refusals(compiled: Compiled) -> Iterator[None]:
    """Each way in which a question has no answer is one message and an exit."""
    from bylaw.runtime.calibration.record import CalibrationRecordError
    from bylaw.runtime.prices.errors import BadQuestion, Impossible, Unanswerable
    from bylaw.runtime.prices.scored import ScoredError
    from bylaw.runtime.report.write import ReportError

    try:
        yield
    except (CalibrationRecordError, ScoredError, ReportError, BadQuestion) as error:
        fail(str(error), UNUSABLE)
    except Impossible as error:
        fail_at(compiled, "P703", str(error), error.terms)
    except Unanswerable as error:
        fail(str(error), POLICY_ERROR)
