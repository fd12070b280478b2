"""Data sets: which answers and pairs are in them, with which weights, and what is told of the others."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from itertools import combinations
from typing import Any

import pytest
from target_policies import HOSTILE, MULTIPLIERS, SMALL, answered, answers, compiled, inputs, lines, random_traces

from bylaw.compiler.evaluate import Verdict, evaluate
from bylaw.compiler.targets.bundle import bundle
from bylaw.compiler.targets.interface import Inputs, Options, TargetError
from bylaw.spec.trace import Trace

POLICY = compiled(SMALL)
PROGRAM = POLICY.require().with_multipliers(MULTIPLIERS)


def given(traces: tuple[Trace, ...], **options: Any) -> Inputs:
    return inputs(POLICY, traces, Options(**options), PROGRAM)


def rows_of(name: str, traces: tuple[Trace, ...], **options: Any) -> list[dict[str, Any]]:
    _, made = bundle(name, given(traces, **options))
    return lines(made.files[f"{name}.jsonl"])


@cache
def log_weights() -> dict[str, float]:
    return {trace.id: _law(trace) for trace in many()}


def law(trace: Trace) -> float:
    return log_weights()[trace.id]


def _law(trace: Trace) -> float:
    score = evaluate(PROGRAM, trace)
    if not score.allowed:
        return -math.inf
    assert score.reward is not None
    return score.reward


@cache
def many() -> tuple[Trace, ...]:
    """Random answers, six to each of twenty prompts."""
    found = random_traces(11, 120, ())
    prompts = [f"porridge {number}" if number % 2 else f"tea {number}" for number in range(20)]
    return tuple(
        replace(answered(prompts[number % 20], trace.response or ""), id=trace.id) for number, trace in enumerate(found)
    )


# --------------------------------------------------------------------------------------------------------------- SFT
def test_weights_and_shares_are_those_of_the_law() -> None:
    rows = rows_of("sft", many(), keep="all")
    by_id = {trace.id: trace for trace in many()}
    assert {row["id"] for row in rows} == {name for name, trace in by_id.items() if law(trace) > -math.inf}
    shares: dict[str, float] = {}
    for row in rows:
        trace = by_id[row["id"]]
        assert row["log_weight"] == pytest.approx(law(trace), abs=1e-12)
        prompt = row["messages"][0]["content"]
        shares[prompt] = shares.get(prompt, 0.0) + row["share"]
        peers = [law(other) for other in by_id.values() if other.text("prompt") == prompt]
        assert row["share"] == pytest.approx(math.exp(law(trace)) / sum(map(math.exp, peers)), rel=1e-9)
    assert all(total == pytest.approx(1.0) for total in shares.values())


def test_best_is_the_largest_weight_of_each_prompt_and_clean_breaks_nothing() -> None:
    by_id = {trace.id: trace for trace in many()}
    soft = [term.id for term in PROGRAM.terms if term.kind == "soft"]

    def is_clean(trace: Trace) -> bool:
        score = evaluate(PROGRAM, trace)
        return score.allowed and all(score.term(name).verdict is not Verdict.VIOLATED for name in soft)

    for keep in ("best", "clean"):
        chosen = {row["messages"][0]["content"]: row["id"] for row in rows_of("sft", many(), keep=keep)}
        for prompt in {trace.text("prompt") or "" for trace in many()}:
            pool = [
                t
                for t in many()
                if t.text("prompt") == prompt and (law(t) > -math.inf if keep == "best" else is_clean(t))
            ]
            if not pool:
                assert prompt not in chosen
            else:
                assert law(by_id[chosen[prompt]]) == max(map(law, pool))
                assert chosen[prompt] == next(t.id for t in pool if law(t) == max(map(law, pool)))


def test_each_example_carries_the_rules_that_applied() -> None:
    (row,) = rows_of("sft", (replace(answered("Good morning", "Oats and salt!"), id="a"),))
    assert [(each["id"], each["verdict"], each["nats"]) for each in row["rules"]] == [
        ("no_iron", "satisfied", 0.0),
        ("brief", "satisfied", 0.0),
        ("calm", "satisfied", -0.25),
        ("rare", "satisfied", 0.0),
        ("spare", "violated", -0.75 * 0.9),
        ("longish", "satisfied", -0.375),
    ]
    assert row["rules"][0]["text"] == 'Make sure that the answer does not mention "iron".'
    assert row["log_weight"] == pytest.approx(-0.25 - 0.675 - 0.375)


def test_prompts_with_no_clean_answer_are_told() -> None:
    manifest, made = bundle("sft", given(answers()))
    broken = {"no_iron", "oats", "brief"}
    clean: dict[str, bool] = {}
    for trace in answers():
        found = {each.term for each in evaluate(PROGRAM, trace).terms if each.verdict is Verdict.VIOLATED}
        prompt = trace.text("prompt") or ""
        clean[prompt] = clean.get(prompt, False) or not found & broken
    lost = sum(not is_clean for is_clean in clean.values())
    assert lost > 1
    reason = "every answer breaks a `must` or a `should`"
    assert {"what": f"{lost} prompts", "reason": reason, "count": lost} in manifest["left_out"]
    assert len(lines(made.files["sft.jsonl"])) < len(answers())
    with pytest.raises(TargetError, match="nothing to learn from: every answer breaks a `must`"):
        bundle("sft", given((answered("a", "Iron."),), keep="all"))


# ------------------------------------------------------------------------------------------------------------- pairs
def test_pairs_are_ordered_by_the_law_with_its_differences_as_margins() -> None:
    by_id = {trace.id: trace for trace in many()}
    rows = rows_of("pairs", many(), pairs="all")
    for row in rows:
        better, worse = by_id[row["id"]], by_id[row["rejected_id"]]
        assert better.messages[:-1] == worse.messages[:-1]
        assert (row["chosen"][0]["content"], row["rejected"][0]["content"]) == (better.response, worse.response)
        for each in row["rules"]:
            places = [[place.start, place.end] for place in evaluate(PROGRAM, worse).term(each["id"]).evidence]
            assert each["rejected_spans"] == places
            if each["id"] == "no_iron":
                ((start, end),) = places[:1]
                assert (worse.response or "")[start:end].lower() == "iron"
        assert law(better) > law(worse)
        assert row["chosen_log_weight"] == pytest.approx(law(better))
        assert row["margin"] == pytest.approx(sum(each["margin"] for each in row["rules"]))
        if law(worse) > -math.inf:
            assert row["margin"] == pytest.approx(law(better) - law(worse), abs=1e-12)
            assert (row["decided_by"], row["rejected_log_weight"]) == ("weights", pytest.approx(law(worse)))
        else:
            assert (row["decided_by"], row["rejected_log_weight"]) == ("hard rule", None)
            assert any(each["kind"] == "hard" and each["margin"] == 12.5 for each in row["rules"])
    expected = set()
    for one, other in combinations(many(), 2):
        if one.messages[:-1] == other.messages[:-1] and max(law(one), law(other)) > -math.inf:
            difference = abs(law(one) - law(other))
            expected |= {frozenset((one.response, other.response))} if difference > 1e-9 else set()
    assert {frozenset((row["chosen"][0]["content"], row["rejected"][0]["content"])) for row in rows} == expected


def test_extreme_is_one_pair_to_a_prompt_the_widest() -> None:
    rows = rows_of("pairs", many())
    widest: dict[str, float] = {}
    for row in rows_of("pairs", many(), pairs="all"):
        prompt = row["prompt"][0]["content"]
        widest[prompt] = max(widest.get(prompt, 0.0), row["margin"])
    assert {row["prompt"][0]["content"]: row["margin"] for row in rows} == pytest.approx(widest)
    assert len(rows) == len(widest)


def test_answers_under_other_facts_or_systems_are_no_pair() -> None:
    policy = compiled(
        'policy a.b version "1"\nlevels x > y\nrule r at x { when meta.vip should contain "sir" weight 1 }\n'
    )
    traces = (answered("q", "yes", vip=True), answered("q", "sir", vip=False), answered("q", "no", vip=True))
    with pytest.raises(TargetError, match="no prompt has two answers of which one is better"):
        bundle("pairs", inputs(policy, traces))
    # a fact that no rule reads does not part them
    traces = (answered("q", "yes", vip=True, day=1.0), answered("q", "sir", vip=True, day=2.0))
    _, made = bundle("pairs", inputs(policy, traces))
    assert len(lines(made.files["pairs.jsonl"])) == 1


# ------------------------------------------------------------------------------------------------- what cannot be said
@pytest.mark.parametrize("name", ["sft", "pairs"])
def test_unscored_answers_are_left_out_by_rule_and_never_guessed(name: str) -> None:
    policy = compiled(
        'policy a.b version "1"\nlevels x > y\nconcept rude means "Is rude." { like "You fool." unlike "Hello." }\n'
        "rule kind at x { should not express rude weight 2 }\n"
    )
    known = ("Good day.", "You oaf.", "Well.")
    traces = [answered("q", text) for text in known]
    scored = [replace(t, scores={("rude", text): s}) for t, text, s in zip(traces[:2], known, (0.1, 0.9), strict=False)]
    manifest, made = bundle(name, inputs(policy, (*scored, traces[2])))
    (told,) = manifest["left_out"]
    assert told["what"] == "`kind`"
    assert told["count"] == 1
    assert "1 answer is left out" in told["reason"]
    (row,) = lines(made.files[f"{name}.jsonl"])
    assert "Good day." in repr(row)
    with pytest.raises(TargetError, match="there is no answer that the law can weigh: `kind`: 3 answers are left out"):
        bundle(name, inputs(policy, tuple(traces)))


@pytest.mark.parametrize("name", ["sft", "pairs"])
def test_transcripts_without_an_answer_are_counted(name: str) -> None:
    silent = Trace(answered("q", "x").messages[:1])
    manifest, _ = bundle(name, given((*answers(), silent)))
    assert {"what": "transcripts", "reason": "1 end without an answer", "count": 1} in manifest["left_out"]
    with pytest.raises(TargetError, match="1 end without an answer"):
        bundle(name, given((silent,)))


def test_the_data_has_a_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bylaw.compiler.targets._files.MOST_ROWS", 3)
    with pytest.raises(TargetError, match="more than 3 rows"):
        bundle("sft", given(answers(), keep="all"))


def test_a_policy_whose_rules_have_no_weight_says_so() -> None:
    policy = compiled(
        'policy a.b version "1"\nlevels x > y\nrule r at x { limit response contains "a" to at most 5% of responses }\n'
    )
    with pytest.raises(TargetError, match=r"no rule of this policy has a weight.*`r`: the limit has no multiplier"):
        bundle("sft", inputs(policy, (answered("q", "a"),)))


def test_hostile_policies_make_the_same_rows() -> None:
    policy = compiled(HOSTILE)
    program = policy.require().with_multipliers({"rarely": 2.0})
    traces = (answered("q", "{{ 7*7 }}"), answered("q", "$(id) '''!"), answered("q", "fine"))
    _, made = bundle("pairs", inputs(policy, traces, Options(pairs="all"), program))
    rows = lines(made.files["pairs.jsonl"])
    assert [(row["chosen"][0]["content"], row["rejected"][0]["content"], row["margin"]) for row in rows] == [
        ("fine", "$(id) '''!", 4.5),
        ("fine", "{{ 7*7 }}", 12.0),
        ("$(id) '''!", "{{ 7*7 }}", 7.5),
    ]
