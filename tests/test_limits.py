"""Limits about a part of the responses, for each prompt, on a quantity in most responses, and with a price."""

from __future__ import annotations

import itertools
import json
import math
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.optimize import linprog

from bylaw.compiler.changes import compare
from bylaw.compiler.evaluate import Verdict, evaluate_term, number, truth
from bylaw.compiler.explain import explain
from bylaw.compiler.factors import factorise
from bylaw.compiler.mutants import mutate
from bylaw.compiler.pipeline import Compiled, compile_source
from bylaw.compiler.program import RewardProgram, RewardTerm, from_json, to_json
from bylaw.compiler.regular import valued_of
from bylaw.compiler.residual import residual
from bylaw.compiler.residual.conditions import Given
from bylaw.compiler.specialise import CannotSpecialise, specialise
from bylaw.compiler.verify import ProgramInvalid, verify
from bylaw.runtime.audit.audit import audit
from bylaw.runtime.audit.prompts import by_prompt, met_for_each, prompts_of
from bylaw.runtime.audit.summary import _judge
from bylaw.runtime.cli import main
from bylaw.runtime.record import TermAudit
from bylaw.runtime.report import figures
from bylaw.runtime.report.constitution import constitution, to_markdown
from bylaw.spec import ast
from bylaw.spec.errors import Diagnostic, Severity
from bylaw.spec.expression import BooleanConstant, BooleanFact, ConceptScore, Or
from bylaw.spec.formatter import format_text
from bylaw.spec.logic import walk
from bylaw.spec.parser import parse
from bylaw.spec.printer import to_text
from bylaw.spec.source import Source
from bylaw.spec.trace import Message, Trace, tool_call

ROUNDING = 1e-9


def check(text: str) -> Compiled:
    compiled = compile_source(Source("rules.bylaw", text), proofs=True)
    assert compiled.draft is not None, compiled.diagnostics
    return compiled


def program(text: str) -> RewardProgram:
    return compile_source(Source("rules.bylaw", text)).require()


def limit(said: str, before: str = "") -> RewardTerm:
    """The one term of a policy of one limit."""
    (term,) = program(f"{before}\nrule r at user {{ {said} }}").terms
    return term


def found(compiled: Compiled, code: str) -> list[Diagnostic]:
    return [each for each in compiled.diagnostics if each.code == code]


def answered(text: str, prompt: str | None = None) -> Trace:
    return Trace(() if prompt is None else (Message("user", prompt),)).answered(text)


# ------------------------------------------------------------------------------------------------------------- syntax
def random_limit(choose: random.Random) -> str:
    parts = [
        f"{choose.choice(['of', 'over'])} responses where {choose.choice(CONDITIONS)}",
        f"with confidence {choose.choice(['0.9', '99%'])}",
        "for each prompt",
        f"price at most {choose.choice(['2', '0.5'])}",
        "over suite s",
    ]
    parts = choose.sample(parts, choose.randrange(len(parts) + 1))
    if not any(part.startswith(("of r", "over r")) for part in parts) and choose.random() < 0.5:
        parts.insert(choose.randrange(len(parts) + 1), "of responses")
    said = {
        "rate": f"{choose.choice(CONDITIONS)} to at most 5%",
        "average": "average number of words in response to exactly 20.5",
        "share": f"number of words in response to {choose.choice(SENSES)} 7 in at least 95%",
    }[choose.choice(["rate", "average", "share"])]
    return f"limit {said} {' '.join(parts)}"


SENSES = ("at most", "at least", "exactly")
CONDITIONS = (
    'response mentions "a"',
    "response expresses pii",
    "call to refund where (it.amount > 3) occurs",
    "call to refund occurs at least 2 times",
    "not (response mentions at least 2 of pleasantries)",
    'response mentions any of ["a", "b"]',
    'response mentions "a" and not response is json',
    'response mentions at least 2 of ["a", "b"]',
)


@pytest.mark.parametrize("seed", range(40))
def test_what_is_printed_and_formatted_is_read_as_the_same(seed: int) -> None:
    choose = random.Random(seed)
    rules = "\n".join(f"rule r{n} at user {{ {random_limit(choose)}\n  must be json }}" for n in range(4))
    text = f"levels root price at most 3 > user price at most 0.25\n\n{rules}\n"
    module = parse(Source("p", text)).require()
    assert ast.same(parse(Source("p", to_text(module))).require(), module)
    formatted = format_text("p", text)
    assert ast.same(parse(Source("p", formatted)).require(), module)
    assert format_text("p", formatted) == formatted
    limits = [node for node in ast.walk(module) if isinstance(node, ast.LimitRate | ast.LimitAverage)]
    assert len(limits) == 4


def test_words_of_the_new_parts_may_still_be_names() -> None:
    text = """
define price as number of words in response
rule r at user {
  limit response mentions "a" to at most 5% of responses
  price must be at most 3
}
"""
    assert [term.kind for term in program(text).terms] == ["budget", "hard"]


@pytest.mark.parametrize("said", ["of responses where response is json", "for each prompt", "price at most 2"])
def test_a_part_stands_once(said: str) -> None:
    source = Source("p", f'rule r at user {{ limit response mentions "a" to at most 5% {said} {said} }}')
    assert [each.code for each in compile_source(source).diagnostics] == ["P010"]


@pytest.mark.parametrize(
    ("said", "note"),
    [
        ("where response is json", "of responses where"),
        ("for every prompt", "for each prompt"),
        ("price up to 3", "at most 3"),
        ("price 3", "price at most 3"),
    ],
)
def test_a_part_that_is_almost_right_is_told_how_it_is_written(said: str, note: str) -> None:
    source = Source("p", f'rule r at user {{ limit response mentions "a" to at most 5% {said} }}')
    (found_here,) = compile_source(source).diagnostics
    assert found_here.code == "P005"
    assert note in found_here.notes[0]


# ----------------------------------------------------------------------------------------------------------- lowering
def test_the_fields_of_a_term() -> None:
    where = 'of responses where response mentions "b"'
    term = limit(f'limit response mentions "a" to at most 5% {where} for each prompt price at most 3')
    assert (term.kind, term.sense, term.bound, term.each_prompt, term.price) == ("budget", "at most", 0.05, True, 3.0)
    assert term.among is not None
    assert truth(term.among, answered("b")) is True
    plain = limit('limit response mentions "a" to at most 5%')
    assert (plain.among, plain.each_prompt, plain.price) == (None, False, None)


@pytest.mark.parametrize(
    ("said", "kept", "rest"),
    [
        ("to at most 3 in at least 95%", range(4), 0.05),
        ("to at least 2 in at least 99.9%", range(2, 9), 0.001),
        ("to exactly 4 in at least 30%", (4,), 0.7),
    ],
)
def test_a_quantity_in_most_responses_is_a_rate(said: str, kept: Sequence[int], rest: float) -> None:
    term = limit(f"limit number of words in response {said} of responses")
    assert (term.kind, term.sense, term.bound, term.value) == ("budget", "at most", rest, None)
    assert term.holds is not None
    for words in range(9):
        assert truth(term.holds, answered("a " * words)) is (words not in kept)


def test_no_room_is_a_hard_rule() -> None:
    where = 'of responses where response mentions "b"'
    for said, allowed in (
        (f'response mentions "a" to at most 0% {where}', ("", "a", "b")),
        (f'response mentions "a" to at least 100% {where}', ("", "a", "a b")),
        ("number of words in response to at most 1 in at least 100% of responses", ("", "a", "b")),
        ('average number of "a" in response to at most 0 over responses where response mentions "b"', ("", "a", "b")),
    ):
        term = limit(f"limit {said}", "levels root > user price at most 2")
        assert (term.kind, term.among, term.price) == ("hard", None, None)
        assert term.holds is not None
        for text in ("", "a", "b", "a b"):
            assert truth(term.holds, answered(text)) is (text in allowed), (said, text)


def test_a_level_has_a_price_and_a_limit_its_own() -> None:
    text = """
levels root > system price at most 5 > user price at most 0.5
rule a at root { limit response mentions "a" to at most 5% }
rule b at system { limit response mentions "a" to at most 5% }
rule c { limit response mentions "a" to at most 5% }
rule d { limit response mentions "a" to at most 5% price at most 7 }
rule t(word: text) { limit response mentions word to at most 5% }
apply t("b") as e at system
rule f { should be json }
"""
    prices = {term.id: term.price for term in program(text).terms}
    assert prices == {"a": None, "b": 5.0, "c": 0.5, "d": 7.0, "e": 5.0, "f": None}


def test_the_digest_covers_them() -> None:
    plain = 'limit response mentions "a" to at most 5%'
    said = [
        plain,
        f"{plain} for each prompt",
        f"{plain} price at most 3",
        f"{plain} price at most 4",
        f"{plain} of responses where response is json",
        f'{plain} of responses where response mentions "b"',
    ]
    programs = [program(f"rule r at user {{ {each} }}") for each in said]
    assert len({each.digest for each in programs}) == len(said)
    for each in programs:
        assert from_json(to_json(each)) == each
    assert not {"among", "each_prompt", "price"} & set(to_json(programs[0]).replace('"', " ").split())


def test_a_program_that_says_nonsense_is_refused() -> None:
    good = program('rule r at user { limit response mentions "a" to at most 5% }')
    (term,) = good.terms
    soft = replace(program('rule r at user { should mention "a" }').terms[0])
    for wrong, word in (
        (replace(term, price=0.0), "price"),
        (replace(term, price=-1.0), "price"),
        (replace(term, price=math.nan), "price"),
        (replace(term, among=BooleanFact("user.vip")), "what it is about"),
        (replace(soft, price=1.0), "only a budget"),
        (replace(soft, each_prompt=True), "only a budget"),
        (replace(soft, among=soft.holds), "only a budget"),
    ):
        with pytest.raises(ProgramInvalid, match=word):
            verify(replace(good, terms=(wrong,)))


# --------------------------------------------------------------------------------------------------------- evaluation
def test_what_a_limit_about_some_answers_contributes() -> None:
    where = 'of responses where response mentions "b"'
    term = replace(limit(f'limit response mentions "a" to at most 5% {where}'), multiplier=2.0)
    elsewhere, against, fine = (evaluate_term(term, answered(text)) for text in ("a", "a b", "b"))
    assert (elsewhere.verdict, elsewhere.value, elsewhere.contribution) == (Verdict.NOT_APPLICABLE, 0.0, 0.0)
    assert (against.verdict, against.value, against.contribution) == (Verdict.VIOLATED, 1.0, -1.9)
    assert (fine.verdict, fine.value, fine.contribution) == (Verdict.SATISFIED, 0.0, 0.1)
    average = 'limit average number of words in response to at most 2 over responses where response mentions "b"'
    term = replace(limit(average), multiplier=0.5)
    assert evaluate_term(term, answered("a a a b")).contribution == -1.0
    assert evaluate_term(term, answered("a a a")).contribution == 0.0
    assert evaluate_term(replace(term, multiplier=None), answered("b")).contribution is None


def test_what_cannot_be_told_is_unscored() -> None:
    concept = 'concept rude means "rude"\n'
    term = limit('limit response mentions "a" to at most 5% of responses where response expresses rude', concept)
    assert any(isinstance(part, ConceptScore) for part in walk(term.among or BooleanConstant(True)))
    score = evaluate_term(replace(term, multiplier=1.0), answered("a"))
    assert (score.verdict, score.value, score.contribution) == (Verdict.UNSCORED, None, None)


CHARACTERS = "ab ."
TEXTS = ["".join(letters) for length in range(5) for letters in itertools.product(CHARACTERS, repeat=length)]
PIECES = (
    *('response contains "a"', 'response starts with "b"', 'response ends with "."', "response has at least 2 words"),
    *("response matches /a+b?/", "response has at most 2 characters", 'response mentions "a"'),
)


@pytest.mark.parametrize("seed", range(25))
def test_automata_agree_with_the_evaluator(seed: int) -> None:
    choose = random.Random(seed)
    event, among = choose.choice(PIECES), choose.choice(PIECES)
    when = choose.choice(["", f"{choose.choice(['and', 'or'])} {choose.choice(PIECES)}"])
    said = choose.choice(
        [
            f"{event} to at most {choose.randint(1, 99)}%",
            f"number of words in response to at least {choose.randint(1, 3)} in at least 80%",
        ]
    )
    term = replace(limit(f"limit {said} of responses where {among} {when}"), multiplier=choose.uniform(-3, 3))
    (special,) = specialise(RewardProgram("p", "1", ("user",), (term,)), Trace((Message("user", "x"),)))
    valued = valued_of(special)
    assert valued is not None
    factors = factorise([special])
    assert factors.residual == ()
    for text in choose.sample(TEXTS, 150):
        expected = evaluate_term(term, answered(text)).contribution
        assert valued.value(text) == pytest.approx(expected, abs=ROUNDING)
        assert sum(group.value(text) for group in factors.groups) == pytest.approx(expected, abs=ROUNDING)


def test_an_average_about_some_answers_is_weighed_on_the_finished_text() -> None:
    said = 'limit average number of words in response to at most 2 over responses where response ends with "."'
    term = replace(limit(said), multiplier=0.7)
    assert valued_of(term) is None
    factors = factorise([term])
    assert factors.groups == ()
    assert factors.residual_reward("a b c.") == pytest.approx(-0.7)
    assert factors.residual_reward("a b c") == 0.0


def test_specialisation_settles_what_hangs_on_the_prompt() -> None:
    where = 'response contains "b" and prompt contains "x"'
    policy = program(f'rule r at user {{ limit response contains "a" to at most 5% of responses where {where} }}')
    assert specialise(policy, Trace((Message("user", "y"),))) == ()
    (term,) = specialise(policy, Trace((Message("user", "x"),)))
    term = replace(term, multiplier=1.0)
    whole = replace(policy.terms[0], multiplier=1.0)
    for text in ("a", "b", "ab", ""):
        assert (
            evaluate_term(term, answered(text)).contribution == evaluate_term(whole, answered(text, "x")).contribution
        )
    always = 'response contains "b" or prompt contains "x"'
    policy = program(f'rule r at user {{ limit response contains "a" to at most 5% of responses where {always} }}')
    (term,) = specialise(policy, Trace((Message("user", "x"),)))
    assert term.among == BooleanConstant(True)
    assert evaluate_term(replace(term, multiplier=1.0), answered("a")).contribution == pytest.approx(-0.95)
    concept = 'concept rude means "rude"\n'
    said = 'limit response contains "a" to at most 5% of responses where response expresses rude'
    with pytest.raises(CannotSpecialise):
        specialise(program(f"{concept}rule r at user {{ {said} }}"), Trace((Message("user", "x"),)))


@pytest.mark.parametrize("seed", range(8))
def test_the_law_keeps_the_rate_among_the_answers_that_it_is_about(seed: int) -> None:
    """On an enumerable model: with the multiplier at which the dual is flat, the conditional rate is the bound."""
    choose = np.random.default_rng(seed)
    term = limit('limit response contains "a" to at most 10% of responses where response contains "b"')
    weights = choose.dirichlet(np.ones(len(TEXTS)))
    event = np.array([truth(term.holds, answered(text)) is True for text in TEXTS])  # type: ignore[arg-type]
    about = np.array([truth(term.among, answered(text)) is True for text in TEXTS])  # type: ignore[arg-type]
    unit = np.array([evaluate_term(replace(term, multiplier=1.0), answered(text)).contribution for text in TEXTS])

    def law(multiplier: float) -> np.ndarray:
        found = weights * np.exp(multiplier * unit)
        return found / found.sum()

    low, high = 0.0, 50.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (low, middle) if law(middle) @ (-unit) < 0 else (middle, high)
    solved = law(high)
    assert weights[event & about].sum() / weights[about].sum() > 0.2
    assert solved[event & about].sum() / solved[about].sum() == pytest.approx(0.1, abs=ROUNDING)
    # Elsewhere it only scales: the law of the answers that it is not about is that of the model.
    assert solved[~about] / solved[~about].sum() == pytest.approx(weights[~about] / weights[~about].sum(), abs=ROUNDING)


# ------------------------------------------------------------------------------------------------------------- proofs
def feature(term: RewardTerm, text: str) -> float:
    """What a limit adds up over answers, less its bound: 0 for answers that it is not about."""
    here = answered(text)
    if term.among is not None and truth(term.among, here) is not True:
        return 0.0
    value = float(truth(term.holds, here) is True) if term.holds is not None else number(term.value, here)  # type: ignore[arg-type]
    return float(value) - float(term.bound or 0.0)  # type: ignore[arg-type]


def is_feasible(texts: Sequence[str], limits: Sequence[RewardTerm]) -> bool:
    """Whether some mixture of these texts meets all limits, by SciPy."""
    kinds = sorted({tuple(feature(each, text) for each in limits) for text in texts})
    if not limits or not kinds:
        return bool(kinds)
    rows = []
    for place, each in enumerate(limits):
        signs = {"at most": (1.0,), "at least": (-1.0,)}.get(each.sense or "", (1.0, -1.0))
        rows += [[sign * kind[place] for kind in kinds] for sign in signs]
    solved = linprog(
        np.zeros(len(kinds)),
        A_ub=np.array(rows),
        b_ub=np.full(len(rows), 1e-11),
        A_eq=np.ones((1, len(kinds))),
        b_eq=[1.0],
    )
    assert solved.status in (0, 2)
    return bool(solved.status == 0)


WORLD = "rule world at user { must match /[ab.]*/ must have at most 4 characters }\n"
HARD = ('must start with "a"', 'must not contain "b"', "must have at most 1 characters", 'must be in ["a", "ab", "."]')
EVENTS = (
    *('response contains "a"', 'response contains "b"', 'response starts with "a"', 'response ends with "."'),
    *("response has at least 2 characters", 'response is in ["a", "b", "ab"]', 'not response contains "a"'),
)


def random_policy(choose: random.Random) -> str:
    rules = [f"rule hard at user {{ {choose.choice(HARD)} }}"] if choose.random() < 0.5 else []
    for place in range(3):
        sense = choose.choice(["at most", "at least", "exactly"])
        share = choose.choice([5, 20, 50, 75, 95])
        where = f"of responses where {choose.choice(EVENTS)}" if choose.random() < 0.6 else ""
        price = "price at most 2" if choose.random() < 0.3 else ""
        each = "for each prompt" if choose.random() < 0.2 else ""
        said = f"{choose.choice(EVENTS)} to {sense} {share}%"
        if choose.random() < 0.2:
            where = where.replace("of", "over", 1)
            said = f"average number of characters in response to {sense} {choose.choice([1, 2, 3.5])}"
        rules.append(f"rule limit_{place} at user {{ limit {said} {where} {price} {each} }}")
    return WORLD + "\n".join(rules)


WORLD_TEXTS = ["".join(letters) for length in range(5) for letters in itertools.product("ab.", repeat=length)]


def test_claims_about_random_limits_are_true() -> None:
    """Against all mixtures of all texts: each claim is true, and rigid events that exclude each other are found."""
    claims = missed = 0
    for seed in range(70):
        compiled = check(random_policy(random.Random(seed)))
        assert compiled.draft is not None
        terms = compiled.draft.terms
        hard = [term for term in terms if term.kind == "hard"]
        texts = [t for t in WORLD_TEXTS if all(truth(h.holds, answered(t)) is True for h in hard)]  # type: ignore[arg-type]
        limits = [term for term in terms if term.kind == "budget"]
        by_place = {term.extent.start: term for term in limits}
        told: set[str] = set()
        for each in (*found(compiled, "P413"), *found(compiled, "P414")):
            marks = (each.primary, *each.secondary)
            about = [by_place[mark.span.start] for mark in marks if mark.span.start in by_place]
            told |= {term.id for term in about}
            claims += 1
            if "never binds" in each.message:
                assert each.severity is Severity.WARNING
                (term,) = about
                assert all(feature(term, t) <= 0 for t in texts) or all(feature(term, t) >= 0 for t in texts)
                continue
            assert not is_feasible(texts, about), each.message
            gives_way = any(term.price is not None for term in about)
            assert each.severity is (Severity.WARNING if gives_way else Severity.ERROR), each.message
        rigid = [term for term in limits if term.price is None and term.holds is not None]
        if texts and not is_feasible(texts, rigid):
            missed += not told & {term.id for term in rigid}
    assert claims > 40
    assert missed == 0


def test_a_limit_about_some_answers_may_be_met_by_none_of_them() -> None:
    where = 'of responses where response contains "a"'
    alone = f'rule r at user {{ limit response contains "a" to at most 5% {where} }}'
    compiled = check(alone)
    assert compiled.ok
    assert not found(compiled, "P413")
    (clash,) = found(check(f'{alone}\nrule s at user {{ limit response contains "a" to at least 20% }}'), "P414")
    assert clash.severity is Severity.ERROR
    assert "can never both be met" in clash.message
    forced = f'rule h at user {{ must contain "a" }}\n{alone}'
    (never,) = found(check(forced), "P413")
    assert never.severity is Severity.ERROR
    assert "every answer counts against it" in never.message


def test_a_limit_with_a_price_gives_way() -> None:
    rules = 'rule a at user {{ limit response starts with "Y" to at least 60% {} }}\n'
    rules += 'rule b at user {{ limit response starts with "N" to at least 50% {} }}'
    for first, second, severity in (
        ("", "", Severity.ERROR),
        ("price at most 2", "", Severity.WARNING),
        ("", "price at most 2", Severity.WARNING),
    ):
        compiled = check(rules.format(first, second))
        (clash,) = found(compiled, "P414")
        assert clash.severity is severity
        assert compiled.ok is (severity is Severity.WARNING)
    assert "`b` gives way" in clash.message
    hard = 'rule h at user { must not start with "Y" }\n'
    (never,) = found(check(hard + rules.format("price at most 2", "")), "P413")
    assert never.severity is Severity.WARNING
    assert "and gives way" in never.message


COMPANIONS = {
    'rule c at user { limit response contains "b" to at least 20% }': False,
    'rule c at user { limit response contains "b" to exactly 20% }': False,
    'rule c at user { limit not response contains "b" to at most 80% }': False,
    'rule c at user { must contain "b" }': False,
    'rule c at user { must start with "abc" }': False,
    'rule c at user { limit response contains "b" to at most 20% }': True,
    'rule c at user { limit response contains "b" to at least 20% price at most 1 }': True,
    'rule c at user { when prompt mentions "x" limit response contains "b" to at least 20% }': True,
    'rule c at user { limit response contains "c" to at least 20% }': True,
    "": True,
}


@pytest.mark.parametrize(("companion", "is_told"), COMPANIONS.items())
def test_the_other_way_to_meet_a_limit_is_told(companion: str, is_told: bool) -> None:
    said = 'rule r at user { limit response contains "a" to at most 50% of responses where response contains "b" }'
    notes = found(check(f"{said}\n{companion}"), "P421")
    assert bool(notes) is is_told
    assert all(note.severity is Severity.NOTE for note in notes)


# -------------------------------------------------------------------------------------------------------------- audit
def audited(text: str, traces: Sequence[Trace], clusters: Sequence[str] | None = None) -> TermAudit:
    source = Source("rules.bylaw", text)
    found = audit(compile_source(source).require(), traces, source="t", policy=source, clusters=clusters)
    (term,) = found.terms
    return term


@pytest.mark.parametrize(
    ("said", "more", "note"),
    [
        ('"a" to at most 5% of responses where response contains "a"', "", "every answer that it is about shows"),
        ('"ab" to exactly 5% of responses where response contains "ab"', "", "every answer that it is about shows"),
        ('"a" to at least 5% of responses where not response contains "a"', "", "no answer that it is about shows"),
        (
            '"a" to at least 5% of responses where response contains "b"',
            'rule c at user { must not contain "a" }',
            "with `c`, no answer that it is about shows",
        ),
        ('"a" to at most 5% of responses where response contains "b"', "", None),
        ('"a" to at most 5% of responses where response contains "ab" or response contains "c"', "", None),
        ('"b" to at least 5% of responses where response contains "ab"', "", None),
    ],
)
def test_a_limit_that_only_no_answer_meets(said: str, more: str, note: str | None) -> None:
    """It is a note where the answers could become better, a warning where only fewer of them help."""
    compiled = check(f"rule r at user {{ limit response contains {said} }}\n{more}")
    (told,) = found(compiled, "P421")
    assert told.severity is (Severity.NOTE if note is None else Severity.WARNING)
    assert (note is None) is ("can be met by giving fewer" in told.message)
    assert note is None or note in told.notes[0]


def test_nothing_is_said_of_fewer_answers_where_there_are_none() -> None:
    text = 'rule r at user { limit response contains "a" to at most 5% of responses where response contains "b" }'
    compiled = check(f'{text}\nrule c at user {{ must not contain "b" }}')
    assert not found(compiled, "P421")
    assert "never binds" in found(compiled, "P413")[0].message


def test_the_rate_is_among_the_answers_that_a_limit_is_about() -> None:
    text = 'rule r at user { limit response contains "a" to at most 30% of responses where response contains "b" }'
    term = audited(text, [answered(each) for each in ("a", "a", "a", "ab", "b", "b", "b")])
    assert (term.applicable, term.not_applicable, term.rate, term.within) == (4, 3, 0.25, True)
    assert audited(text, [answered("a")] * 9).within is None


EACH = 'rule r at user { limit response contains "a" to at most 30% of responses for each prompt }'


@pytest.mark.parametrize(
    ("counts", "within"),
    [
        (((0, 10), (3, 10), (1, 10)), True),
        (((0, 10), (4, 10), (1, 10)), None),  # more than 30 %, but so few answers do not show it
        (((0, 40), (36, 40), (1, 40)), False),  # over all answers it is 31 %, which alone would be told
        (((0, 90), (36, 40), (1, 90)), False),  # over all answers it is 17 %
    ],
)
def test_a_limit_for_each_prompt(counts: Sequence[tuple[int, int]], within: bool | None) -> None:
    traces, clusters = [], []
    for prompt, (against, answers) in enumerate(counts):
        traces += [answered("a" if n < against else "b") for n in range(answers)]
        clusters += [f"prompt {prompt}"] * answers
    term = audited(EACH, traces, clusters)
    assert term.within is within
    worst = max(range(3), key=lambda n: counts[n][0] / counts[n][1])
    assert term.worst_prompt is not None
    assert (term.worst_prompt.prompt, term.worst_prompt.answers) == (f"prompt {worst}", counts[worst][1])
    assert term.worst_prompt.rate == counts[worst][0] / counts[worst][1]
    assert f"`prompt {worst}`" in figures.limit_bound(term)
    assert figures.limit(term) == "at most 30%, for each prompt"


def test_one_answer_to_each_prompt_shows_that_it_is_broken_and_never_that_it_is_met() -> None:
    assert audited(EACH, [answered("b")] * 20).within is None
    assert audited(EACH, [answered("b")] * 20, [f"p{n}" for n in range(20)]).within is None
    assert audited(EACH, [answered("a")] * 20, [f"p{n}" for n in range(20)]).within is False


def test_a_prompt_with_one_answer_leaves_the_limit_open() -> None:
    several = [answered("b")] * 4
    assert audited(EACH, several, ["p", "p", "q", "q"]).within is True
    assert audited(EACH, several, ["p", "p", "p", "q"]).within is None


def test_which_answers_are_to_the_same_prompt() -> None:
    asked, again = Message("user", "When do\nyou  open?"), Message("user", "Where?" * 40)
    call = tool_call("hours", {"day": "Monday"})
    traces = [
        Trace((asked,)).answered("At nine."),
        Trace((asked, call, Message("tool", "9", "hours"))).answered("At ten."),
        Trace((Message("system", "Be brief."), asked)).answered("Nine."),
        Trace((asked, Message("assistant", "At nine."), again)).answered("Here."),
        answered("Nothing asked."),
        answered("Nothing asked."),
    ]
    names = prompts_of(traces)
    assert names is not None
    assert names[0] == names[1] == "When do you open?"
    assert names[2] == "When do you open? (transcript 3)"
    assert len(names[3]) <= 60
    assert len(set(names)) == 5
    assert prompts_of(traces[1:]) is None
    assert prompts_of([]) is None


def test_an_audit_knows_by_itself_which_answers_are_to_the_same_prompt(tmp_path: Path) -> None:
    (tmp_path / "rules.bylaw").write_text(EACH, encoding="utf-8")
    command = ["audit", str(tmp_path / "rules.bylaw"), str(tmp_path / "said.jsonl"), "--format", "json"]
    for against, within in ((30, True), (60, False)):
        lines = [(f"p{n % 3}", "a" if n % 3 == 2 and n < 3 * against else "b") for n in range(300)]
        text = "".join(json.dumps({"prompt": prompt, "response": said}) + "\n" for prompt, said in lines)
        (tmp_path / "said.jsonl").write_text(text, encoding="utf-8")
        record = json.loads(CliRunner().invoke(main, command).stdout)
        (term,) = record["terms"]
        assert (record["clusters"], term["within"]) == (3, within)
        assert term["worst_prompt"] == {"prompt": "p2", "rate": against / 100, "answers": 100}
        shown = CliRunner().invoke(main, command[:3]).stdout
        assert f"{against}.0% in 100" in " ".join(shown.split())
        assert "`p2`" in shown


def test_a_policy_that_keeps_to_its_limit_is_seldom_said_to_break_it() -> None:
    """Ten prompts at the bound, of 30 answers each, are told in at most 5 % of audits: a binomial of 5 % in 150 audits
    is above 18 with a chance of less than 1e-3. One prompt of twice the bound is told in most."""
    choose = np.random.default_rng(4)
    prompts = [f"p{n}" for n in range(10) for _ in range(30)]
    term = limit('limit response contains "a" to at most 30% of responses for each prompt')

    def told(rates: Sequence[float]) -> int:
        count = 0
        for _ in range(150):
            values = (choose.random((10, 30)) < np.array(rates)[:, None]).astype(float).ravel().tolist()
            count += met_for_each(term, by_prompt(values, prompts), True, 0, _judge) is False
        return count

    assert told([0.3] * 10) <= 18
    assert told([0.3] * 9 + [0.7]) >= 120


# --------------------------------------------------------------------------------------------------- tools for authors
def test_changes_are_told() -> None:
    plain = 'rule r at user {{ limit response contains "a" to at most 5% of responses{} }}'
    words = {
        "": " for each prompt",
        " price at most 2": " price at most 3",
        ' where response contains "b"': ' where response contains "c"',
    }
    for before, after in words.items():
        versions = [compile_source(Source(name, plain.format(said))) for name, said in (("o", before), ("n", after))]
        changes = [each for each in compare(*versions).changes if each.is_meaning]
        assert len(changes) == 1, (before, changes)
        assert changes[0].kind == ("sentence" if "where" in before else "limit")
        assert after.split()[-1].strip('"') in changes[0].words
    shares = [f"limit number of words in response to at most 40 in at least {n}% of responses" for n in (95, 90)]
    versions = [compile_source(Source("p", f"rule r at user {{ {each} }}")) for each in shares]
    (change,) = (each for each in compare(*versions).changes if each.is_meaning)
    assert (change.kind, change.words) == ("limit", " -> ".join(shares))
    chains = [f"levels root > user{price}\n{plain.format('')}" for price in (" price at most 2", " price at most 4")]
    versions = [compile_source(Source("p", text)) for text in chains]
    (change,) = (each for each in compare(*versions).changes if each.is_meaning)
    assert (change.kind, change.words) == ("limit", "at most 5 %, price at most 2 -> at most 5 %, price at most 4")


def test_what_is_counted_and_what_it_is_about_are_not_taken_for_each_other() -> None:
    """A rate of a among b is not one of b among a, although the same answers count against both."""
    said = 'rule r at user {{ limit response contains "{}" to at most 5% of responses where response contains "{}" }}'
    versions = [compile_source(Source("p", said.format(*names))) for names in (("a", "b"), ("b", "a"))]
    found_changes = compare(*versions)
    assert any(each.is_meaning for each in found_changes.changes)
    assert found_changes.same_by_proof == ()


def test_a_residual_policy_keeps_them() -> None:
    text = """levels root > user price at most 2

rule r at user {
  when user.is_new
  limit response contains "a" to at most 5% of responses where response contains "b" for each prompt
}
"""
    compiled = compile_source(Source("p", text))
    left = residual(compiled, None, Given({"user.is_new": True}))
    assert left.problems == ()
    (term,) = program(left.text).terms
    (whole,) = compiled.require().terms
    assert (term.condition, term.each_prompt, term.price) == (None, True, 2.0)
    assert term.among is not None
    assert whole.among is not None


def test_mutants_change_what_a_limit_counts_and_is_about() -> None:
    text = """rule r at user {
  limit response mentions "a" to at most 5% of responses where response mentions "b" price at most 2
  violates "a b"
  complies "b"
  skips "a"
}
rule q at user {
  limit number of words in response to at most 3 in at least 90% of responses
  violates "a a a a"
  complies "a a a"
}
"""
    report = mutate(Source("p", text))
    assert report.left_out["a price of a limit: it is about many answers"] == 1
    assert report.left_out["a bound of a limit: it is about many answers"] == 2
    shown = {text[tried.edit.span.start : tried.edit.span.end] for tried in report.tried}
    assert any('"b"' in each for each in shown)
    assert "3" in shown


def test_an_explanation_names_what_a_limit_is_about() -> None:
    text = 'rule r at user { limit response contains "a" to at most 5% of responses where response contains "b" }'
    when = text.replace("limit", 'when prompt mentions "x" limit', 1)
    (rule,) = explain(program(when), answered("a", "x"))
    assert rule.verdict == "skips"
    assert [(atom.value, atom.decides) for atom in rule.clauses[0].where] == [(True, False), (False, True)]


def test_the_document_says_them_in_the_words_of_the_author() -> None:
    text = """policy p version "1"
levels root > user price at most 2
rule r at user { limit response contains "a" to at most 5% of responses where response contains "b" for each prompt }
rule q at root { limit number of words in response to at most 40 in at least 95% of responses }
"""
    shown = to_markdown(constitution(compile_source(Source("p", text)))).replace("\\", "")
    assert 'of responses where response contains "b" for each prompt' in shown
    assert "to at most 40 in at least 95% of responses" in shown
    assert shown.count("cost more than 2 nats") == 1


def test_a_hard_limit_about_some_answers_is_an_implication() -> None:
    term = limit('limit response contains "a" to at most 0% of responses where response contains "b"')
    assert isinstance(term.holds, Or)
    assert evaluate_term(term, answered("ab")).verdict is Verdict.VIOLATED
    assert evaluate_term(term, answered("a")).verdict is Verdict.SATISFIED
