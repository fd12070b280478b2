"""`bylaw law`: questions about the law itself, beside any one policy."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import click

from bylaw.runtime.cli.shared import LEFT_OUT, POLICY_ERROR, UNUSABLE, fail, write_whole

if TYPE_CHECKING:
    from bylaw.runtime.report.price_page import Section

_DIVERGENCES = ("kl", "reverse_kl", "chi_squared", "squared_hellinger", "twice_jensen_shannon", "total_variation")
_LONGEST = 2000
_STRONGEST = 1e9

_format = click.option(
    "--format",
    "output",
    type=click.Choice(["text", "json", "markdown"]),
    default="text",
    show_default=True,
    help="How to print the answer.",
)


class Share(click.ParamType[float]):
    """A share between 0 and 1, or a percentage with its sign."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        text = str(value).strip()
        try:
            number = float(text.removesuffix("%")) / (100.0 if text.endswith("%") else 1.0)
        except ValueError:
            self.fail(f"`{text}` is not a share; write it as 5% or 0.05", param, ctx)
        if not 0.0 <= number <= 1.0:
            self.fail(f"`{text}` is not between 0% and 100%; write five percent as 5% or 0.05", param, ctx)
        return number


class Strength(click.ParamType[float]):
    """A finite strength, 0 or more."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not 0.0 <= number <= _STRONGEST:
            self.fail(f"`{value}` is not a strength: a number from 0 to {_STRONGEST:g}", param, ctx)
        return number


@click.group("law")
def command() -> None:
    """Ask about the law itself: the game between a generator and a regulator, and the size of audits."""


@command.command("paper-cases", epilog="\b\nExample:\n  bylaw law paper-cases --plot cases.svg")
@click.option(
    "--strength",
    "strengths",
    type=Strength(),
    multiple=True,
    help="Of the regulator (lambda in the paper); repeatable.  [default: 0, 0.5, 1, 2, 5, 10]",
)
@click.option(
    "--positions",
    type=click.IntRange(1, _LONGEST),
    default=100,
    show_default=True,
    help="Length of a flagged response.",
)
@click.option(
    "--length",
    "lengths",
    type=click.IntRange(1, _LONGEST),
    multiple=True,
    help="Length for the distance from the Gaussian; repeatable.  [default: 10, 25, 50, 100, 200, 400]",
)
@click.option(
    "--divergence",
    type=click.Choice(_DIVERGENCES),
    default="kl",
    show_default=True,
    help="What the regulator charges; the paper's is kl.",
)
@click.option("--plot", type=click.Path(dir_okay=False), help="Draw the cases into this .svg or .png file.")
@_format
def paper_cases(
    strengths: tuple[float, ...],
    positions: int,
    lengths: tuple[int, ...],
    divergence: str,
    plot: str | None,
    output: str,
) -> None:
    """Print the two case studies of arXiv:2606.18424: what a generator does against a regulator.

    For each strength lambda: the law of a position at equilibrium, utility, entropy, KL divergence from the reference
    law and value (nats a position), and how likely a response is flagged: exactly, and by the Gaussian approximation,
    which is far off in the tail. Last, how far the score's law is from its Gaussian, by the length of a response.

    Exit code 0, or 2 for wrong usage or a plot that cannot be written.
    """
    from bylaw.compiler.law.games import LENGTHS, STRENGTHS, censorship, phishing
    from bylaw.runtime.report.law_tables import case_json, case_sections, case_table

    if plot is not None:
        _require_picture(plot)
    chosen = tuple(sorted(set(strengths))) or STRENGTHS
    sizes = tuple(sorted(set(lengths))) or LENGTHS
    tables = [case_table(case, divergence, chosen, positions, sizes) for case in (censorship(), phishing())]
    if plot is not None:
        from pathlib import Path

        from bylaw.runtime.report.law_plots import picture

        write_whole(plot, picture(tables, Path(plot).suffix.lower()))
    _print(case_sections(tables), case_json(tables), output)


@command.command(
    "detect",
    epilog="\b\nExamples:\n  bylaw law detect 10% 5% --error 5%\n  bylaw law detect --calibration calibration",
)
@click.argument("before", type=Share(), required=False)
@click.argument("after", type=Share(), required=False)
@click.option(
    "--calibration", type=click.Path(), help="Take the rates of each rule, without and under the rules, from here."
)
@click.option(
    "--error", type=Share(), default="5%", show_default=True, help="How often the answer may be wrong, either way."
)
@_format
def detect(before: float | None, after: float | None, calibration: str | None, error: float, output: str) -> None:
    """Say how many responses an auditor must read to see a rate fall (or rise) from BEFORE to AFTER.

    Prints the smallest exact binomial test: how many responses, and from how many broken ones on to say which of the
    two rates it is, so that either answer is wrong with a probability of at most --error; beside it Chernoff's bound,
    and the size with equal prior odds. The responses must be independent draws.

    With --calibration, the folder that `bylaw calibrate` wrote, it says for each rule how many responses it takes to
    see that the rule has an effect.

    Exit code 0, or 2 for wrong usage or a calibration that cannot be read.
    """
    from bylaw.compiler.law.detection import SameLaws, rate_test
    from bylaw.runtime.report.law_tables import detect_json, detect_section, effects_json, effects_section

    if not 0.0 < error < 0.5:
        raise click.UsageError(f"--error must lie between 0% and 50%, both excluded, and is {100 * error:g}%")
    if (calibration is None) == (before is None) or (before is None) != (after is None):
        raise click.UsageError("give two rates, BEFORE and AFTER, or --calibration")
    if calibration is not None:
        from bylaw.runtime.calibration.record import CalibrationRecordError, load_record
        from bylaw.runtime.law_distance import rule_effects

        try:
            record = load_record(calibration)
        except CalibrationRecordError as problem:
            fail(str(problem), UNUSABLE)
        effects = rule_effects(record, error)
        _print((effects_section(record.policy, error, effects),), effects_json(record.policy, error, effects), output)
        return
    assert before is not None
    assert after is not None
    try:
        found = rate_test(before, after, error)
    except SameLaws as problem:
        raise click.UsageError(str(problem)) from None
    _print((detect_section(found),), detect_json(found), output)


@command.command(
    "distance",
    epilog="\b\nExamples:\n  bylaw law distance calibration\n  bylaw law distance calibration --responses tuned.jsonl",
)
@click.argument("calibration", type=click.Path())
@click.option(
    "--responses",
    type=click.Path(),
    help="Transcripts of another model or a decoder, .jsonl or .csv; the id of each is that of its prompt.",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of the split into halves.")
@_format
def distance(calibration: str, responses: str | None, seed: int, output: str) -> None:
    """Say how far a model is from the law of CALIBRATION, the folder that `bylaw calibrate` wrote.

    Without --responses the model is the one that was calibrated, as it is without rules; its ratio to the law is known,
    so that the gap of each bound is printed. With --responses it is whatever gave them: no probabilities are needed,
    only four responses or more to each prompt, or one to each of many prompts.

    Every figure is a lower bound of a divergence with its 95% interval: a witness of what the rules speak of is fitted
    on half of the responses and judged on the other half.

    Exit code 0, 1 when the responses are too few to say, 2 for a missing or damaged calibration or file, 3 when some
    prompts or responses were left out.
    """
    from bylaw.runtime.audit.inputs import TranscriptError
    from bylaw.runtime.calibration.record import CalibrationRecordError
    from bylaw.runtime.law_distance import base_distance, read, response_distance
    from bylaw.runtime.prices.errors import Unanswerable
    from bylaw.runtime.prices.scored import ScoredError
    from bylaw.runtime.report.law_tables import distance_json, distance_section

    unread = False
    try:
        calibrated = read(calibration)
        if responses is None:
            found = base_distance(calibrated, seed)
        else:
            from bylaw.runtime.audit.transcripts import read_transcripts

            transcripts = read_transcripts(responses)
            for problem in transcripts.problems:
                click.echo(f"left out: {problem.source}:{problem.line}: {problem.message}", err=True)
            unread = bool(transcripts.problems)
            found = response_distance(calibrated, transcripts.traces, responses, seed)
    except (CalibrationRecordError, ScoredError, TranscriptError) as error:
        fail(str(error), UNUSABLE)
    except Unanswerable as error:
        fail(str(error), POLICY_ERROR)
    _print((distance_section(found),), distance_json(found), output)
    raise SystemExit(LEFT_OUT if unread or found.left_out else 0)


# ------------------------------------------------------------------------------------------------------------ parts
def _print(sections: tuple[Section, ...], data: dict[str, Any], output: str) -> None:
    if output == "json":
        click.echo(json.dumps(data, ensure_ascii=False, indent=2, allow_nan=False))
        return
    from bylaw.runtime.report.price_render import as_markdown, print_sections

    if output == "markdown":
        click.echo(as_markdown(sections), nl=False)
        return
    from bylaw.runtime.report.terminal import standard_output

    print_sections(sections, standard_output())


def _require_picture(path: str) -> None:
    """Before any work: the suffix is known and the folder is there."""
    from pathlib import Path

    from bylaw.runtime.report.law_plots import SUFFIXES

    place = Path(path)
    if place.suffix.lower() not in SUFFIXES:
        raise click.UsageError(f"--plot writes {' and '.join(SUFFIXES)} files, and `{path}` is neither")
    if not place.parent.is_dir():
        fail(f"`{path}` cannot be written: there is no folder `{place.parent}`", UNUSABLE)
