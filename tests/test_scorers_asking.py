"""What scorers are asked, how often, and what becomes of it: by a scorer that counts, against scoring everything."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from bylaw.compiler.evaluate import Verdict, evaluate, evaluate_term
from bylaw.compiler.pipeline import compile_source
from bylaw.compiler.program import RewardProgram
from bylaw.compiler.specialise import CannotSpecialise, specialise
from bylaw.runtime.concepts.calibration import Calibration, calibrate
from bylaw.runtime.concepts.labels import LabelledText
from bylaw.runtime.report.scores import rates_note
from bylaw.runtime.scorers._live import live_trace
from bylaw.runtime.scorers._withdrawal import Comparison, drift_of
from bylaw.runtime.scorers.asking import Asker, score_traces
from bylaw.runtime.scorers.build import NoScorer, Scorers, build, concepts_of, of_hard_rules
from bylaw.runtime.scorers.catalog import Making
from bylaw.runtime.scorers.interface import Cost, Question, Scored, ScorerError, Why, unscored
from bylaw.runtime.scoring_record import DriftTest
from bylaw.spec.source import Source
from bylaw.spec.trace import Message, Trace

CONCEPTS = """
concept rude means "Insults the reader." { like "You fool." unlike "You are mistaken." }
concept blame means "Says that it is the reader's fault."
topic boats means "Boats and sailing."
"""


@dataclass
class Counting:
    """Scores by a word: a text with the concept's name in it has 0.9, with `perhaps` no score, any other 0.1."""

    reads: Literal["text", "conversation"] = "text"
    name: str = "counting"
    digest: str = "1"
    asked: list[tuple[str, str]] = field(default_factory=list)
    calls: int = 0
    calibrations: dict[str, Calibration] = field(default_factory=dict)

    def score(self, questions: Sequence[Question], progress: Callable[[int], None] = lambda _: None) -> list[Scored]:
        self.calls += 1
        self.asked += [(question.concept.name, question.text) for question in questions]
        progress(len(questions))
        return [self.one(question) for question in questions]

    def one(self, question: Question) -> Scored:
        cost = Cost(seconds=0.5, requests=1)
        if "perhaps" in question.text:
            return unscored("cannot_tell", f"`{question.concept.name}` could be either", cost)
        if self.reads == "conversation" and question.trace is not None and len(question.trace.messages) > 2:
            return Scored(0.5, cost=cost)
        at = question.text.find(question.concept.name)
        return Scored(0.1 if at < 0 else 0.9, passages=() if at < 0 else ((at, at + 4),), cost=cost)


def program_of(rules: str, concepts: str = CONCEPTS) -> RewardProgram:
    return compile_source(Source.of("policy.bylaw", concepts + rules)).require()


def scorers_of(program: RewardProgram, scorer: Counting) -> Scorers:
    concepts = concepts_of(program)
    return Scorers(concepts, dict.fromkeys(concepts, scorer))


def said(prompt: str, response: str) -> Trace:
    return Trace((Message("user", prompt), Message("assistant", response)))


# -------------------------------------------------------------------------------------------------------- which and how
def test_a_condition_hides_a_question_until_it_is_answered() -> None:
    program = program_of("rule r at user { when prompt is about boats must not express rude }")
    scorer = Counting()
    traces = [said("boats?", "rude words"), said("hello", "more words"), said("perhaps", "other words")]
    scored, record = score_traces(program, traces, scorers_of(program, scorer))
    assert scorer.asked == [("boats", "boats?"), ("boats", "hello"), ("boats", "perhaps"), ("rude", "rude words")]
    verdicts = [evaluate(program, trace).terms[0].verdict for trace in scored]
    assert verdicts == [Verdict.VIOLATED, Verdict.NOT_APPLICABLE, Verdict.UNSCORED]
    assert [(each.concept, each.asked, each.scored, each.expressing) for each in record.concepts] == [
        ("boats", 3, 2, 1),
        ("rude", 1, 1, 1),
    ]
    assert record.concepts[0].unscored == (("cannot_tell", 1, "`boats` could be either"),)
    assert record.cost == Cost(seconds=2.0, requests=4)


def test_what_is_decided_without_a_score_asks_nothing() -> None:
    program = program_of('rule r at user { when response expresses rude and response contains "x" must be empty }')
    scorer = Counting()
    score_traces(program, [said("a", "no such letter"), said("a", "one x")], scorers_of(program, scorer))
    assert scorer.asked == [("rude", "one x")]


def test_a_question_is_asked_once_for_all_rules_and_traces() -> None:
    program = program_of("rule r at user { must not express rude } rule s at user { should not express rude }")
    scorer = Counting()
    same = [said("a", "rude"), said("b", "rude"), said("c", "You fool.")]
    scored, record = score_traces(program, same, scorers_of(program, scorer))
    assert scorer.asked == [("rude", "rude")]
    assert [record.concepts[0].asked, scorer.calls] == [1, 1]
    assert [trace.scores.get(("rude", "rude")) for trace in scored] == [0.9, 0.9, None]
    assert evaluate(program, scored[2]).terms[0].verdict is Verdict.VIOLATED  # the text of an example


def test_a_scorer_of_conversations_is_asked_for_each_conversation() -> None:
    program = program_of("rule r at user { must not express rude }")
    scorer = Counting(reads="conversation")
    long = Trace((Message("user", "a"), Message("user", "b"), Message("assistant", "rude")))
    scored, _ = score_traces(program, [said("a", "rude"), long, said("a", "rude")], scorers_of(program, scorer))
    assert len(scorer.asked) == 2
    assert [trace.scores["rude", "rude"] for trace in scored] == [0.9, 0.5, 0.9]


def test_scores_that_a_trace_has_stay() -> None:
    program = program_of("rule r at user { must not express rude }")
    scorer = Counting()
    known = Trace(said("a", "rude").messages, scores={("rude", "rude"): 0.2})
    (scored,), record = score_traces(program, [known], scorers_of(program, scorer))
    assert (scored, scorer.asked, record.concepts) == (known, [], ())


def test_sentences_and_passages() -> None:
    program = program_of("rule r at user { every sentence of response must not express rude }")
    scorer = Counting()
    (scored,), _ = score_traces(program, [said("a", "This is fine. That is rude.")], scorers_of(program, scorer))
    assert [text.strip() for _, text in scorer.asked] == ["This is fine.", "That is rude."]
    (found,) = evaluate(program, scored).terms
    text = scored.response or ""
    assert [text[each.start : each.end] for each in found.evidence] == ["rude"]


def test_a_wrong_number_of_answers_is_an_error() -> None:
    class Short(Counting):
        def score(
            self, questions: Sequence[Question], progress: Callable[[int], None] = lambda _: None
        ) -> list[Scored]:
            return super().score(questions, progress)[1:]

    program = program_of("rule r at user { must not express rude }")
    with pytest.raises(ScorerError, match="`counting` gave 0 answers to 1 questions"):
        score_traces(program, [said("a", "b")], scorers_of(program, Short()))


# ------------------------------------------------------------------------------- the same as asking about everything
ATOMS = (
    "response expresses rude",
    "response expresses blame",
    "prompt is about boats",
    'response contains "x"',
    "score of rude in prompt > 0.5",
    "meta.known",
)
SAID = (
    'must not contain "y"',
    "must not express rude",
    "should express blame",
    "prefer lower score of rude in response",
)
WORDS = ("rude", "blame", "boats", "perhaps", "x", "y")


def _condition(rng: random.Random, depth: int) -> str:
    if depth == 0 or rng.random() < 0.3:
        atom = rng.choice(ATOMS)
        return f"not ({atom})" if rng.random() < 0.3 else atom
    return f"({_condition(rng, depth - 1)} {rng.choice(('and', 'or'))} {_condition(rng, depth - 1)})"


@pytest.mark.parametrize("seed", range(12))
def test_asking_only_what_decides_gives_the_verdicts_of_asking_everything(seed: int) -> None:
    rng = random.Random(seed)
    rules = "".join(
        f"rule r{number} at user {{ when {_condition(rng, 2)} {rng.choice(SAID)} }}\n" for number in range(4)
    )
    program = program_of(rules)
    texts = [" ".join(rng.sample(WORDS, 2)) for _ in range(6)]
    traces = [Trace(said(*rng.sample(texts, 2)).messages, {"meta.known": True}) for _ in range(12)]
    scorer, everything = Counting(), Counting()
    scored, _ = score_traces(program, traces, scorers_of(program, scorer))
    concepts = concepts_of(program)
    for trace, own in zip(traces, scored, strict=True):
        places = [(name, text) for name, text in product(concepts, texts)]
        answers = {place: everything.one(Question(concepts[place[0]], place[1])) for place in places}
        full = Trace(
            trace.messages,
            trace.facts,
            scores={place: each.score for place, each in answers.items() if each.score is not None},
            unscored={place: each.reason for place, each in answers.items() if each.score is None},
            passages={place: each.passages for place, each in answers.items()},
        )
        for term in program.terms:
            wanted, found = evaluate_term(term, full), evaluate_term(term, own)
            assert (found.verdict, found.value) == (wanted.verdict, wanted.value)
            assert found.reason is None or found.verdict is not Verdict.UNSCORED or found.reason.endswith("cannot tell")
            live = live_trace(trace, Asker.of(program, scorers_of(program, Counting())))
            assert evaluate_term(term, live) == wanted
    assert len(set(scorer.asked)) == len(scorer.asked) <= len(places)


# ---------------------------------------------------------------------------------------------------- who may be asked
def separated(auc_of_chance: bool) -> Calibration:
    rng = np.random.default_rng(3)
    labels = np.arange(60) % 2 == 0
    return calibrate(rng.normal(size=60) + (0 if auc_of_chance else 4) * labels, labels)


def test_a_concept_that_hardly_separates_its_examples_forbids_nothing() -> None:
    hard = "rule r at user { must not express rude }"
    soft = "rule r at user { should not express rude }"
    weak, strong = separated(auc_of_chance=True), separated(auc_of_chance=False)
    assert weak.auc.value < 0.7 <= strong.auc.value
    for rules, calibration, verdict in (
        (hard, weak, Verdict.UNSCORED),
        (soft, weak, Verdict.VIOLATED),
        (hard, strong, Verdict.VIOLATED),
    ):
        program = program_of(rules)
        scorer = Counting(calibrations={"rude": calibration})
        scorers = _with_calibrations(program, scorer)
        (scored,), record = score_traces(program, [said("a", "rude")], scorers)
        (found,) = evaluate(program, scored).terms
        assert found.verdict is verdict
        (concept,) = record.concepts
        if rules == hard and calibration is weak:
            assert scorer.asked == []
            assert concept.unscored[0][0] == "uncalibrated"
            assert "hardly separate" in concept.unscored[0][2]
            assert "`r` may not forbid on that" in concept.unscored[0][2]
        else:
            assert bool(concept.remarks) is (calibration is weak)
            assert concept.accuracy is not None
            assert concept.accuracy[2] == 0.5


def _with_calibrations(program: RewardProgram, scorer: Counting) -> Scorers:
    """As `build` puts it together."""
    from bylaw.runtime.scorers.build import assembled

    concepts = concepts_of(program)
    return assembled(concepts, dict.fromkeys(concepts, scorer), Making())


def test_concepts_are_found_wherever_a_term_hangs_on_them() -> None:
    program = program_of(
        "exception at_sea to polite at system { when prompt is about boats }\n"
        "rule polite at user { when not response expresses blame must not express rude }\n"
        "rule q at user { prefer lower score of blame in response weight 1 }"
    )
    assert set(concepts_of(program)) == {"rude", "blame", "boats"}
    assert of_hard_rules(program) == {"rude": "polite", "blame": "polite", "boats": "polite"}


def test_what_needs_an_option_is_silent_without_it() -> None:
    program = program_of(
        "rule r at user { must not express rude } rule s at user { must not express blame }",
        'concept rude means "Insults." { scored by judge "is it rude?" }\n'
        'concept blame means "Blames." { scored by function "checks.py:blame" }\n',
    )
    scorers = build(concepts_of(program), Making(base=Path()))
    (scored,), record = score_traces(program, [said("a", "rude")], scorers)
    reasons = [found.reason for found in evaluate(program, scored).terms]
    assert reasons == [
        "`rude` is scored by a judge: name one with --judge and --judge-model",
        "`blame` is scored by a function: functions of a policy are run with --allow-functions only",
    ]
    assert [each.unscored[0][0] for each in record.concepts] == ["input", "input"]


def test_an_unknown_scorer_names_the_concept_and_the_nearest() -> None:
    program = program_of("rule r at user { must not express rude }", 'concept rude means "x" { scored by functon }\n')
    with pytest.raises(NoScorer, match=r"`rude` has no scorer: .* called `functon`; did you mean `function`\?"):
        build(concepts_of(program), Making())


# --------------------------------------------------------------------------------------------------------------- drift
CALM = ["The ferry leaves at noon from the north quay", "Bread is baked every morning in the small oven"]
LOUD = ["def parse(token): return table[token]", "SELECT name FROM ships WHERE length > 20"]


def texts_like(kind: list[str], number: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    words = [word for text in kind for word in text.split()]
    return [" ".join(rng.sample(words, 8)) for _ in range(number)]


def test_drift_withdraws_scores_and_the_condition_behind_them() -> None:
    program = program_of(
        "rule r at user { when prompt is about boats must not express rude } rule s at user { should not express rude }"
    )
    calibrated = tuple((text, "") for text in texts_like(CALM, 40, 1))
    for answers, is_drift in ((texts_like(CALM, 40, 2), False), (texts_like(LOUD, 40, 3), True)):
        for is_rough in (False, True):
            scorers = scorers_of(program, Counting())
            scorers = Scorers(
                scorers.concepts, scorers.by_concept, texts={"rude": calibrated}, is_rough_allowed=is_rough
            )
            traces = [said(f"boats {number}", text) for number, text in enumerate(answers)]
            scored, record = score_traces(program, traces, scorers)
            verdicts = {evaluate(program, trace).terms[1].verdict for trace in scored}
            assert verdicts == {Verdict.UNSCORED if is_drift and not is_rough else Verdict.SATISFIED}
            rude = next(each for each in record.concepts if each.concept == "rude")
            assert rude.drift is not None
            assert rude.drift.fired is is_drift
            assert [why for why, _, _ in rude.unscored] == (["drift"] if is_drift and not is_rough else [])
            assert bool(rude.remarks) is (is_drift and is_rough)


def test_drift_of_texts_that_were_asked_about_one_by_one_is_told_afterwards() -> None:
    program = program_of("rule s at user { should not express rude }")
    calibrated = tuple((text, "") for text in texts_like(CALM, 40, 1))
    for answers, is_drift in ((texts_like(CALM, 40, 2), False), (texts_like(LOUD, 40, 3), True)):
        made = scorers_of(program, Counting())
        asker = Asker.of(program, Scorers(made.concepts, made.by_concept, texts={"rude": calibrated}))
        for number, answer in enumerate(answers):
            trace = live_trace(Trace((Message("user", f"a {number}"),)), asker).answered(answer)
            assert evaluate(program, trace).terms[0].verdict is Verdict.SATISFIED
        assert list(asker.drifted()) == (["rude"] if is_drift else [])
        assert all("are of another kind than" in words for words in asker.drifted().values())
        assert asker.record().concepts[0].scored == 40


def rude_among(share: float, number: int, seed: int) -> list[str]:
    """Calm texts, of which this share is `rude` and of other words too."""
    rng, calm = random.Random(seed), texts_like(CALM, number, seed)
    harsh = ["fool", "idiot", "dolt", "nonsense", "stupid", "silly", "blockhead", "dunce"]
    rude = round(share * number)
    return [f"rude {' '.join(rng.sample(harsh, 5))} {each}" for each in calm[:rude]] + calm[rude:]


def test_another_share_of_texts_that_express_it_withdraws_nothing() -> None:
    """Labels with 40 % and answers with 2 %: at level .02 two and more of twenty would be withdrawn with 6 in 100
    choices of seeds (4 of 300 were). Texts of another kind are withdrawn with that share too."""
    program = program_of("rule s at user { should not express rude }")
    fired_first, withdrawn = 0, 0
    for seed in range(20):
        known = rude_among(0.4, 80, seed)
        made = scorers_of(program, Counting())
        scorers = Scorers(
            made.concepts,
            made.by_concept,
            texts={"rude": tuple((text, "") for text in known)},
            expressing={"rude": frozenset(text for text in known if "rude" in text)},
        )
        traces = [said(f"a {number}", text) for number, text in enumerate(rude_among(0.02, 50, 1000 + seed))]
        _, record = score_traces(program, traces, scorers)
        (rude,) = record.concepts
        assert rude.drift is not None
        if rude.drift.p_value_at_share is not None:
            fired_first += 1
            assert rude.drift.share is not None
            assert rude.drift.share < 0.1
        withdrawn += rude.drift.fired
        assert (rude.scored == 0) is rude.drift.fired
    assert fired_first >= 15
    assert withdrawn <= 1
    traces = [said(f"a {number}", text) for number, text in enumerate(texts_like(LOUD, 50, 3))]
    _, record = score_traces(program, traces, scorers)
    ((why, count, reason),) = record.concepts[0].unscored
    assert (why, count) == ("drift", 50)
    assert "against labelled texts thinned to that share" in reason
    assert "label some of these texts and add them (--labels), or let the scores count as they are (--rough)" in reason


def test_texts_that_are_labelled_ones_are_told() -> None:
    program = program_of("rule r at user { should not express rude } rule s at user { should not express rude }")
    scorer = Counting(calibrations={"rude": separated(auc_of_chance=False)})
    made = _with_calibrations(program, scorer)
    scorers = replace(made, texts={"rude": (("one rude", ""), ("other", ""))})
    _, record = score_traces(program, [said("a", text) for text in ("one rude", "other", "third")], scorers)
    (rude,) = record.concepts
    (note,) = rude.notes
    assert note.startswith("2 of the 3 texts are among the labelled ones: their scores are not held out")
    assert (rude.remarks, rude.rules) == ((), ("r", "s"))
    known = scorer.calibrations["rude"].balanced_accuracy
    assert rude.errors == f"balanced accuracy {known.value:.2f} [{known.low:.2f}, {known.high:.2f}]"
    assert rates_note(record.concepts) == (
        f"The intervals of r, s are those of the scores' verdicts; that scores err (rude: {rude.errors}) is not in "
        "them."
    )
    assert rates_note([replace(rude, scored=0)]) == rates_note([]) == ""
    assert score_traces(program, [said("a", "third")], scorers)[1].concepts[0].notes == ()


def test_reasons_of_many_texts_are_told_without_what_is_true_of_one() -> None:
    class Unsure(Counting):
        def one(self, question: Question) -> Scored:
            why: Why = "transport" if "http" in question.text else "cannot_tell"
            return unscored(why, f"{why}: 0.{len(question.text)}")

    program = program_of("rule s at user { should not express rude }")
    texts = ["a", "bb", "ccc", "http", "http5", "http56"]
    _, record = score_traces(program, [said("x", text) for text in texts], scorers_of(program, Unsure()))
    assert record.concepts[0].unscored == (
        ("cannot_tell", 3, "their scores are on neither side for certain"),
        ("transport", 3, "transport: 0.4 (and 2 other reasons)"),
    )
    _, record = score_traces(program, [said("x", "a")], scorers_of(program, Unsure()))
    assert record.concepts[0].unscored == (("cannot_tell", 1, "cannot_tell: 0.1"),)


def test_few_texts_cannot_tell_of_drift() -> None:
    found = drift_of(Comparison((("one text", ""),), (("another", ""),)))
    assert isinstance(found, DriftTest)
    assert (found.fired, found.p_value) == (False, None)


# ------------------------------------------------------------------------------------------- while an answer is written
def test_a_live_conversation_is_enforced_where_its_answer_can_be_scored() -> None:
    program = program_of("rule r at user { when prompt is about boats must not express rude }")
    asker = Asker.of(program, scorers_of(program, Counting()))
    about, other, unclear = (live_trace(Trace((Message("user", text),)), asker) for text in ("boats", "a", "perhaps"))
    (left,) = specialise(program, about)
    assert left.condition is None
    assert specialise(program, other) == ()
    with pytest.raises(CannotSpecialise, match="`boats` could be either"):
        specialise(program, unclear)
    soft = program_of("rule r at user { when prompt is about boats should not express rude weight 1 }")
    assert len(specialise(soft, about)) == 1
    assert specialise(soft, unclear) == ()  # a scorer was asked and cannot tell: it pays nothing
    with pytest.raises(CannotSpecialise, match="no scorer has scored `boats`"):
        specialise(soft, Trace((Message("user", "perhaps"),)))  # nobody was asked
    verdicts = [evaluate_term(left, about.answered(text)).verdict for text in ("rude", "kind", "perhaps")]
    assert verdicts == [Verdict.VIOLATED, Verdict.SATISFIED, Verdict.UNSCORED]


def test_the_digest_changes_with_all_that_decides_whether_a_score_counts() -> None:
    program = program_of("rule r at user { should not express rude }")
    concepts, scorers = concepts_of(program), {"rude": Counting()}
    made = Scorers(concepts, scorers)
    others = [
        Scorers(concepts, scorers, is_rough_allowed=True),
        Scorers(concepts, scorers, weak={"rude": "it is weak"}),
        Scorers(concepts, {"rude": Counting(digest="2")}),
        Scorers(concepts, {"rude": Counting(name="other")}),
    ]
    assert made.digest == Scorers(concepts, {"rude": Counting()}).digest
    assert len({made.digest, *(each.digest for each in others)}) == 5


def test_labels_become_the_texts_of_the_calibration() -> None:
    from bylaw.runtime.scorers.build import assembled

    program = program_of("rule r at user { should not express rude }")
    concepts = concepts_of(program)
    scorer = Counting(calibrations={"rude": separated(auc_of_chance=False)})
    labels = {"rude": (LabelledText("a", True, "1"), LabelledText("b", False, "2"))}
    assert assembled(concepts, {"rude": scorer}, Making(labels=labels)).texts == {"rude": (("a", "1"), ("b", "2"))}
    assert assembled(concepts, {"rude": scorer}, Making()).texts == {
        "rude": (("You fool.", ""), ("You are mistaken.", ""))
    }
    # what nothing was calibrated on is compared with nothing; a judge is calibrated when it is first asked
    assert assembled(concepts, {"rude": Counting()}, Making(labels=labels)).texts == {}
    judge = Counting()
    judge.estimate = len  # type: ignore[attr-defined]
    assert assembled(concepts, {"rude": judge}, Making(labels=labels)).texts == {"rude": (("a", "1"), ("b", "2"))}
    bare = program_of("rule r at user { should not express blame }")
    assert assembled(concepts_of(bare), {"blame": judge}, Making()).texts == {}
