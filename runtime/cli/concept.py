"""`bylaw concept`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bylaw.runtime.cli.concept_warnings import tell_gate, warn
from bylaw.runtime.cli.paths import PolicyPath
from bylaw.runtime.cli.scoring import Scoring, require, scoring_options, scoring_refused
from bylaw.runtime.cli.shared import GATE_FAILED, LEFT_OUT, POLICY_ERROR, UNUSABLE, compile_or_exit, fail

if TYPE_CHECKING:
    from bylaw.compiler.pipeline import Compiled
    from bylaw.runtime.concepts.examples import Candidate
    from bylaw.runtime.concepts.folder import FittedFolder
    from bylaw.runtime.concepts.labels import LabelledText
    from bylaw.runtime.concepts.report import ConceptReport
    from bylaw.runtime.judges.interface import Estimate
    from bylaw.runtime.scorers._withdrawal import Comparison
    from bylaw.runtime.scorers.build import Scorers
    from bylaw.runtime.scorers.catalog import Making
    from bylaw.runtime.scorers.interface import Question, Scored
    from bylaw.runtime.scoring_record import DriftTest
    from bylaw.spec.expression import Concept


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What the command line asks for."""

    rules: str
    name: str | None
    texts: str | None
    out: str | None
    alpha: float | None
    examples: int
    output: str


@dataclass(frozen=True, slots=True)
class _Texts:
    """Texts without labels, and how many parts of their file were left out."""

    texts: tuple[LabelledText, ...] = ()
    left_out: int = 0


class _Alpha(click.FloatRange):
    """The share of each class that prediction sets may miss."""

    name = "share"

    def __init__(self) -> None:
        super().__init__(min=0.001, max=0.5)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = float(super().convert(value, param, ctx))
        if found != found:
            self.fail(f"{value} is not a share.", param, ctx)
        return found


@click.command("concept")
@click.argument("rules", type=PolicyPath())
@click.argument("name", required=False)
@scoring_options
@click.option(
    "--texts", type=click.Path(), help="Texts without labels: what to label next, and whether they are alike."
)
@click.option("--out", type=click.Path(file_okay=False), help="Write what was fitted to this folder, for --scorers.")
@click.option(
    "--alpha", type=_Alpha(),
    help="The share of each kind of text that prediction sets may miss; a smaller one needs more examples, 1/alpha - 1 "
    "of each kind.  [default: 0.1]",
)  # fmt: skip
@click.option(
    "--examples", default=3, show_default=True, type=click.IntRange(0, 100), help="Texts of a kind that are shown."
)
@click.option(
    "--gate", "is_gate", is_flag=True, help="Exit with 4 when a `must` hangs on a concept with an AUC below .70."
)
@click.option(
    "--format",
    "output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How to print the report.",
)
def command(
    rules: str, name: str | None, scoring: Scoring, texts: str | None, out: str | None, alpha: float | None,
    examples: int, is_gate: bool, output: str,
) -> None:  # fmt: skip
    """Say how good the scores of a policy's concepts are, and what would make them better.

    \b
    bylaw concept rules.bylaw
    bylaw concept rules.bylaw blames_user --labels labelled.jsonl --texts answers.jsonl
    bylaw concept rules.bylaw --labels labelled.jsonl --out scorers

    A line of a file of labels is {"text", "labels": {"CONCEPT": true}}, with "prompt" where the text answers one, or
    {"messages", "labels"}; a CSV table has a column `text` and a column for each concept. The examples of the policy
    are labels too. Every figure is of texts that were held out with their conversation, and intervals are 95%. The
    accuracy is that of the threshold in the policy. Of the calibration error 0 is best, and up to 0.07 is good.

    With --texts (JSON Lines, CSV, or plain text with one on each line) it says which of these texts to label next, and
    whether they are of another kind than the labelled ones, so that scores would not hold for them. The folder of --out
    holds the labelled texts.

    Exit code 0 when all is said, 1 when the policy is not sound or a concept cannot tell its own examples apart, 2 for
    wrong usage or an unusable file, 3 when a part of a file was left out, 4 with --gate when a concept that a `must`
    hangs on is not known to have an AUC of .70.
    """
    require(scoring)
    compiled = compile_or_exit(rules)
    wanted = _Wanted(rules, name, texts, out, alpha, examples, output)
    concepts, is_all = _chosen(compiled, name)
    if out is not None:
        with scoring_refused():
            _require_place(out)
    known = concepts if is_all else _known(compiled)
    fitted = _fitted(wanted, scoring, known)
    making, left_out = _making(wanted, scoring, known, fitted)
    read = _texts(wanted)
    with scoring_refused():
        scorers = _built(compiled, concepts, making)
        if fitted is not None and not scoring.labels:
            _tell_changes(fitted, scorers)
        found = _reports(compiled, concepts, scorers, making, wanted, read.texts)
    wrong = [each.concept.name for each in found if each.separation]
    if out is not None and not wrong:
        _write(wanted, concepts, scorers, making)
    _print(found, wanted, making)
    failed = [each for each in found if is_gate and each.is_used_by_must and each.gate != "ok"]
    warn(found, None if out is None or not wrong else out, "judge" in making.options)
    tell_gate(failed)
    raise SystemExit(
        POLICY_ERROR if wrong else GATE_FAILED if failed else LEFT_OUT if left_out + read.left_out else 0
    )  # fmt: skip


# -------------------------------------------------------------------------------------------------------------- input
def _known(compiled: Compiled) -> dict[str, Concept]:
    """All concepts of a policy and of what its rules use from elsewhere, by full name."""
    from bylaw.runtime.scorers.build import concepts_of

    own = () if compiled.regulators is None else compiled.regulators.concepts
    return {**{concept.name: concept for concept in own}, **concepts_of(compiled.require())}


def _chosen(compiled: Compiled, name: str | None) -> tuple[dict[str, Concept], bool]:
    """(the concepts that are asked about, whether that is all of them)."""
    from bylaw.runtime.audit.inputs import quote_all
    from bylaw.spec import catalog

    known = _known(compiled)
    if not known:
        fail("this policy has no concept", UNUSABLE)
    if name is None:
        return known, True
    found = [each for each in known if name in (each, each.rpartition(".")[2])]
    if name in known:
        found = [name]
    if len(found) > 1:
        fail(f"`{name}` may be {' or '.join(f'`{each}`' for each in found)}; name it in full", UNUSABLE)
    if not found:
        nearest = catalog.nearest(name, tuple(known))
        meant = f"; did you mean `{nearest}`? There" if nearest else "; there"
        fail(f"there is no concept called `{name}`{meant} are {quote_all(known)}", UNUSABLE)
    return {found[0]: known[found[0]]}, len(known) == 1


def _fitted(wanted: _Wanted, scoring: Scoring, known: Mapping[str, Concept]) -> FittedFolder | None:
    """The folder that an earlier `--out` wrote."""
    if scoring.folder is None:
        return None
    from bylaw.runtime.concepts.folder import read_folder

    with scoring_refused():
        fitted = read_folder(scoring.folder, known)
    if wanted.alpha not in (None, fitted.alpha):
        fail(f"`{scoring.folder}` was written with --alpha {fitted.alpha:g}; leave --alpha out", UNUSABLE)
    return fitted


def _making(
    wanted: _Wanted, scoring: Scoring, known: Mapping[str, Concept], fitted: FittedFolder | None
) -> tuple[Making, int]:  # fmt: skip
    """(what scorers are made from, how many parts of label files were left out)."""
    from bylaw.runtime.cli.label_files import labels_or_exit
    from bylaw.runtime.cli.scoring import making_of
    from bylaw.runtime.concepts.folder import with_folder

    labels, left_out = labels_or_exit(scoring.labels, tuple(known.values()))
    making = making_of(wanted.rules, scoring, labels)
    if fitted is not None:
        making = with_folder(making, fitted)
    return making if wanted.alpha is None else replace(making, alpha=wanted.alpha), left_out


def _tell_changes(fitted: FittedFolder, scorers: Scorers) -> None:
    from bylaw.runtime.concepts.folder import changed

    for name in changed(fitted, scorers.by_concept):
        words = f"the scorer of `{name}` is not what it was when `{fitted.path}` was written: its code or its model was"
        click.echo(f"warning: {words} changed", err=True)


def _texts(wanted: _Wanted) -> _Texts:
    if wanted.texts is None:
        return _Texts()
    from bylaw.runtime.audit.inputs import TranscriptError
    from bylaw.runtime.cli.label_files import tell
    from bylaw.runtime.concepts.labels import read_texts

    try:
        texts, problems = read_texts(wanted.texts)
    except TranscriptError as error:
        fail(str(error), UNUSABLE)
    tell(problems, ())
    return _Texts(texts, len(problems))


def _built(compiled: Compiled, concepts: Mapping[str, Concept], making: Making) -> Scorers:
    from bylaw.runtime.cli.scoring import place_of
    from bylaw.runtime.scorers.build import NoScorer, build

    try:
        return build(concepts, making)
    except NoScorer as error:
        fail(f"{place_of(compiled, error.concept)}{error}", UNUSABLE)


# --------------------------------------------------------------------------------------------------------------- work
def _reports(
    compiled: Compiled, concepts: Mapping[str, Concept], scorers: Scorers, making: Making, wanted: _Wanted,
    texts: Sequence[LabelledText],
) -> list[ConceptReport]:  # fmt: skip
    """The report of each concept, with a bar on a terminal."""
    from rich.console import Console
    from rich.progress import track

    from bylaw.runtime.concepts.report import find_alike, report
    from bylaw.runtime.scorers._calibrated import examples_of

    rules, console = _rules(compiled), Console(stderr=True)
    examples = {name: examples_of(concept, making) for name, concept in concepts.items()}
    looked_at = {name: _subjects(compiled, name, texts) for name in concepts}
    alike = find_alike(each.text for some in (*examples.values(), *looked_at.values()) for each in some)
    is_rough = making.is_rough_allowed
    found = []
    drifts: dict[Comparison, DriftTest] = {}
    for name, concept in track(
        list(concepts.items()), "Scoring", console=console, disable=not sys.stderr.isatty(), transient=True
    ):
        _ask_about_labels(concept, scorers, making)
        scorer, own, near = scorers.by_concept[name], examples[name], looked_at[name]
        made = report(concept, scorer, own, rules.get(name, ()), making.alpha, wanted.examples, near, alike, is_rough)
        found.append(_with_texts(made, scorers, near, own, wanted.examples, drifts) if near else made)
    return found


def _rules(compiled: Compiled) -> dict[str, list[tuple[str, bool]]]:
    """The rules that hang on each concept, and whether they are a `must`."""
    from bylaw.runtime.scorers.build import sentences_of
    from bylaw.spec.expression import ConceptScore
    from bylaw.spec.logic import walk

    found: dict[str, dict[str, bool]] = {}
    for term in compiled.require().terms:
        for part in (part for said in sentences_of(term) for part in walk(said)):
            if isinstance(part, ConceptScore):
                rules = found.setdefault(part.concept.name, {})
                rules[term.rule] = rules.get(term.rule, False) or term.kind == "hard"
    return {name: list(rules.items()) for name, rules in found.items()}


def _subjects(compiled: Compiled, concept: str, texts: Sequence[LabelledText]) -> list[LabelledText]:
    """What rules ask the concept about: the texts, or what they answer where every rule asks about prompts."""
    from bylaw.runtime.scorers.build import sentences_of
    from bylaw.spec.expression import ConceptScore, MessageText
    from bylaw.spec.logic import walk

    parts = (part for term in compiled.require().terms for said in sentences_of(term) for part in walk(said))
    asked = [part.subject for part in parts if isinstance(part, ConceptScore) and part.concept.name == concept]
    if not asked or not all(isinstance(each, MessageText) and each.role == "prompt" for each in asked):
        return list(texts)
    return [replace(each, text=each.prompt, prompt="") for each in texts if each.prompt]


def _ask_about_labels(concept: Concept, scorers: Scorers, making: Making) -> None:
    """A judge is held against people's labels when it is first asked; one of these labels is what it is asked about."""
    labels = making.labels.get(concept.name, ())
    if hasattr(scorers.by_concept[concept.name], "estimate") and labels:
        _asked(concept, scorers, labels[:1])


def _asked(concept: Concept, scorers: Scorers, texts: Sequence[LabelledText]) -> Sequence[Scored]:
    """What the scorer of a concept says of texts; what that costs is told where somebody is paid for it."""
    from bylaw.runtime.scorers.interface import Cost, Question
    from bylaw.spec.trace import Message, Trace

    scorer = scorers.by_concept[concept.name]
    questions = [
        Question(
            concept,
            each.text,
            Trace((Message("user", each.prompt), Message("assistant", each.text))) if each.prompt else None,
        )
        for each in texts
    ]
    estimate: Callable[[Sequence[Question]], Estimate] | None = getattr(scorer, "estimate", None)
    if estimate is None:
        return scorer.score(questions, lambda _: None)
    expected = estimate(questions)
    click.echo(
        f"note: `{concept.name}`: asking the judge {expected.requests:,} questions, about {expected.tokens_in:,} "
        f"tokens in and at most {expected.tokens_out_most:,} out; {expected.cached:,} answers are there already",
        err=True,
    )
    answers = scorer.score(questions, lambda _: None)
    cost = sum((each.cost for each in answers), Cost())
    click.echo(
        f"note: `{concept.name}`: the judge was sent {cost.requests:,} questions ({cost.tokens_in:,} tokens in, "
        f"{cost.tokens_out:,} out)",
        err=True,
    )
    return answers


def _with_texts(
    made: ConceptReport, scorers: Scorers, texts: Sequence[LabelledText], examples: Sequence[LabelledText], most: int,
    drifts: dict[Comparison, DriftTest],
) -> ConceptReport:  # fmt: skip
    """The report with what texts without labels tell: which of them to label, and whether they are of another kind."""
    from bylaw.runtime.concepts.examples import to_label
    from bylaw.runtime.scorers._withdrawal import Comparison, drift_of

    name = made.concept.name
    drift = None
    if name in scorers.texts:
        compared = Comparison(scorers.texts[name], tuple((each.text, each.group) for each in texts))
        drift = drifts[compared] if compared in drifts else drifts.setdefault(compared, drift_of(compared))
    labelled = {each.text.strip() for each in examples}
    fresh = [each for each in texts if each.text.strip() not in labelled]
    candidates: tuple[Candidate, ...] = ()
    if fresh:
        answers, threshold = _asked(made.concept, scorers, fresh), made.concept.threshold
        candidates = to_label(fresh, answers, examples, made.missing, most, threshold)
    return replace(made, to_label=candidates, drift=drift, looked_at=len(fresh))


# ------------------------------------------------------------------------------------------------------------- output
def _require_place(out: str) -> None:
    from bylaw.runtime.concepts.folder import require_place

    require_place(out)


def _write(wanted: _Wanted, concepts: Mapping[str, Concept], scorers: Scorers, making: Making) -> None:
    from bylaw.runtime.concepts.folder import write_folder

    assert wanted.out is not None
    with scoring_refused():
        write_folder(wanted.out, concepts, scorers.by_concept, making.labels, making.alpha)
    click.echo(f"wrote {wanted.out}{'' if wanted.out.endswith('/') else '/'}", err=True)


def _print(found: Sequence[ConceptReport], wanted: _Wanted, making: Making) -> None:
    from bylaw.runtime.concepts.report import to_data
    from bylaw.runtime.concepts.report_text import render

    if wanted.output == "json":
        data = {"policy": str(Path(wanted.rules)), "alpha": making.alpha, "concepts": [to_data(each) for each in found]}
        click.echo(json.dumps(data, ensure_ascii=True, indent=2))
    else:
        from bylaw.runtime.report.terminal import fit, standard_output

        console = standard_output()
        click.echo(fit("\n\n".join(render(each, console.width) for each in found), console))
