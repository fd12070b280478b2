"""`bylaw compare drift`, `coverage`, `consistency`, `scaling`: what models and judges left in files, compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from bylaw.runtime.cli.compare_shared import (
    format_option,
    plot_option,
    print_answer,
    require_picture,
    seed_option,
    unusable,
    write_picture,
)
from bylaw.runtime.cli.law import Share
from bylaw.runtime.cli.paths import PolicyPath
from bylaw.runtime.cli.shared import LEFT_OUT, compile_or_exit

if TYPE_CHECKING:
    from bylaw.compiler.program import RewardTerm
    from bylaw.runtime.audit.coverage_of_answers import Answers
    from bylaw.spec.trace import Trace


@click.command("drift", epilog="\b\nExample:\n  bylaw compare drift rules.bylaw step0.jsonl step500.jsonl end.jsonl")
@click.argument("rules", type=PolicyPath())
@click.argument("transcripts", nargs=-1, required=True, type=click.Path())
@click.option("--steps", help="Training steps of the files, with commas between.  [default: 0, 1, 2, ...]")
@click.option(
    "--settled",
    "tolerance",
    type=Share(),
    default="5%",
    show_default=True,
    help="A rate has settled within this share of its whole change.",
)
@seed_option
@plot_option
@format_option
def drift_verb(
    rules: str, transcripts: tuple[str, ...], steps: str | None, tolerance: float, seed: int, plot: str | None,
    output: str,
) -> None:  # fmt: skip
    """Say how often each rule of RULES is broken at each checkpoint, how far behaviour moved, and when it had settled.

    TRANSCRIPTS are the answers of the checkpoints to the same prompts, in the order of training. Each magnitude stands
    beside what chance alone would show; changes are paired by prompt.

    Exit code 0, 1 when the policy is not sound, 2 for files that cannot be read or compared, 3 when a part was left
    out: lines that could not be read, or prompts that not every checkpoint answered.
    """
    from bylaw.runtime.audit import answer_files
    from bylaw.runtime.audit.audit import score
    from bylaw.runtime.audit.drift_over_checkpoints import drift
    from bylaw.runtime.report import compare_plots
    from bylaw.runtime.report.compare_tables import drift_sections

    if len(transcripts) < 2:
        raise click.UsageError("drift needs the transcripts of two checkpoints at least")
    numbers = _steps(steps, len(transcripts))
    require_picture(plot)
    program = compile_or_exit(rules).require()
    with unusable():
        terms = answer_files.statements(program)
        files, is_left_out = _files(transcripts)
        prompts = answer_files.shared(files)
        is_left_out |= _say_prompts_left_out(files, len(prompts))
        verdicts = [
            [[tuple(score(term, trace).verdict for term in terms) for trace in each[prompt]] for prompt in prompts]
            for each in files
        ]
        found = drift(
            [term.id for term in terms], _short(transcripts), numbers, verdicts, tolerance=tolerance, seed=seed
        )
    write_picture(plot, "drift", lambda: compare_plots.drift_figure(found))
    print_answer(drift_sections(found), asdict(found), output)
    raise SystemExit(LEFT_OUT if is_left_out else 0)


@click.command(
    "coverage", epilog="\b\nExample:\n  bylaw compare coverage rules.bylaw base.jsonl regulated.jsonl --draws 20"
)
@click.argument("rules", type=PolicyPath())
@click.argument("before", type=click.Path())
@click.argument("after", type=click.Path())
@click.option(
    "--draws", default=100, show_default=True, type=click.IntRange(1), help="Count distinct answers in so many draws."
)
@click.option(
    "--answers",
    type=click.Path(),
    help='JSON Lines {"prompt", "answers"} with the valid answers of each prompt: those, and no others, are valid.',
)
@format_option
def coverage_verb(rules: str, before: str, after: str, draws: int, answers: str | None, output: str) -> None:
    """Say whether answers became valid, and whether they became poorer: coverage and diversity before and after.

    BEFORE and AFTER are transcripts with several answers to each of the same prompts. Valid is an answer that breaks no
    hard rule of RULES (no rule at all, where it has no hard ones), or with --answers one that is listed.

    Exit code 0, 1 when the policy is not sound, 2 for files that cannot be read or compared, 3 when a part was left
    out.
    """
    from bylaw.runtime.audit import answer_files, verdict_files
    from bylaw.runtime.audit.coverage_of_answers import compare_coverage
    from bylaw.runtime.report.compare_tables import coverage_sections

    program = compile_or_exit(rules).require()
    with unusable():
        every = answer_files.statements(program)
        terms = tuple(term for term in every if term.kind == "hard") or every
        files, is_left_out = _files((before, after))
        prompts = answer_files.shared(files)
        is_left_out |= _say_prompts_left_out(files, len(prompts))
        listed = None
        if answers is not None:
            given = verdict_files.read_answers(answers)
            listed = {key: _listed(given, files[0][key][0], answers) for key in prompts}
        sides = [_sorted_out(each, prompts, terms, listed) for each in files]
        found = compare_coverage(*sides, draws=draws, listed=listed)
    print_answer(coverage_sections(found, before, after), asdict(found), output)
    raise SystemExit(LEFT_OUT if is_left_out else 0)


@click.command("consistency", epilog="\b\nExample:\n  bylaw compare consistency verdicts.jsonl --reference people")
@click.argument("verdicts", nargs=-1, required=True, type=click.Path())
@click.option("--reference", required=True, metavar="JUDGE", help="The judge that speaks for the policy.")
@format_option
def consistency_verb(verdicts: tuple[str, ...], reference: str, output: str) -> None:
    """Compare policy, generators and judges: what is kept, who agrees, and whether judges favour themselves.

    VERDICTS are JSON Lines {"prompt", "rule", "generator", "judge", "verdict"}; a verdict is satisfied, violated,
    not_applicable or unscored. A judge whose name is that of a generator judges itself.

    Exit code 0, or 2 for files that cannot be read or compared.
    """
    from bylaw.runtime.audit.consistency import consistency
    from bylaw.runtime.audit.verdict_files import read_verdicts
    from bylaw.runtime.report.compare_tables import consistency_sections

    with unusable():
        found = consistency(read_verdicts(verdicts), reference)
    print_answer(consistency_sections(found), asdict(found), output)


@click.command(
    "scaling",
    epilog="\b\nExamples:\n  bylaw compare scaling samples.jsonl --score reward --truth solved\n"
    "  bylaw compare scaling --mean 0 --sd 1 --target 1 --judge 1.5 --draws 64",
)
@click.argument("samples", required=False, type=click.Path())
@click.option("--score", default="score", show_default=True, help="The key of the judge's score.")
@click.option("--truth", default="truth", show_default=True, help="The key of the true score; higher is better.")
@click.option("--mean", type=float, help="Of the answers, in the scalar model.")
@click.option("--sd", type=float, help="Standard deviation of the answers.")
@click.option("--target", type=float, help="The truth.")
@click.option("--judge", type=float, help="What the judge takes for the truth.")
@click.option("--draws", type=click.IntRange(1, 1_000_000), help="The k in use; on samples, the largest one to try.")
@seed_option
@plot_option
@format_option
def scaling_verb(
    samples: str | None, score: str, truth: str, mean: float | None, sd: float | None, target: float | None,
    judge: float | None, draws: int | None, seed: int, plot: str | None, output: str,
) -> None:  # fmt: skip
    """Say how far best-of-k should go, and warn where a judge is over-optimised.

    SAMPLES are JSON Lines {"prompt", "score", "truth"}, several of each prompt: the curve is estimated without bias for
    each k. Without them, --mean, --sd, --target and --judge describe answers by one number, and the best k and the best
    temperature of soft selection are computed exactly.

    Exit code 0, or 2 for wrong usage or files that cannot be used.
    """
    from bylaw.runtime.audit import scaling, verdict_files
    from bylaw.runtime.report import compare_plots, compare_tables

    scalars = {"--mean": mean, "--sd": sd, "--target": target, "--judge": judge}
    given = [name for name, value in scalars.items() if value is not None]
    if (samples is None) == (not given) or (given and len(given) < len(scalars)):
        raise click.UsageError("give a file of SAMPLES, or all of --mean, --sd, --target and --judge")
    if plot is not None and samples is None:
        raise click.UsageError("--plot draws the curve of SAMPLES; the scalar model has none")
    require_picture(plot)
    with unusable():
        if samples is not None:
            found = scaling.scaling_curve(verdict_files.read_scores(samples, score, truth), most=draws, seed=seed)
            write_picture(plot, "scaling", lambda: compare_plots.scaling_figure(found))
            data = {**asdict(found), "is_overoptimised": found.is_overoptimised}
            print_answer(compare_tables.curve_sections(found), data, output)
            return
        assert mean is not None
        assert sd is not None
        assert target is not None
        assert judge is not None
        model, used = scaling.Scalar(mean, sd, target, judge), draws or 16
        best = scaling.best_draws(model)
        temperature, softened = scaling.best_temperature(model, used)
        nearest = scaling.nearest_error(model, used)
    data = {
        "model": asdict(model), "best": asdict(best), "draws": used, "error": nearest,
        "best_temperature": temperature, "error_at_best_temperature": softened,
    }  # fmt: skip
    print_answer(compare_tables.scalar_sections(model, best, used, (nearest, softened, temperature)), data, output)


# -------------------------------------------------------------------------------------------------------------- parts
def _steps(given: str | None, count: int) -> list[float]:
    import math

    if given is None:
        return [float(number) for number in range(count)]
    try:
        numbers = [float(part) for part in given.split(",")]
    except ValueError:
        raise click.UsageError(f"--steps `{given}` is no list of numbers, as in 0,500,1000") from None
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        raise click.UsageError(f"--steps has {len(numbers)} numbers for {count} files: give one to each")
    return numbers


def _files(paths: Sequence[str]) -> tuple[list[dict[str, list[Trace]]], bool]:
    """(the traces of each file by prompt, whether a line of them was left out)."""
    from bylaw.runtime.audit.answer_files import grouped
    from bylaw.runtime.audit.transcripts import read_transcripts

    files, is_left_out = [], False
    for path in paths:
        read = read_transcripts(path)
        for problem in read.problems:
            click.echo(f"left out: {problem.source}:{problem.line}: {problem.message}", err=True)
        is_left_out |= bool(read.problems)
        files.append(grouped(read.traces))
    return files, is_left_out


def _say_prompts_left_out(files: Sequence[dict[str, list[Trace]]], shared: int) -> bool:
    left = len({prompt for each in files for prompt in each}) - shared
    if left:
        click.echo(f"left out: {left} prompts that not every file answers", err=True)
    return left > 0


def _short(paths: Sequence[str]) -> list[str]:
    """File names without their folders and endings where these tell them apart."""
    from pathlib import Path

    names = [Path(path).stem for path in paths]
    return names if len(set(names)) == len(names) else list(paths)


def _listed(given: dict[str, list[str]], trace: Trace, path: str) -> list[str]:
    from bylaw.runtime.audit.answer_files import ComparisonError, asked
    from bylaw.runtime.audit.inputs import quote

    prompt = asked(trace)
    if prompt not in given:
        raise ComparisonError(f"{quote(path)} lists no answers to {quote(prompt)}")
    return given[prompt]


def _sorted_out(
    file: dict[str, list[Trace]],
    prompts: Sequence[str],
    terms: tuple[RewardTerm, ...],
    listed: dict[str, list[str]] | None,
) -> Answers:
    from bylaw.runtime.audit.answer_files import answer_of, is_valid

    found: dict[str, tuple[list[str], list[bool | None]]] = {}
    for prompt in prompts:
        texts = [answer_of(trace) for trace in file[prompt]]
        if listed is None:
            found[prompt] = texts, [is_valid(terms, trace) for trace in file[prompt]]
        else:
            found[prompt] = texts, [text in listed[prompt] for text in texts]
    return found
