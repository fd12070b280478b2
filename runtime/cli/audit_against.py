"""`bylaw audit`: the options for what is said of all rules together, and of other transcripts beside these."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from bylaw.runtime.cli.law import Share
from bylaw.runtime.cli.shared import UNUSABLE, fail

if TYPE_CHECKING:
    from bylaw.compiler.program import RewardProgram
    from bylaw.runtime.audit.declared_score import Weights
    from bylaw.runtime.cli.audit_steps import Measured
    from bylaw.runtime.record import AuditRecord

_OPTIONS = (
    click.option(
        "--against",
        type=click.Path(),
        help="Other transcripts, of another model or checkpoint: compare rule by rule, answers to the same prompts as "
        "pairs.",
    ),
    click.option(
        "--unpaired", is_flag=True, help="With --against, where no prompt is in both: compare as independent samples."
    ),
    click.option(
        "--adjust",
        type=click.Choice(["bh", "holm", "by"]),
        default="bh",
        show_default=True,
        help="Adjust p-values for the number of rules: bh and by list rules of which 10% may be there by chance, holm "
        "rules of which with 90% certainty none is.",
    ),
    click.option(
        "--weights",
        metavar="own|RULE=W,...|FILE",
        help="Give the whole policy a score too, with these weights: the policy's own, or as declared here or in a "
        "JSON file.",
    ),
    click.option(
        "--most-unscored",
        type=Share(),
        default="2%",
        show_default=True,
        metavar="SHARE",
        help="With --gate, fail where more than this share of the answers to a rule could not be scored.",
    ),
)


@dataclass(frozen=True, slots=True)
class StatisticsOptions:
    """What was asked for; `declared` are the weights, once `ready` has read them."""

    against: str | None
    unpaired: bool
    adjust: str
    weights: str | None
    most_unscored: float
    declared: Weights | None = None

    def ready(self, program: RewardProgram) -> StatisticsOptions:
        """The options with their weights, checked before any work is done; what is wrong is one message and exit code
        2."""
        if self.unpaired and self.against is None:
            raise click.UsageError("--unpaired is about --against: name the other transcripts")
        if self.against is not None and not os.path.exists(self.against):
            fail(f"there are no transcripts at `{self.against}`", UNUSABLE)
        if self.weights is None:
            return self
        from bylaw.runtime.audit.declared_score import WeightError, weights_of

        try:
            return replace(self, declared=weights_of(self.weights, program.terms))
        except WeightError as error:
            fail(str(error), UNUSABLE)


def statistics_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options about all rules together; the command gets them as one argument `statistics`."""

    @wraps(command)
    def with_options(*arguments: Any, **options: Any) -> Any:
        given = {name: options.pop(name) for name in ("against", "unpaired", "adjust", "weights", "most_unscored")}
        return command(*arguments, statistics=StatisticsOptions(**given), **options)

    wrapped: Callable[..., Any] = with_options
    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped


def with_statistics(measured: Measured, options: StatisticsOptions) -> Measured:
    """The audit with its tests, its score and its comparison, where these were asked for.

    An audit that stopped as soon as it could has no tests: their p-values hold for a number of answers that was fixed
    before. Other transcripts that cannot be compared are one message and exit code 2.
    """
    from bylaw.runtime.audit.rules_together import METHODS, rule_tests
    from bylaw.runtime.audit.summary import is_scored_enough

    record, method = measured.record, METHODS[options.adjust]
    most = options.most_unscored
    terms = (
        replace(term, is_scored_enough=is_scored_enough(term.applicable, term.unscored, most)) for term in record.terms
    )
    record = replace(record, terms=tuple(terms), most_unscored=most)
    if record.stopping is None:
        record = replace(record, tests=rule_tests(measured.columns, method))
    if options.declared is not None:
        record = _with_score(record, measured, options.declared)
    if options.against is not None:
        record = _with_other(record, measured, options)
    return replace(measured, record=record)


def _with_score(record: AuditRecord, measured: Measured, weights: Weights) -> AuditRecord:
    from bylaw.runtime.audit.declared_score import declared_score

    found = declared_score(measured.columns, weights)
    if isinstance(found, str):
        click.echo(f"warning: {found}", err=True)
        return record
    return replace(record, score=found)


def _with_other(record: AuditRecord, measured: Measured, options: StatisticsOptions) -> AuditRecord:
    from bylaw.runtime.audit.against import AgainstError, compare_against
    from bylaw.runtime.audit.rules_together import METHODS
    from bylaw.runtime.cli.audit_steps import measure_or_exit
    from bylaw.runtime.cli.scoring import say_unanswered
    from bylaw.runtime.record import InputProblem

    assert options.against is not None
    request = measured.request
    # tables of verdicts are of the transcripts that are audited
    engine = None if request.engine is None else replace(request.engine, verdicts=None)
    other = measure_or_exit(replace(request, transcripts=options.against, wanted=(), examples=0, engine=engine))
    unanswered = []
    if other.scoring is not None and say_unanswered(other.scoring):
        unanswered = [InputProblem(options.against, 0, "the scorer gave no answer to some questions")]
    try:
        found = compare_against(
            measured.columns,
            other.columns,
            source=options.against,
            clauses={term.term: term.clause for term in record.terms},
            is_paired=not options.unpaired,
            method=METHODS[options.adjust],
        )
    except AgainstError as error:
        fail(str(error), UNUSABLE)
    complete = record.complete and other.record.complete
    return replace(
        record, against=found, problems=(*record.problems, *other.record.problems, *unanswered), complete=complete
    )
