"""Audits that stop by themselves: order, decisions, the error they share, and who is asked for no more."""

from __future__ import annotations

import json
import math
import random
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bylaw.compiler.evaluate import TermScore, Verdict
from bylaw.compiler.pipeline import compile_source
from bylaw.compiler.program import RewardProgram
from bylaw.runtime.audit.audit import audit
from bylaw.runtime.audit.followed import StoppingError, StoppingSettings, clean_size
from bylaw.runtime.audit.sequential import StoppingRule
from bylaw.runtime.audit.stopping import Stopped, Stopper, prompt_order, stop_early, with_stopping
from bylaw.runtime.record import AuditRecord, parsed, read_back, to_json
from bylaw.runtime.scorers.asking import Asker, ask_about, terms_evaluated
from bylaw.runtime.scorers.build import Scorers, concepts_of
from bylaw.runtime.scorers.interface import Cost, Scored
from bylaw.runtime.stopping_record import LimitStopping
from bylaw.spec.source import Source
from bylaw.spec.trace import Message, Trace

HARD = 'rule clean { must not contain "bad" }\n'
SELDOM = 'rule seldom { limit response contains "sorry" to at most 30% of responses }\n'
OFTEN = 'rule often { limit response contains "thanks" to at least 60% of responses }\n'


def policy(*rules: str) -> Source:
    return Source("rules.bylaw", 'policy demo version "1"\n' + "".join(rules))


def program(*rules: str) -> RewardProgram:
    return compile_source(policy(*rules)).require()


def traces(*answers: str | None, each: int = 1) -> list[Trace]:
    """Each `each` answers are to one prompt; None is a conversation without an answer."""
    return [
        Trace((Message("user", f"question {number // each}"), *([] if text is None else [Message("assistant", text)])))
        for number, text in enumerate(answers)
    ]


def stop(rules: RewardProgram, given: list[Trace], **options: object) -> Stopped:
    return stop_early(rules, given, StoppingSettings(**options))


def only(stopped: Stopped) -> LimitStopping:
    (found,) = stopped.record.limits
    return found


# -------------------------------------------------------------------------------------------------------------- order
def test_the_order_comes_from_the_seed_and_the_prompts_alone():
    given = traces(*"abcdefgh", each=2)
    order, digest = prompt_order(given, 1)
    assert sorted(map(sorted, order)) == [[0, 1], [2, 3], [4, 5], [6, 7]]
    other = [replace(trace, messages=(trace.messages[0], Message("assistant", "bad"))) for trace in given]
    assert prompt_order(other, 1) == (order, digest)
    backwards, same = prompt_order(given[::-1], 1)
    assert (same, [[7 - place for place in group[::-1]] for group in backwards]) == (digest, order)
    assert len({prompt_order(given, seed)[1] for seed in range(20)}) > 10


def test_every_order_is_about_as_likely():
    given = traces("a", "b", "c")
    counts: dict[tuple[int, ...], int] = {}
    for seed in range(3000):
        key = tuple(group[0] for group in prompt_order(given, seed)[0])
        counts[key] = counts.get(key, 0) + 1
    expected = 500
    # chi-squared with 5 degrees of freedom: above 20.5 in 0.1 % of fair shuffles
    assert len(counts) == 6
    assert sum((n - expected) ** 2 / expected for n in counts.values()) < 20.5


# ---------------------------------------------------------------------------------------------------------- decisions
@settings(max_examples=40)
@given(st.lists(st.booleans(), min_size=1, max_size=150), st.sampled_from([0.1, 0.3, 0.5, 0.8]))
def test_one_limit_is_decided_as_its_stopping_rule_decides(outcomes, limit):
    rules = program(SELDOM.replace("30%", f"{limit:.0%}"))
    given = traces(*("sorry" if each else "fine" for each in outcomes))
    found = only(stop(rules, given, seed=3))
    order = [group[0] for group in prompt_order(given, 3)[0]]
    expected = StoppingRule(limit, len(given)).run([float(outcomes[place]) for place in order])
    assert found.state == {"pass": "kept", "fail": "broken", "budget": "undecided"}[expected.state]
    assert (found.values, found.mean) == (expected.seen, pytest.approx(expected.mean))
    assert (found.interval.low, found.interval.high) == pytest.approx((expected.interval.low, expected.interval.high))


@settings(max_examples=25)
@given(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=2, max_size=120), st.sampled_from([0.2, 0.5]))
def test_several_answers_to_a_prompt_are_one_value(means, limit):
    rules = program(SELDOM.replace("30%", f"{limit:.0%}"))
    words = {0.0: ("fine", "fine"), 0.5: ("sorry", "fine"), 1.0: ("sorry", "sorry")}
    given = traces(*(word for mean in means for word in words[mean]), each=2)
    found = only(stop(rules, given))
    order = [group[0] // 2 for group in prompt_order(given, 0)[0]]
    expected = StoppingRule(limit, len(means), kind="score").run([means[place] for place in order])
    assert found.state == {"pass": "kept", "fail": "broken", "budget": "undecided"}[expected.state]
    assert (found.values, found.mean) == (expected.seen, pytest.approx(expected.mean))
    assert (found.interval.low, found.interval.high) == pytest.approx((expected.interval.low, expected.interval.high))


def test_at_least_is_the_mirror_image():
    answers = ["thanks"] * 90 + ["no"] * 10
    random.Random(5).shuffle(answers)
    found = only(stop(program(OFTEN), traces(*answers)))
    mirrored = ["sorry" if text == "no" else "fine" for text in answers]
    same = only(stop(program(SELDOM.replace("30%", "40%")), traces(*mirrored)))
    assert (found.state, found.decided_at, found.limit) == ("kept", same.decided_at, pytest.approx(0.6))
    assert found.mean == pytest.approx(1 - same.mean)
    assert (found.interval.low, found.interval.high) == pytest.approx((1 - same.interval.high, 1 - same.interval.low))


def test_a_hard_rule_is_broken_at_once_and_kept_after_enough_clean_answers():
    assert clean_size(0.01, 0.05) == 309
    # said of a rate of 1 % it is wrong no more often than this
    assert 0.99**309 < 0.05
    kept = stop(program(HARD), traces(*["good"] * 400))
    assert (only(kept).state, only(kept).decided_at, kept.record.read, kept.record.ended) == (
        "kept",
        309,
        309,
        "decided",
    )
    assert only(kept).interval.low == 0
    assert only(kept).interval.high <= 0.01
    answers = ["good"] * 400
    answers[prompt_order(traces(*answers), 0)[0][40][0]] = "bad"
    broken = stop(program(HARD), traces(*answers))
    assert (only(broken).state, only(broken).decided_at, len(broken.traces)) == ("broken", 41, 41)
    assert only(broken).interval.low > 0


def test_a_hard_rule_with_several_answers_counts_prompts():
    found = only(stop(program(HARD), traces(*["good", "bad"] * 3, each=2)))
    assert (found.state, found.values, found.mean) == ("broken", 1, 1.0)


def test_unscored_answers_are_no_pass_and_no_failure():
    open_one = only(stop(program(HARD), traces(*["good"] * 308, None)))
    assert (open_one.state, open_one.unscored, open_one.values) == ("undecided", 1, 309)
    assert open_one.interval.high > 0.01
    half = traces(*["fine", None] * 200)
    found = only(stop(program(SELDOM), half))
    assert (found.state, found.mean) == ("undecided", 0.0)
    assert found.interval.low == 0
    assert found.interval.high > 0.5


def test_quantities_need_a_range():
    rules = program("rule short { limit average number of words in response to at most 10 }\n", HARD)
    given = traces(*["one two three"] * 400)
    aside, hard = stop(rules, given).record.limits
    assert (aside.state, hard.state) == ("not followed", "kept")
    assert "--stop-range" in aside.why
    inside, _ = stop(rules, given, ranges=(("short", 0, 20),)).record.limits
    assert (inside.state, inside.mean, inside.limit) == ("kept", pytest.approx(3.0), 10.0)
    assert 0 <= inside.interval.low < 3 < inside.interval.high < 10
    with pytest.raises(StoppingError, match="measured 3, which is outside of its range 4 to 20"):
        stop(rules, given, ranges=(("short", 4, 20),))
    with pytest.raises(StoppingError, match="has to go beyond its limit of 10 on both sides"):
        stop(rules, given, ranges=(("short", 0, 2),))
    with pytest.raises(StoppingError, match="`clean` is none; here: short"):
        stop(rules, given, ranges=(("clean", 0, 2),))


def test_a_confidence_that_the_author_asks_for_takes_more():
    strict = 'rule seldom { limit response contains "sorry" to at most 30% of responses with confidence 0.999 }\n'
    given = traces(*["fine"] * 100)
    usual, more = (only(stop(program(rule), given)) for rule in (SELDOM, strict))
    assert (usual.state, more.state) == ("kept", "kept")
    assert (usual.error, more.error) == (0.05, pytest.approx(0.001))
    assert usual.decided_at < more.decided_at
    assert more.decided_at == StoppingRule(0.3, 100, 0.999).run([0.0] * 100).seen


def test_a_limit_of_nothing_is_kept_as_a_hard_rule_is():
    never = 'rule seldom { limit response contains "sorry" to at most 0% of responses }\n'
    clean = traces(*["fine"] * 400)
    limited, hard = (only(stop(program(rule), clean)) for rule in (never, HARD))
    assert (limited.state, limited.decided_at) == (hard.state, hard.decided_at) == ("kept", 309)
    assert only(stop(program(never), traces("sorry"))).state == "broken"


def test_what_cannot_be_decided_is_said_and_is_no_pass():
    rules = program(HARD, 'rule half { limit response contains "x" to exactly 50% of responses }\n')
    found = stop(rules, traces(*["good"] * 400))
    assert [each.state for each in found.record.limits] == ["kept", "not followed"]
    assert not found.record.is_kept
    assert stop(program(HARD), traces(*["good"] * 400)).record.is_kept
    with pytest.raises(StoppingError, match="there is nothing to decide: no number of answers shows"):
        stop(program('rule half { limit response contains "x" to exactly 50% of responses }\n'), traces("x"))
    with pytest.raises(StoppingError, match="neither hard rules nor limits"):
        stop(program('rule kind { should contain "please" weight 1 }\n'), traces("x"))


def test_a_budget_ends_the_reading():
    found = stop(program(HARD), traces(*["good"] * 100), budget=30)
    assert (found.record.ended, found.record.read, only(found).state) == ("budget", 30, "undecided")
    assert stop(program(HARD), traces(*["good"] * 100)).record.ended == "read through"
    with pytest.raises(StoppingError, match="a budget is a whole number"):
        StoppingSettings(budget=0)


# ------------------------------------------------------------------------------------------------- error of many rules
def scores(rules: RewardProgram, outcomes: list[bool]) -> list[list[TermScore]]:
    return [
        [TermScore(term.id, Verdict.VIOLATED if each else Verdict.SATISFIED, float(each), None)]
        for term, each in zip(rules.terms, outcomes, strict=True)
    ]


def many(limits: list[float]) -> RewardProgram:
    rule = 'rule r{} {{ limit response contains "w{}" to at most {:g}% of responses }}\n'
    return program(*(rule.format(number, number, 100 * limit) for number, limit in enumerate(limits)))


def test_the_error_is_shared_by_holms_steps():
    rules = many([0.5, 0.5, 0.5])
    stopper = Stopper(rules, StoppingSettings(), is_repeated=False)
    for number in range(60):
        stopper.add(scores(rules, [False, number % 3 == 0 and number > 20, number % 2 == 0]))
    first, second, third = stopper.results(rules)
    assert (first.state, first.error) == ("kept", pytest.approx(0.05 / 3))
    assert (second.state, second.error) == ("kept", pytest.approx(0.05 / 2))
    assert (third.state, third.error) == ("undecided", pytest.approx(0.05 / 3))
    # what is said to be broken has an error of its own
    broken = Stopper(rules, StoppingSettings(), is_repeated=False)
    for _ in range(12):
        broken.add(scores(rules, [False, False, True]))
    assert [each.error for each in broken.results(rules)][2] == pytest.approx(0.05 / 3)


def test_looking_after_every_prompt_any_wrong_word_is_rare():
    """Five limits and rates exactly at them, where both words are wrong: either is said in at most 5 % of audits.

    300 runs; by chance alone a procedure of exactly 5 % fails here with a probability of 0.1 %.
    """
    limits = [0.05, 0.1, 0.2, 0.3, 0.5]
    rules, runs, generator = many(limits), 300, np.random.default_rng(11)
    kept = broken = 0
    for _ in range(runs):
        draws = generator.random((150, 5)) < np.array(limits)
        stopper = Stopper(rules, StoppingSettings(), is_repeated=False)
        for row in draws.tolist():
            stopper.add(scores(rules, row))
        states = [each.state for each in stopper.results(rules)]
        kept += "kept" in states
        broken += "broken" in states
    most = 0.05 + 3.1 * math.sqrt(0.05 * 0.95 / runs)
    assert broken / runs <= most
    assert kept / runs <= most


def test_through_texts_the_decisions_are_right_and_cheap():
    """60 audits of 600 answers; rates 8 % and 55 % under limits of 20 % and 30 %; each wrong in 5 % at most."""
    rules = program(SELDOM.replace("30%", "20%"), SELDOM.replace("seldom", "other").replace("sorry", "oh"))
    generator = np.random.default_rng(2)
    read = []
    for number in range(60):
        draws = generator.random((600, 2)) < (0.08, 0.55)
        given = traces(*("sorry " * first + "oh " * second + "." for first, second in draws.tolist()))
        found = stop(rules, given, seed=number).record
        assert [each.state for each in found.limits] == ["kept", "broken"]
        read.append(found.read)
    assert np.mean(read) < 200


# ------------------------------------------------------------------------------------------------------------- scorers
@dataclass
class Judge:
    """Finds whatever the text begins with; counts what it is asked."""

    reads: str = "text"
    name: str = "counting"
    digest: str = "1"
    asked: list[str] = field(default_factory=list)
    interrupt_after: int = 10**9

    def score(self, questions, progress=lambda _: None):
        if len(self.asked) >= self.interrupt_after:
            raise KeyboardInterrupt
        self.asked += [question.text for question in questions]
        return [
            Scored(0.9 if question.text.startswith("rude") else 0.1, cost=Cost(requests=1)) for question in questions
        ]


CONCEPT = 'concept rude means "Insults the reader." { like "You fool." unlike "You are mistaken." }\n'
JUDGED = "rule kind { limit response expresses rude to at most 30% of responses }\n"


def judged(judge: Judge, given: list[Trace], batch: int) -> Stopped:
    rules = program(CONCEPT, JUDGED)
    concepts = concepts_of(rules)
    asker = Asker.of(rules, Scorers(concepts, dict.fromkeys(concepts, judge)))
    evaluate = terms_evaluated(rules)
    return stop_early(
        rules,
        given,
        StoppingSettings(batch=batch),
        lambda some: ask_about(asker, some, evaluate, is_last=False),
        lambda some: ask_about(asker, some, evaluate),
    )


def test_scorers_are_asked_for_no_text_after_the_decision():
    given = traces(*(f"{'rude' if number % 20 == 0 else 'fine'} {number}" for number in range(400)))
    one, batched = Judge(), Judge()
    alone, together = judged(one, given, 1), judged(batched, given, 20)
    decided = only(alone).decided_at
    assert (only(alone).state, len(one.asked)) == ("kept", decided)
    assert decided < 60
    assert only(together).decided_at == decided
    assert len(batched.asked) == -(-decided // 20) * 20 == together.record.transcripts_read
    assert all(trace.scores for trace in together.traces)
    assert [given.index(replace(trace, scores={}, passages={})) for trace in together.traces] == list(together.places)


def test_an_interrupt_keeps_whole_batches():
    judge = Judge(interrupt_after=40)
    found = judged(judge, traces(*(f"{'rude' if number % 3 == 0 else 'fine'} {number}" for number in range(400))), 20)
    assert (found.record.ended, found.record.read, len(found.traces)) == ("interrupted", 40, 40)
    assert (only(found).state, found.record.is_kept) == ("undecided", False)


def test_what_is_undecided_once_scores_are_settled_goes_on():
    given = traces(*["fine"] * 200)
    silent = [replace(trace, messages=trace.messages[:1]) for trace in given]
    settled: list[int] = []

    def settle(some):
        settled.append(len(some))
        return [silent[given.index(trace)] if given.index(trace) % 7 == 0 else trace for trace in some]

    rules = program(SELDOM)
    at_once = stop(rules, given).record.read
    found = stop_early(rules, given, StoppingSettings(), ask=lambda some: some, settle=settle)
    assert settled[0] == at_once < found.record.read == settled[-1] < 200
    assert (found.record.ended, only(found).state) == ("decided", "kept")
    # and as reading what was settled from the beginning
    whole = [one if number % 7 else silent[number] for number, one in enumerate(given)]
    assert only(found).unscored > 0
    assert found.record.limits == stop(rules, whole, budget=found.record.read).record.limits
    assert [trace.response for trace in found.traces].count(None) == only(found).unscored


# --------------------------------------------------------------------------------------------------------------- record
def test_the_record_says_what_was_decided_and_is_read_back():
    rules = program(HARD, SELDOM, OFTEN)
    given = traces(*["thanks, good"] * 400)
    given[0] = replace(given[0], messages=(given[0].messages[0], Message("assistant", "thanks")))
    stopped = stop(rules, given, budget=60)
    record = audit(rules, stopped.traces, source="a.jsonl", policy=policy(HARD, SELDOM, OFTEN))
    found = with_stopping(record, stopped.record)
    assert [term.within for term in found.terms] == [None, True, True]
    assert found.complete
    assert found.transcripts == 60
    text = to_json(found)
    body = {key: value for key, value in parsed(text).items() if key in AuditRecord.__dataclass_fields__}
    assert read_back(AuditRecord, json.dumps(body), body) == found
    assert json.loads(to_json(found))["stopping"]["limits"][0]["state"] == "undecided"
    halted = with_stopping(record, replace(stopped.record, ended="interrupted"))
    assert not halted.complete
