"""`bylaw fit`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bylaw.runtime.cli.paths import PolicyPath
from bylaw.runtime.cli.scoring import Scoring, scored_answers, scoring_options
from bylaw.runtime.cli.shared import LEFT_OUT, POLICY_ERROR, UNUSABLE, compile_or_exit, fail

if TYPE_CHECKING:
    from bylaw.compiler.pipeline import Compiled
    from bylaw.runtime.judgements.comparisons import ClassOrder, Comparisons
    from bylaw.runtime.judgements.reader import Judgements
    from bylaw.runtime.judgements.record import FitOptions, JudgementsRead, WeightRecord
    from bylaw.runtime.judgements.scoring import AnswerScores

MARGINS = {"logistic": 0.0, "hinge": 1.0}
"""Nats, for judgements without a margin of their own."""
FOLDS = 5
LARGEST = 1_000.0
"""Of each number of the command line: no weight beyond a thousand nats means anything."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What the command line asks for."""

    rules: str
    files: tuple[str, ...]
    order: str | None
    options: FitOptions
    scores: AnswerScores | None = None


class _Nats(click.ParamType[float]):
    """A number from 0 on."""

    name = "nats"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            number = float(value)
        except ValueError:
            self.fail(f"`{value}` is no number", param, ctx)
        if not 0 <= number <= LARGEST:
            self.fail(f"`{value}` is not a number from 0 to {LARGEST:,.0f}", param, ctx)
        return number


@click.command("fit")
@click.argument("rules", type=PolicyPath())
@click.option("--judgements", "files", multiple=True, type=click.Path(), help="JSON Lines file; may be repeated.")
@click.option("--from-examples", is_flag=True, help="Judge by the policy's own examples too: complies over violates.")
@click.option(
    "--order",
    metavar="ORDER",
    help="What ranks classes: a rule with `prefer ideal over fine`, of definitions called like the classes, or "
    "`best>next>...`.",
)
@click.option("--group-by", metavar="FACT", help="Compare labelled answers to different prompts with the same FACT.")
@click.option(
    "--loss",
    type=click.Choice(["logistic", "hinge"]),
    default="logistic",
    show_default=True,
    help="How likely judgements are (Bradley-Terry), or by how much they miss a margin.",
)
@click.option(
    "--l2",
    type=_Nats(),
    metavar="STRENGTH",
    default=0.1,
    show_default=True,
    help="How strongly weights are held where they are (1/nats²; 0: not at all).",
)
@click.option("--margin", type=_Nats(), help="Nats of a judgement without its own.  [default: 0; hinge: 1]")
@click.option("--keep", multiple=True, metavar="RULE", help="Leave this weight as it is; may be repeated.")
@click.option("--without", multiple=True, metavar="RULE", help="Leave this rule aside; may be repeated.")
@click.option("--at-least", type=_Nats(), default=0.0, show_default=True, help="No weight is smaller (nats).")
@click.option("--at-most", type=_Nats(), help="No weight is larger (nats).")
@click.option("--soft", "is_soft", is_flag=True, help="Let a rule count as much as scores make it likely to be broken.")
@click.option("--monotone", "is_monotone", is_flag=True, help="No `should` weighs less than one of a weaker level.")
@click.option("--resamples", type=click.IntRange(0, 100_000), default=400, show_default=True, help="For the intervals.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="What is drawn with.")
@click.option(
    "--format",
    "output",
    type=click.Choice(["text", "json", "markdown"]),
    default="text",
    show_default=True,
    help="How to print the fit.",
)
@click.option("--out", type=click.Path(dir_okay=False), help="Write the record to this JSON file.")
@click.option("--plot", type=click.Path(dir_okay=False), help="Draw the weights into this SVG file.")
@click.option("--diff", "shows_diff", is_flag=True, help="Show how the policy file would change.")
@click.option("--write", "is_written", is_flag=True, help="Put the weights into the policy file.")
@scoring_options
def command(
    rules: str, files: tuple[str, ...], from_examples: bool, order: str | None, group_by: str | None, loss: str,
    l2: float, margin: float | None, keep: tuple[str, ...], without: tuple[str, ...], at_least: float,
    at_most: float | None, is_monotone: bool, is_soft: bool, resamples: int, seed: int, output: str, out: str | None,
    plot: str | None, shows_diff: bool, is_written: bool, scoring: Scoring,
) -> None:  # fmt: skip
    """Fit the weights of the policy RULES to judgements of which of two answers is better.

    \b
    bylaw fit rules.bylaw --judgements pairs.jsonl --diff
    bylaw fit rules.bylaw --judgements labelled.jsonl --order 'ideal>acceptable>bad'

    A line of a file is {"prompt", "chosen", "rejected"}, with "margin" and "weight" where they are known; a tie
    {"prompt", "responses": [a, b], "tie": true}; a ranking {"prompt", "ranking": [[best, ...], [next, ...]]}; or one
    labelled answer {"prompt", "response", "class"}. "labels" say which concepts an answer expresses, "facts" what else
    is known. What nobody said of an answer is scored as in `bylaw audit`.

    Weights are in nats and never negative. Of several weights that explain the judgements equally well, the nearest to
    those of the policy are given. So fitting again, after --write, to the same judgements counts them twice. The
    intervals (95%) come from resampling prompts.

    With --soft a rule counts as much as scores make it likely to be broken, where otherwise a score only says on which
    side of its threshold a text is. What share of the texts expresses a concept is found from the scores; different
    concepts are taken to be independent.

    Exit code 0 when the weights were fitted, 1 when the policy is not sound or no weights can be found or written, 2
    for wrong usage or an unusable file, 3 when judgements were left out: the report says which.
    """
    from bylaw.runtime.judgements.record import FitOptions

    if resamples == 1:
        raise click.UsageError("--resamples 1 shows nothing; give 0, or 100 and more")
    _require(files, from_examples, at_least, at_most, out, plot)
    if both := sorted({*keep} & {*without}):
        raise click.UsageError(f"`{both[0]}` is named by --keep and by --without; a rule left aside has no weight here")
    compiled = compile_or_exit(rules)
    options = FitOptions(
        loss=loss,
        l2=l2,
        at_least=at_least,
        at_most=at_most,
        margin=MARGINS[loss] if margin is None else margin,
        is_monotone=is_monotone,
        keep=_known(compiled, keep, "--keep", ("soft", "graded")),
        without=_known(compiled, without, "--without", ("soft", "graded", "hard")),
        order=(),
        group_by=_fact(group_by),
        from_examples=from_examples,
        resamples=resamples,
        folds=FOLDS,
        seed=seed,
        is_soft=is_soft,
    )
    with scored_answers(compiled, rules, scoring, takes_doubtful=is_soft) as scores:
        record = _fitted(compiled, _Wanted(rules, files, order, options, scores))
    _print(record, output)
    _write(record, out, plot)
    if shows_diff or is_written:
        _change(rules, compiled, record, is_written, None if not shows_diff else output == "json")
    raise SystemExit(LEFT_OUT if record.is_left_out else 0)


# -------------------------------------------------------------------------------------------------------------- usage
def _require(
    files: tuple[str, ...], from_examples: bool, at_least: float, at_most: float | None, out: str | None,
    plot: str | None,
) -> None:  # fmt: skip
    """Ends the command when it could not do what it is asked to, before any work is done."""
    if not files and not from_examples:
        raise click.UsageError("name a file with --judgements, or give --from-examples")
    if at_most is not None and at_most <= at_least:
        raise click.UsageError(f"--at-most {at_most:g} leaves no room above --at-least {at_least:g}")
    if plot is not None and not plot.endswith(".svg"):
        raise click.UsageError(f"`{plot}` must end with `.svg`")
    if out is not None and not out.endswith(".json"):
        raise click.UsageError(f"`{out}` must end with `.json`")
    for path in (out, plot):
        if path is not None and not Path(path).resolve().parent.is_dir():
            fail(f"the folder of `{path}` is not there", UNUSABLE)
    places = [Path(path).resolve() for path in files]
    if len(set(places)) < len(places):
        fail("a file of judgements is named twice; its judgements would count twice", UNUSABLE)


def _known(compiled: Compiled, names: tuple[str, ...], option: str, kinds: tuple[str, ...]) -> tuple[str, ...]:
    """Names of rules of these kinds, each once; otherwise exit code 2."""
    from bylaw.spec import catalog

    terms = [term for term in compiled.require().terms if term.kind in kinds]
    known = {name for term in terms for name in (term.rule, term.id)}
    for name in names:
        if name not in known:
            nearest = catalog.nearest(name, tuple(sorted(known)))
            near = f"; did you mean `{nearest}`?" if nearest else ""
            what = "rule" if "hard" in kinds else "rule with a weight"
            fail(f"{option}: there is no {what} called `{name}`{near}", UNUSABLE)
    return tuple(dict.fromkeys(names))


def _fact(name: str | None) -> str | None:
    from bylaw.runtime.audit.inputs import fact_name

    return None if name is None else fact_name(name)


# -------------------------------------------------------------------------------------------------------------- work
def _fitted(compiled: Compiled, wanted: _Wanted) -> WeightRecord:
    """The record of the fit; otherwise one message and exit code 1 or 2."""
    from bylaw.runtime.audit.inputs import TranscriptError
    from bylaw.runtime.judgements.features import WeighingError
    from bylaw.runtime.judgements.reader import read_judgements
    from bylaw.runtime.judgements.record import JudgementsRead, file_digest

    try:
        read: list[tuple[Judgements, JudgementsRead]] = []
        is_same_name = len({Path(path).name for path in wanted.files}) < len(wanted.files)
        for path in wanted.files:
            found = read_judgements(path, shown=path if is_same_name else None)
            for words in found.warnings:
                click.echo(f"warning: {words}", err=True)
            about = JudgementsRead(path, file_digest(Path(path)), len(found.judgements), len(found.labelled))
            read.append((found, about))
        comparisons, order, classes = _compared(compiled, wanted, [found for found, _ in read])
        return _weighed(compiled, wanted, comparisons, order, classes, read)
    except TranscriptError as error:
        fail(str(error), UNUSABLE)
    except OSError as error:
        fail(f"`{error.filename}` cannot be read: {error.strerror or error}", UNUSABLE)
    except WeighingError as error:
        fail(str(error), POLICY_ERROR)


def _compared(
    compiled: Compiled, wanted: _Wanted, read: list[Judgements]
) -> tuple[Comparisons, ClassOrder | None, tuple[int, ...]]:
    """All pairs; with the order of classes, where answers are labelled, and how many each class has."""
    from bylaw.runtime.judgements.comparisons import Comparisons, add_examples, add_labelled, class_order

    made = Comparisons()
    for judgement in (each for found in read for each in found.judgements):
        made.add(judgement)
    labelled = [each for found in read for each in found.labelled]
    order: ClassOrder | None = None
    classes: tuple[int, ...] = ()
    if labelled:
        order = class_order(compiled, wanted.order)
        labelled = labelled if wanted.scores is None else wanted.scores.classed(labelled, order)
        classes = add_labelled(made, labelled, order, wanted.options.group_by, wanted.options.seed)
    elif wanted.order is not None or wanted.options.group_by is not None:
        fail("--order and --group-by are about labelled answers, and there are none", UNUSABLE)
    if wanted.options.from_examples:
        add_examples(made, compiled, wanted.rules)
    if not made.pairs:
        why = f": {made.left_out[0].place}: {made.left_out[0].reason}" if made.left_out else _no_pairs(wanted, labelled)
        fail(f"there are no two answers to compare{why}", UNUSABLE)
    return made.with_margin(wanted.options.margin), order, classes


def _no_pairs(wanted: _Wanted, labelled: list[Any]) -> str:
    if labelled and wanted.options.group_by is None:
        return "; no prompt has answers of two classes (--group-by FACT compares answers to different prompts)"
    return "; no rule has an example that complies and one that violates it in the same conversation" * (not labelled)


def _weighed(
    compiled: Compiled, wanted: _Wanted, made: Comparisons, order: ClassOrder | None, classes: tuple[int, ...],
    read: list[tuple[Judgements, JudgementsRead]],
) -> WeightRecord:  # fmt: skip
    from dataclasses import replace

    from bylaw.compiler.soft_values import SoftValues
    from bylaw.runtime.judgements.features import features_of, pose, unknown_labels, weighed_terms
    from bylaw.runtime.judgements.fitting import record_of
    from bylaw.runtime.judgements.shares import shares_of

    program = compiled.require()
    ordering = () if order is None or order.term is None else (order.term.id,)
    options = replace(wanted.options, order=ordering if order is None or ordering else order.names)
    terms = weighed_terms(program, (*options.without, *ordering))
    if wanted.scores is not None:
        made = wanted.scores.compared(made, terms if options.is_soft else ())
    shares = shares_of(made.answers) if options.is_soft else {}
    options = replace(options, shares=tuple(shares.items()))
    soft = SoftValues(shares) if options.is_soft else None
    with _bar("Reading answers", len(made.answers)) as advance:
        features = features_of(program, made.answers, terms, options.without, advance, soft)
    posed = pose(made, features)
    names = () if order is None else (*order.names, "none of them")
    counted = tuple((name, count) for name, count in zip(names, classes, strict=True))
    unread = unknown_labels(compiled, made.answers)
    problems = tuple(problem for found, _ in read for problem in found.problems)
    return record_of(
        compiled, wanted.rules, options, made, posed, tuple(about for _, about in read), counted, problems, unread
    )


@contextmanager
def _bar(what: str, total: int) -> Iterator[Callable[[], None]]:
    """A progress bar on stderr, where that is a terminal."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress

    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    shown = Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
    with shown as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.update(task, advance=1)


# ------------------------------------------------------------------------------------------------------------- output
def _print(record: WeightRecord, output: str) -> None:
    from bylaw.runtime.judgements.record import to_json
    from bylaw.runtime.report.fit_text import render_markdown, render_text

    show = {"json": to_json, "markdown": render_markdown, "text": render_text}[output]
    click.echo(show(record))


def _write(record: WeightRecord, out: str | None, plot: str | None) -> None:
    """Writes the record and the picture, each whole or not at all."""
    from bylaw.runtime.judgements.record import to_json
    from bylaw.spec.fixes import write_atomically

    texts = [(out, to_json(record) + "\n")] if out is not None else []
    if plot is not None:
        from bylaw.runtime.report.fit_plot import weight_plot

        texts.append((plot, weight_plot(record)))
    for path, text in texts:
        assert path is not None
        try:
            write_atomically(Path(path), text)
        except OSError as error:
            fail(f"`{path}` cannot be written: {error.strerror or error}", UNUSABLE)
        click.echo(f"{path}: written", err=True)


def _change(rules: str, compiled: Compiled, record: WeightRecord, is_written: bool, diff: bool | None) -> None:
    """Makes the change of the policy file, and shows it unless `diff` is None: on stderr where it is true.

    Where it cannot be made there is one message, and the file is as it was.
    """
    import difflib

    from bylaw.runtime.cli.fmt import replace_file
    from bylaw.runtime.judgements.writing import WeightsUnwritable, with_weights
    from bylaw.spec.errors import PolicyError
    from bylaw.spec.source import read_text

    weights = {row.term: row.fitted for row in record.rows if row.status != "kept"}
    try:
        before = read_text(rules)
        after = with_weights(rules, before, compiled, weights)
    except PolicyError as error:
        fail(str(error), UNUSABLE)
    except WeightsUnwritable as error:
        fail(str(error), POLICY_ERROR)
    if diff is not None:
        click.echo(err=diff)
        old, new = (text.splitlines(keepends=True) for text in (before, after))
        for line in difflib.unified_diff(old, new, rules, rules):
            click.echo(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n", nl=False, err=diff)
    if is_written and before != after:
        try:
            replace_file(Path(rules), after.encode())
        except OSError as error:
            fail(f"`{rules}` cannot be written: {error.strerror or error}", UNUSABLE)
    if is_written:
        click.echo(f"{rules}: {'the weights are written' if before != after else 'nothing to change'}", err=True)
