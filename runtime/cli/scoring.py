"""What the verbs share that score concepts: the options, the scorers that they make, and what is said of the scores."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bylaw.runtime.cli.shared import UNUSABLE, fail
from bylaw.spec.errors import place

if TYPE_CHECKING:
    from bylaw.compiler.pipeline import Compiled
    from bylaw.runtime.audit.inputs import Transcripts
    from bylaw.runtime.judgements.scoring import AnswerScores
    from bylaw.runtime.scorers.asking import Asker, ScoringRecord
    from bylaw.runtime.scorers.build import Scorers
    from bylaw.runtime.scorers.catalog import Making
    from bylaw.runtime.scoring_record import ConceptScoring
    from bylaw.spec.expression import Concept
    from bylaw.spec.trace import Trace


@dataclass(frozen=True, slots=True)
class Scoring:
    """What the command line says of scores. `folder`: what `bylaw concept --out` wrote; `judge`: an address."""

    labels: tuple[str, ...] = ()
    folder: str | None = None
    judge: str | None = None
    judge_model: str | None = None
    judge_key: str | None = None
    judge_budget: int | None = None
    judge_repeats: int = 1
    judge_itself: bool = False
    rough: bool = False
    allow_functions: bool = False

    @property
    def is_asked_for(self) -> bool:
        """Whether any option was given."""
        return self != Scoring()


_OPTIONS = (
    click.option(
        "--labels", "labels", multiple=True, type=click.Path(),
        help="Texts that people labelled with concepts (JSON Lines or CSV), to score by; repeatable.",
    ),
    click.option(
        "--scorers", "scorer_folder", type=click.Path(),
        help="Score with what `bylaw concept --out` wrote to this folder.",
    ),
    click.option("--judge", metavar="URL", help="Ask this OpenAI-compatible endpoint what is `scored by judge`."),
    click.option("--judge-model", metavar="NAME", help="The name that the endpoint knows the judge by."),
    click.option("--judge-key", metavar="VARIABLE", help="The environment variable with the endpoint's API key."),
    click.option("--judge-budget", metavar="N", type=click.IntRange(1), help="Most questions sent to the judge."),
    click.option(
        "--judge-repeats", metavar="K", default=1, show_default=True, type=click.IntRange(1, 25),
        help="How often each question is asked; the share of the answers is the score.",
    ),
    click.option(
        "--judge-itself", is_flag=True, help="Let a model judge its own answers, which it tends to favour.",
    ),
    click.option("--rough", is_flag=True, help="Let scores count that too few examples were held against."),
    click.option("--allow-functions", is_flag=True, help="Run the Python functions that concepts are `scored by`."),
)  # fmt: skip


def scoring_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options about scores, the same for every verb; the command gets them as one argument `scoring`."""

    @wraps(command)
    def with_scoring(*arguments: Any, **options: Any) -> Any:
        names = {"scorer_folder": "folder"}
        own = ("labels", "scorer_folder", "judge", "judge_model", "judge_key", "judge_budget", "judge_repeats")
        flags = ("judge_itself", "rough", "allow_functions")
        given = {names.get(name, name): options.pop(name) for name in (*own, *flags)}
        return command(*arguments, scoring=Scoring(**given), **options)

    wrapped: Callable[..., Any] = with_scoring
    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped


# ----------------------------------------------------------------------------------------------------- making scorers
@contextmanager
def scoring_refused() -> Iterator[None]:
    """Each way in which scoring can turn out impossible is one message and exit code 2."""
    from bylaw.runtime.judges.interface import JudgeError
    from bylaw.runtime.scorers.interface import ScorerError

    try:
        yield
    except (ScorerError, JudgeError) as error:
        fail(str(error), UNUSABLE)


def scorers_or_exit(compiled: Compiled, rules: str, scoring: Scoring, model: str | None = None) -> Scorers:
    """The scorers of the concepts that rules hang on; what cannot be made is a message and exit code 2.

    `model` is the one under test, which a judge may not be.
    """
    from bylaw.runtime.scorers.build import NoScorer, Scorers, build, concepts_of

    require(scoring)
    program = compiled.draft if compiled.program is None else compiled.program
    concepts = {} if program is None else concepts_of(program)
    if not concepts:
        if scoring.is_asked_for:
            click.echo("note: no rule of this policy asks what a text expresses, so nothing is scored", err=True)
        return Scorers({}, {})
    known = {**_declared(compiled), **concepts}
    from bylaw.runtime.cli.label_files import labels_or_exit
    from bylaw.runtime.concepts.folder import read_folder, with_folder

    labels, left_out = labels_or_exit(scoring.labels, tuple(known.values()))
    making = making_of(rules, scoring, labels, model)
    with scoring_refused():
        if scoring.folder is not None:
            making = with_folder(making, read_folder(scoring.folder, concepts))
        try:
            return replace(build(concepts, making), left_out=left_out)
        except NoScorer as error:
            fail(f"{place_of(compiled, error.concept)}{error}", UNUSABLE)


def _declared(compiled: Compiled) -> dict[str, Concept]:
    """The concepts of the policy itself: labels may speak of those that no rule hangs on."""
    return {} if compiled.regulators is None else {each.name: each for each in compiled.regulators.concepts}


def require_other_judges(scorers: Scorers, traces: Iterable[Trace]) -> None:
    """A judge may not judge what it wrote itself: exit code 2; a line on stderr where transcripts do not name the model
    that answered."""
    from bylaw.runtime.judges.under_test import models_that_answered, models_that_judge, require_other_models

    judging = models_that_judge(scorers.by_concept.values())
    if not judging:
        return
    answered = models_that_answered(traces)
    if not answered:
        announce("the transcripts name no `model` that answered: see to it that the judge is another one")
    with scoring_refused():
        require_other_models(judging, answered)


def require(scoring: Scoring) -> None:
    """Raises click.UsageError for options that do not go together."""
    if scoring.judge is not None and scoring.judge_model is None:
        raise click.UsageError("--judge needs --judge-model, the name that the endpoint knows its model by")
    judged = (
        ("--judge-model", scoring.judge_model),
        ("--judge-key", scoring.judge_key),
        ("--judge-budget", scoring.judge_budget),
        ("--judge-repeats", None if scoring.judge_repeats == 1 else scoring.judge_repeats),
    )
    for name, value in judged:
        if scoring.judge is None and value is not None:
            raise click.UsageError(f"{name} is of use with --judge only")


def making_of(rules: str, scoring: Scoring, labels: Mapping[str, Any], model: str | None = None) -> Making:
    """What scorers are made from, as the command line says it, but for what a folder holds."""
    from bylaw.runtime.scorers.catalog import Making

    require(scoring)
    tested = {"model_under_test": model, "is_same_model_allowed": scoring.judge_itself}
    options: dict[str, object] = {"function": scoring.allow_functions, "local_judge": tested}
    if scoring.judge is not None:
        options["judge"] = {
            "url": scoring.judge,
            "model": scoring.judge_model,
            "key_variable": scoring.judge_key,
            "requests": scoring.judge_budget,
            "repeats": scoring.judge_repeats,
            **tested,
        }
    return Making(labels=labels, base=Path(rules).parent, options=options, is_rough_allowed=scoring.rough)


def place_of(compiled: Compiled, concept: str) -> str:
    """Where a concept of the policy itself stands, with a colon behind it."""
    from bylaw.spec import ast

    for item in compiled.module.items:
        if isinstance(item, ast.ConceptDecl) and item.name.text == concept:
            path, where = place(compiled.source, item.name.span)
            return f"{path}:{where.line}:{where.column}: "
    return ""


# --------------------------------------------------------------------------------------------------- what came of them
@contextmanager
def live_prompts(
    compiled: Compiled, rules: str, scoring: Scoring, prompts: Transcripts, model: str | None
) -> Iterator[tuple[Transcripts, Asker | None]]:
    """(the prompts, which ask for the scores of their answers; who is asked: None where no rule hangs on a concept).

    `model` writes the answers: a judge of that name is refused. At the end it is said what came of the scores.
    """
    scorers = scorers_or_exit(compiled, rules, scoring, model)
    if not scorers.by_concept:
        yield prompts, None
        return
    from bylaw.runtime.scorers._live import live_trace
    from bylaw.runtime.scorers.asking import Asker

    asker = Asker.of(compiled.require(), scorers)
    if scoring.judge is not None and scoring.judge_budget is None:
        announce("the judge is asked about every answer that is weighed; --judge-budget N sends it N questions at most")
    with scoring_refused():
        try:
            yield replace(prompts, traces=tuple(live_trace(trace, asker) for trace in prompts.traces)), asker
        finally:
            say_scores(asker.record())
            for concept, words in asker.drifted().items():
                click.echo(f"warning: `{concept}`: {words}; its scores counted all the same", err=True)


@contextmanager
def scored_answers(
    compiled: Compiled, rules: str, scoring: Scoring, *, takes_doubtful: bool
) -> Iterator[AnswerScores | None]:
    """What scores judged answers, None where no rule hangs on a concept; at the end it is said what came of it.

    Where no option asks for scores, a concept that nothing is known of is left as it is.
    """
    scorers = scorers_or_exit(compiled, rules, scoring)
    if not scorers.by_concept:
        yield None
        return
    from bylaw.runtime.cli.sampling import Bars
    from bylaw.runtime.judgements.scoring import AnswerScores
    from bylaw.runtime.scorers.asking import Asker

    program = compiled.require()
    with scoring_refused(), Bars(is_quiet=True) as bars:
        asker = Asker.of(program, scorers, bars, announce, takes_doubtful=takes_doubtful)
        yield AnswerScores(asker, program, scoring.is_asked_for)
    say_scores(asker.record())


SCORES = "scores.jsonl"


def write_scores(record: ScoringRecord, folder: str) -> Path:
    """Writes every answer with what another person needs to come to it again (never the text itself, but its SHA-256),
    one JSON object a line. The folder is there; the file is written whole or not at all."""
    from bylaw.runtime.record import writable
    from bylaw.spec.fixes import write_atomically

    lines = []
    for concept, answer in record.answers:
        known = {"score": answer.score, "low": answer.low, "high": answer.high} if answer.why is None else {}
        reason = {} if answer.why is None else {"unscored": answer.why, "reason": answer.reason}
        seen = {"passages": answer.passages} if answer.passages else {}
        data = {"concept": concept, **known, **reason, **seen, "record": dict(answer.record)}
        lines.append(json.dumps(writable(data), allow_nan=False, default=str) + "\n")
    path = Path(folder) / SCORES
    try:
        write_atomically(path, "".join(lines))
    except OSError as error:
        fail(f"`{path}` cannot be written: {error.strerror or error}", UNUSABLE)
    return path


def announce(words: str) -> None:
    """One line on stderr."""
    click.echo(f"note: {words}", err=True)


def say_scores(record: ScoringRecord) -> None:
    """One line on stderr for each concept, and what judges cost."""
    for each in record.concepts:
        click.echo(f"note: {in_words(each)}", err=True)
        for remark in each.remarks:
            click.echo(f"warning: `{each.concept}`: {remark}", err=True)
        for note in each.notes:
            click.echo(f"note: `{each.concept}`: {note}", err=True)
    cost = record.cost
    if cost.requests or cost.cached:
        click.echo(
            f"note: judges were sent {cost.requests:,} questions ({cost.tokens_in:,} tokens in, "
            f"{cost.tokens_out:,} out, {cost.seconds:.0f} s of waiting); {cost.cached:,} answers were there already",
            err=True,
        )


_REMEDIES = {
    "budget": "raise --judge-budget",
    "input": "see the reasons above",
    **dict.fromkeys(("transport", "timeout", "parse", "refusal", "filtered"), "run again to go on"),
}
"""What to do about texts whose scorer gave no answer; the other classes of reasons are answers: it cannot tell."""


def say_unanswered(record: ScoringRecord) -> bool:
    """Whether there are texts whose scorer gave no answer; says on stderr how many, and what to do."""
    found: Counter[str] = Counter()
    for each in record.concepts:
        for why, number, _ in each.unscored:
            if why in _REMEDIES:
                found[why] += number
    if found:
        classes = ", ".join(f"{number:,} {why}" for why, number in found.most_common())
        remedies = list(dict.fromkeys(_REMEDIES[why] for why, _ in found.most_common()))
        kept = "" if remedies == [_REMEDIES["input"]] else " (answers that came are kept)"
        click.echo(
            f"warning: the scorer gave no answer to {found.total():,} questions ({classes}), which are left out of "
            f"this audit: {'; '.join(remedies)}{kept}",
            err=True,
        )
    return bool(found)


def in_words(scoring: ConceptScoring) -> str:
    """`` `rude`: 90 of 100 texts scored by words, 3 express it; 10 cannot_tell: ... ``"""
    texts = "1 text" if scoring.asked == 1 else f"{scoring.asked:,} texts"
    said = f"`{scoring.concept}`: {scoring.scored:,} of {texts} scored by {scoring.scorer}"
    if scoring.scored:
        said += f", {scoring.expressing:,} express it"
    for why, number, reason in scoring.unscored:
        said += f"; {number:,} not ({why.replace('_', ' ')}): {reason}"
    return said
