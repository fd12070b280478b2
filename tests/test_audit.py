"""The audit: what is counted, what is never a pass, when a limit is met, and agreement with people."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bylaw.compiler.evaluate import Verdict
from bylaw.compiler.program import RewardProgram, RewardTerm
from bylaw.runtime.audit import tally
from bylaw.runtime.audit.agreement import LabelError, agreement
from bylaw.runtime.audit.audit import audit, clause_text
from bylaw.runtime.audit.statistics import exact_upper, wilson
from bylaw.runtime.audit.transcripts import ColumnNames, read_transcripts
from bylaw.runtime.record import AuditRecord, TermAudit
from bylaw.spec.expression import (
    Arithmetic,
    Compare,
    Count,
    Extent,
    Fact,
    Holds,
    MessageText,
    Not,
    NumberConstant,
    Occurrences,
    Phrase,
    Regex,
)
from bylaw.spec.source import Source
from bylaw.spec.trace import Message, Trace

XSTEST = Path(__file__).resolve().parents[2] / "shared" / "data" / "xstest" / "gpt4.csv"
POLICY = Source(
    "rules.bylaw",
    """policy demo
rule clean {
  the response must not contain "bad"   # not ever
  unless meta.topic contains "#quotes"
}
rule seldom { limit responses that contain "sorry" to at most 30% }
""",
)
RESPONSE = MessageText("response")


def _extent(start: str, end: str) -> Extent:
    first = POLICY.text.index(start)
    return Extent(first, POLICY.text.index(end, first) + len(end))


HARD = RewardTerm(
    "clean",
    "clean",
    "hard",
    "law",
    _extent("the response", '"#quotes"'),
    holds=Not(Holds("contain", RESPONSE, (Phrase("bad"),))),
)
CONDITIONAL = replace(HARD, id="conditional", condition=Holds("contain", Fact("meta.topic"), (Phrase("x"),)))
BUDGET = RewardTerm(
    "seldom",
    "seldom",
    "budget",
    "law",
    _extent("limit responses", "30%"),
    holds=Holds("contain", RESPONSE, (Phrase("sorry"),)),
    sense="at most",
    bound=0.3,
)
GRADED = replace(HARD, id="short", kind="graded", holds=None, value=Count("words", RESPONSE), weight=-0.1)


def _traces(*answers: str, **facts: str) -> list[Trace]:
    return [Trace((Message("user", "hi"), Message("assistant", a)), facts, f"t{n}") for n, a in enumerate(answers)]


def _audit(term: RewardTerm, traces: list[Trace], **options: object) -> TermAudit:
    return _record([term], traces, **options).terms[0]


def _record(terms: list[RewardTerm], traces: list[Trace], **options: object) -> AuditRecord:
    program = RewardProgram("demo", "1", ("law",), tuple(terms))
    return audit(program, traces, source="log.jsonl", policy=POLICY, **options)  # type: ignore[arg-type]


# ---------------------------------------------------------------------------------------------------------- counting
def test_rates_intervals_evidence_and_the_authors_words():
    record = _record([HARD], _traces("good", "so bad, bad", "fine", "fine"))
    found = record.terms[0]
    assert (found.applicable, found.violated, found.rate) == (4, 1, 0.25)
    assert found.interval == wilson(1, 4)
    assert found.location == "rules.bylaw:3:3"
    assert found.clause == 'the response must not contain "bad" unless meta.topic contains "#quotes"'
    [finding] = found.findings
    assert (finding.source, finding.prompt) == ("t1", "hi")
    assert [finding.response[start:end] for start, end in finding.spans] == ["bad", "bad"]
    assert (record.transcripts, record.complete, record.policy_digest[:7]) == (4, True, "sha256:")


def test_findings_stop_at_the_asked_number_and_counts_do_not():
    found = _audit(HARD, _traces(*["bad"] * 9), max_findings=2)
    assert (found.violated, len(found.findings)) == (9, 2)


def test_what_cannot_be_told_is_unscored_and_widens_the_rate():
    traces = [*_traces("bad", "good", "good", topic="x"), *_traces("good")]
    traces = [replace(t, facts={f"meta.{k}": v for k, v in t.facts.items()}) for t in traces]
    found = _audit(CONDITIONAL, traces)
    assert (found.applicable, found.unscored, found.not_applicable) == (3, 1, 0)
    assert (found.best, found.worst) == (0.25, 0.5)
    assert found.reasons == (("the fact `meta.topic` is not given", 1),)


def test_a_conversation_without_an_answer_is_unscored():
    found = _audit(HARD, [Trace((Message("user", "hi"),))])
    assert (found.unscored, found.rate, found.interval) == (1, None, None)


def test_a_failure_while_scoring_is_never_a_pass(monkeypatch):
    evaluate = tally.evaluate_term

    def failing(term, trace):
        if trace.response == "boom":
            raise RecursionError("too deep")
        return evaluate(term, trace)

    monkeypatch.setattr(tally, "evaluate_term", failing)
    found = _audit(HARD, _traces("good", "boom"))
    assert (found.applicable, found.unscored) == (1, 1)
    assert found.reasons == (("scoring failed: RecursionError: too deep", 1),)
    assert tally.score(HARD, _traces("boom")[0]).is_hard


def test_a_predicate_that_does_not_exist_is_never_a_pass():
    found = _audit(replace(HARD, holds=Holds("glitter", RESPONSE)), _traces("good"))
    assert (found.applicable, found.unscored) == (0, 1)
    assert "glitter" in found.reasons[0][0]


def test_quantities_have_a_mean_with_its_interval():
    found = _audit(GRADED, _traces("one", "one two", "one two three"))
    assert (found.rate, found.mean, found.weight) == (None, 2.0, -0.1)
    assert found.mean_interval is not None
    assert found.mean_interval.low < 2 < found.mean_interval.high
    assert _audit(GRADED, _traces("one")).mean_interval is None


def test_a_value_without_bounds_is_unscored():
    huge = Arithmetic("*", NumberConstant(1e300), Arithmetic("*", NumberConstant(1e300), Count("words", RESPONSE)))
    assert _audit(replace(GRADED, value=huge), _traces("one")).unscored == 1


@given(st.lists(st.tuples(st.sampled_from(["bad", "good", None]), st.sampled_from(["x", "y", None])), max_size=30))
def test_every_transcript_is_counted_once(samples):
    traces = []
    for answer, topic in samples:
        reply = () if answer is None else (Message("assistant", answer),)
        traces.append(Trace((Message("user", "hi"), *reply), {} if topic is None else {"meta.topic": topic}))
    record = _record([HARD, CONDITIONAL, BUDGET, GRADED], traces)
    for term in record.terms:
        assert term.applicable + term.not_applicable + term.unscored == record.transcripts == len(samples)
        assert term.violated <= term.applicable
        if term.rate is not None:
            assert term.interval is not None
            assert term.best is not None
            assert term.worst is not None
            assert term.interval.low <= term.rate <= term.interval.high
            assert term.best <= term.rate <= term.worst


# ------------------------------------------------------------------------------------------------------------ limits
def test_without_confidence_the_rate_itself_is_judged():
    traces = _traces("sorry", "sorry", "sorry", *["fine"] * 7)
    found = _audit(BUDGET, traces)
    assert (found.rate, found.within) == (0.3, True)
    assert found.confidence_bound == pytest.approx(exact_upper(3, 10))
    assert _audit(replace(BUDGET, bound=0.29), traces).within is False


def test_with_confidence_the_exact_bound_is_judged():
    sure = replace(BUDGET, bound=0.05, confidence=0.95)
    assert _audit(sure, _traces(*["fine"] * 58)).within is False
    assert _audit(sure, _traces(*["fine"] * 59)).within is True


def test_a_least_share_and_an_exact_one():
    traces = _traces(*["sorry"] * 8, "fine", "fine")
    assert _audit(replace(BUDGET, sense="at least", bound=0.8), traces).within is True
    assert _audit(replace(BUDGET, sense="at least", bound=0.8, confidence=0.9), traces).within is False
    assert _audit(replace(BUDGET, sense="exactly", bound=0.7), traces).within is True
    assert _audit(replace(BUDGET, sense="exactly", bound=0.1), traces).within is False


def test_a_limit_that_hangs_on_unscored_answers_cannot_be_told():
    silent = [Trace((Message("user", "hi"),)) for _ in range(3)]
    assert _audit(BUDGET, [*_traces(*["fine"] * 5), *silent]).within is None
    assert _audit(BUDGET, [*_traces(*["fine"] * 50), *silent]).within is True
    assert _audit(BUDGET, []).within is None


def test_a_limit_that_is_missed_may_be_met_with_what_is_unscored():
    silent = [Trace((Message("user", "hi"),)) for _ in range(100)]
    often = _traces(*["sorry"] * 4, *["fine"] * 6)
    assert _audit(BUDGET, often).within is False
    assert _audit(BUDGET, [*often, silent[0]]).within is False
    assert _audit(BUDGET, [*often, *silent]).within is None
    # none of the unscored as an event is too few and all are too many, but some would do
    half = replace(BUDGET, sense="exactly", bound=0.5)
    seldom = _traces(*["sorry"] * 2, *["fine"] * 38)
    assert _audit(half, seldom).within is False
    assert _audit(half, [*seldom, *silent]).within is None
    assert _audit(half, [*seldom, *silent[:2]]).within is False


def test_a_limit_on_an_average():
    average = replace(BUDGET, holds=None, value=Occurrences("contain", RESPONSE, (Phrase("sorry"),)), bound=1.5)
    traces = _traces("sorry", "sorry sorry", "sorry", "sorry sorry")
    assert _audit(average, traces).within is True
    assert _audit(replace(average, bound=1.4), traces).within is False
    assert _audit(replace(average, confidence=0.95), traces).within is False
    assert _audit(average, [*traces, Trace((Message("user", "hi"),))]).within is None


def test_answers_to_one_prompt_are_not_independent():
    traces = _traces(*["sorry"] * 10, *["fine"] * 90)
    prompts = [str(n // 10) for n in range(100)]
    alone, together = _audit(BUDGET, traces), _audit(BUDGET, traces, clusters=prompts)
    assert alone.interval is not None
    assert together.interval is not None
    assert together.rate == alone.rate
    assert together.interval.high > alone.interval.high
    assert together.confidence_bound > alone.confidence_bound
    assert _record([BUDGET], traces, clusters=prompts).clusters == 10
    with pytest.raises(ValueError, match="clusters"):
        _audit(BUDGET, traces, clusters=["a"])


# ------------------------------------------------------------------------------------------------------ interruption
def test_an_interrupt_leaves_a_record_of_what_was_done():
    def stop(done: int, _: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    record = _record([HARD, CONDITIONAL], _traces(*["bad"] * 10), progress=stop, clusters=list("aabbccddee"))
    assert (record.transcripts, record.complete, record.clusters) == (3, False, 2)
    assert all(t.applicable + t.unscored + t.not_applicable == 3 for t in record.terms)


def test_progress_is_told_after_every_trace():
    seen: list[tuple[int, int]] = []
    _record([HARD], _traces("a", "b"), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]


def test_a_thousand_transcripts_and_ten_rules_take_seconds():
    answer = "It is an answer of several sentences. It says sorry once, and then goes on. " * 5
    terms = [replace(HARD, id=f"h{n}", holds=Not(Holds("contain", RESPONSE, (Phrase(f"bad {n}"),)))) for n in range(4)]
    terms += [replace(BUDGET, id=f"b{n}", holds=Holds("contain", RESPONSE, (Regex(f"sorry.*{n}"),))) for n in range(4)]
    terms += [
        replace(HARD, id=f"w{n}", holds=Compare("<=", Count("words", RESPONSE), NumberConstant(n))) for n in (9, 99)
    ]
    start = time.process_time()
    record = _record(terms, _traces(*[answer] * 1000))
    assert record.transcripts == 1000
    assert time.process_time() - start < 3


def test_a_comment_is_no_part_of_a_clause_and_a_hash_in_a_text_is():
    assert "not ever" not in clause_text(POLICY, HARD)
    assert '"#quotes"' in clause_text(POLICY, HARD)


# --------------------------------------------------------------------------------------------------------- agreement
def _labelled(*samples: tuple[str, str]) -> list[Trace]:
    return [
        Trace((Message("user", "hi"), Message("assistant", a)), {"meta.human": label} if label else {})
        for a, label in samples
    ]


def test_agreement_with_people_and_its_baseline():
    samples = [
        ("bad", "broken"),
        ("good", "kept"),
        ("bad", "broken"),
        ("good", "broken"),
        ("bad", "broken"),
        ("good", "kept"),
    ]
    traces = _labelled(*samples, ("good", "kept"), ("bad", "kept"), ("bad", ""))
    found = agreement(HARD, traces, "human", ["broken"])
    assert (found.column, found.unlabelled, found.unscored) == ("meta.human", 1, 0)
    counts = (found.true_positive, found.false_positive, found.false_negative, found.true_negative)
    assert counts == (3, 1, 1, 3)
    assert (found.agreement, found.sensitivity, found.specificity) == (0.75, 0.75, 0.75)
    assert found.agreement_interval == wilson(6, 8)
    assert (found.human_rate, found.rule_rate, found.majority_baseline) == (0.5, 0.5, 0.5)
    assert found.kappa == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("column", "labels", "words"),
    [
        ("humam", ["broken"], "did you mean `human`?"),
        ("human", ["brokn"], "the labels there are `broken`; did you mean `broken`?"),
        ("human", [], "name at least one label"),
    ],
)
def test_labels_that_do_not_fit_are_refused(column, labels, words):
    with pytest.raises(LabelError) as caught:
        agreement(HARD, _labelled(("bad", "broken")), column, labels)
    assert words in str(caught.value)


def test_quantities_have_no_agreement():
    with pytest.raises(LabelError, match="measures a quantity"):
        agreement(GRADED, _labelled(("bad", "broken")), "human", ["broken"])


@pytest.mark.skipif(not XSTEST.exists(), reason="the shared real data is not beside this checkout")
def test_a_pattern_for_refusals_agrees_with_the_people_who_read_xstest():
    traces = read_transcripts(XSTEST, columns=ColumnNames(response="completion")).traces
    refuses = replace(
        BUDGET, holds=Holds("contain", RESPONSE, (Regex(r"(sorry|apologi[sz]e).{0,40}(can't|cannot|unable)", "i"),))
    )
    found = agreement(refuses, traces, "final_label", ["2_full_refusal", "3_partial_refusal"])
    assert found.human_rate == pytest.approx(0.489, abs=0.001)
    assert found.agreement_interval.low > found.majority_baseline
    assert tally.score(refuses, traces[0]).verdict is Verdict.SATISFIED
