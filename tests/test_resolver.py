"""Resolving names, types, definitions and permissions; what is said when something is wrong with them."""

import re
from pathlib import Path

import pytest
from conftest import Golden

from bylaw.compiler.pipeline import Compiled, compile_source
from bylaw.spec.errors import CODES, PROVED, Diagnostic, render
from bylaw.spec.expression import (
    And,
    Compare,
    Count,
    Fact,
    Holds,
    MessageText,
    Not,
    NumberConstant,
    Or,
    Phrase,
    Regex,
)
from bylaw.spec.logic import same
from bylaw.spec.regulator import Regulator
from bylaw.spec.source import Source

CASES = sorted((Path(__file__).parent / "golden" / "diagnostics").glob("P*.bylaw"))
# The codes of resolving and analysing; those of syntax, P0xx and P201 to P203, belong to the parser.
IN_SEVERAL_FILES = ("P114", "P115", "P116")
CODES_HERE = [
    c
    for c in CODES
    if (c[1] in "1345" and c not in IN_SEVERAL_FILES and c not in PROVED)
    or c in ("P204", "P205", "P206", "P207", "P208", "P209", "P210")
]
RESPONSE = MessageText("response")


def compiled(text: str) -> Compiled:
    return compile_source(Source.of("policy.bylaw", text))


def codes(text: str) -> list[str]:
    return [diagnostic.code for diagnostic in compiled(text).diagnostics]


def only(text: str) -> Regulator:
    """The one regulator of a sound policy."""
    result = compiled(text)
    assert result.ok, [render(d, result.source) for d in result.diagnostics]
    assert result.regulators is not None
    (regulator,) = result.regulators.regulators
    return regulator


def in_rule(sentence: str, before: str = "") -> str:
    return f"{before}\nrule r at user {{ {sentence} }}"


# ------------------------------------------------------------------------------------------------------- messages
@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_message(path: Path, golden: Golden) -> None:
    source = Source.of(path.name, path.read_text(encoding="utf-8"))
    result = compile_source(source)
    code = path.stem.split("_")[0]
    assert {diagnostic.code for diagnostic in result.diagnostics} == {code}
    assert result.ok is all(not diagnostic.is_error for diagnostic in result.diagnostics)
    shown = "\n\n".join(render(diagnostic, result.source) for diagnostic in result.diagnostics)
    golden.check(f"diagnostics/{path.stem}.txt", shown + "\n")
    for diagnostic in result.diagnostics:
        _check_style(diagnostic, source)


def _check_style(diagnostic: Diagnostic, source: Source) -> None:
    texts = [diagnostic.message, *diagnostic.notes, *(label.message for label in diagnostic.secondary)]
    for text in texts:
        assert text == "" or not text[0].isupper(), text
        assert not text.endswith("."), text
        assert not re.search(r"\b[A-Z]{2,}_[A-Z]+\b|Expression|Decl\b|None\b", text), text
    span = diagnostic.primary.span
    assert 0 <= span.start < span.end <= len(source.text)


@pytest.mark.parametrize("code", CODES_HERE)
def test_every_code_has_a_case(code: str) -> None:
    assert any(path.stem.startswith(code) for path in CASES)


# -------------------------------------------------------------------------------------------------------- meaning
CONDITIONS = {
    'prompt contains "a"': Holds("contain", MessageText("prompt"), (Phrase("a"),)),
    'not prompt contains "a"': Not(Holds("contain", MessageText("prompt"), (Phrase("a"),))),
    'prompt mentions all of ["a", /b/i]': Holds(
        "mention", MessageText("prompt"), (Phrase("a"), Regex("b", "i")), "all"
    ),
    'prompt contains none of ["a"]': Not(Holds("contain", MessageText("prompt"), (Phrase("a"),))),
    'prompt does not contain "a"': Not(Holds("contain", MessageText("prompt"), (Phrase("a"),))),
    'meta.topic == "tea"': Holds("match", Fact("meta.topic"), (Phrase("tea"),)),
    '"tea" != meta.topic': Not(Holds("match", Fact("meta.topic"), (Phrase("tea"),))),
    "prompt has a table": Compare(">=", Count("tables", MessageText("prompt")), NumberConstant(1.0)),
    "prompt is not empty": Not(Holds("empty", MessageText("prompt"))),
    "system_prompt has no commas": Compare("<=", Count("commas", MessageText("system")), NumberConstant(0.0)),
    "not prompt has more than 2 + 1 words": Compare("<=", Count("words", MessageText("prompt")), NumberConstant(3.0)),
    'not (prompt is empty or prompt contains "a")': And(
        (Not(Holds("empty", MessageText("prompt"))), Not(Holds("contain", MessageText("prompt"), (Phrase("a"),))))
    ),
    'prompt is in ["a", "b"]': Holds("match", MessageText("prompt"), (Phrase("a"), Phrase("b"))),
}


@pytest.mark.parametrize("text", CONDITIONS)
def test_condition(text: str) -> None:
    condition = only(in_rule(f'when {text}\nmust contain "x"')).condition
    assert same(condition, CONDITIONS[text]), condition


def test_definitions_are_unfolded_where_they_stand() -> None:
    direct = only(in_rule('when number of words in prompt > 5\nmust contain "x"'))
    for definition, use in [
        ("define long as number of words in prompt > 5", "long"),
        ("define long(t) as number of words in t > 5", "long(prompt)"),
        ("define long(t, n = 5) as number of words in t > n", "long(prompt)"),
        ("define size(t) as number of words in t", "size(prompt) > 5"),
        ("define size(t) as number of words in t\ndefine long(t) as size(t) > 5", "long(prompt)"),
        ("define same(t) as t\ndefine long(t) as number of words in same(t) > 5", "long(same(same(prompt)))"),
        ("param n : number = 5\ndefine long(n) as number of words in prompt > n", "long(n)"),
        ("param t : number = 5\ndefine long(t, n) as number of words in t > n", "long(prompt, t)"),
    ]:
        regulator = only(in_rule(f'when {use}\nmust contain "x"', definition))
        assert same(regulator.condition, direct.condition), (definition, regulator.condition)


def test_definitions_can_stand_for_texts_and_lists() -> None:
    greeting = only(in_rule("must contain hi", 'define hi as "hello"')).obligation
    assert same(greeting, only(in_rule('must contain "hello"')).obligation)
    for definition in (
        'define words as ["a", "b"]',
        'lexicon words = ["a", "b"]',
        'param words : list of text = ["a", "b"]',
    ):
        obligation = only(in_rule("must mention any of words", definition)).obligation
        assert isinstance(obligation, Holds)
        assert obligation.matchers == (Phrase("a"), Phrase("b"))


def test_negations_reach_the_comparisons() -> None:
    obligation = only(in_rule("must not have at most 3 words or have at least 9 words")).obligation
    assert isinstance(obligation, And)
    assert [item.operator for item in obligation.items if isinstance(item, Compare)] == [">", "<"]


def test_a_rule_without_a_level_stands_at_the_weakest() -> None:
    assert only('levels a > b > c\nrule r { must contain "x" }').level == "c"


def test_clauses_of_one_rule_are_numbered() -> None:
    result = compiled(in_rule('must contain "a"\nshould contain "b"'))
    assert result.regulators is not None
    assert [r.id for r in result.regulators.regulators] == ["r.1", "r.2"]


# ------------------------------------------------------------------------------------------------------- analysis
@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ('rule a at user { when response contains "x" must not contain "x" }', []),
        (
            'rule a at user { when prompt contains "x" must contain "y" }\nrule b at user { must not contain "y" }',
            ["P401"],
        ),
        (
            'rule a at user { when prompt contains "x" must contain "y" }\n'
            'rule b at user { unless prompt contains "x" must not contain "y" }',
            [],
        ),
        (
            'rule a at user { when prompt contains "x" must contain "y" }\n'
            'rule b at user { when prompt contains "x" when meta.a == "b" must not contain "y" }',
            ["P401"],
        ),
        (
            'rule a at user { must contain "y" }\nrule b at user { must not contain "y" }\n'
            'rule c at user { when prompt contains "x" must have at most 0 lines }\n'
            'rule d at user { when prompt contains "x" must have a lines }',
            ["P401", "P401", "P401"],  # a with b, a with c (a text with "y" has a line), c with d
        ),
        (
            'rule a at user { must contain "y" }\nrule b at user { must not contain "y" }\n'
            'rule c at user { may contain "y" }',
            [],
        ),
        (
            'rule a at user { must contain "y" }\n'
            'rule b at user { limit response contains "y" to at most 0% of responses }',
            ["P401"],
        ),
        (
            'rule a at user { must have at most 3 words }\nrule b at user { must contain "one two three four" }',
            ["P401"],
        ),
    ],
)
def test_conflicts(rules: str, expected: list[str]) -> None:
    assert codes(rules) == expected


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ('when system_prompt contains "shop" must contain "x" violates "a"', []),
        ('when system_prompt contains "shop" must contain "x" skips "a"', ["P501"]),
        ('when prompt contains "a" when response contains "b" must contain "x" skips "a" violates "b"', []),
        ('limit response contains "x" to at least 50% of responses complies "x" violates "y"', []),
        ('limit response contains "x" to at most 50% of responses complies "y" violates "x"', []),
        (
            'when meta.n > 3 must contain "x" complies { given meta.n = 4 assistant "x" }'
            ' skips { given meta.n = 2 assistant "" }',
            [],
        ),
        ('when meta.vip must contain "x" violates { given meta.vip = true assistant "" }', []),
        ('when meta.vip == false must contain "x" skips { given meta.vip = true assistant "" }', []),
        ('when meta.vip must contain "x" violates { assistant "" }', ["P502"]),
        ('when meta.vip must contain "x" violates { given meta.vip = "perhaps" assistant "" }', ["P502"]),
    ],
)
def test_examples(rule: str, expected: list[str]) -> None:
    assert codes(in_rule(rule)) == expected


# --------------------------------------------------------------------------------------------------- nothing is lost
BROKEN = [
    "must contain wrod",
    'when wrod must contain "x"',
    "must have at most wrod words",
    "prefer higher wrod",
    "limit wrod to at most 2% of responses",
    "must contain [wrod]",
    'must be wrod matching "x"',
    'wrod must contain "x"',
]


@pytest.mark.parametrize("sentence", BROKEN)
@pytest.mark.parametrize(
    "before",
    [
        "",
        'concept wrod means "Something."',
        "param wrod : number = true",
        'lexicon wrod = file "a"',
        'rule wrod at user { must contain "x" }',
        'define wrod(t) as t contains "x"',
        "define wrod as wrod",
    ],
)
def test_a_sentence_without_meaning_is_never_dropped_silently(sentence: str, before: str) -> None:
    assert not compiled(in_rule(sentence, before)).ok


def test_deep_and_wide_definitions_end_in_a_message() -> None:
    chain = "define d0 as 1\n" + "\n".join(f"define d{n} as d{n - 1} + 1" for n in range(1, 400))
    assert codes(in_rule("must have at most d399 words", chain))[-1] == "P006"
    doubled = "define d0 as number of words in response\n" + "\n".join(
        f"define d{n} as d{n - 1} + d{n - 1}" for n in range(1, 40)
    )
    assert codes(in_rule("prefer higher d39", doubled)) == ["P006"]
    fine = "define d0 as number of words in response\n" + "\n".join(
        f"define d{n} as d{n - 1} + 1" for n in range(1, 25)
    )
    assert only(in_rule("prefer higher d24", fine)).value is not None


def test_everything_is_reported_in_one_run_and_in_the_order_of_the_file() -> None:
    result = compiled(in_rule("must contain wrod\nmust have at most 3 wrods\nmust be wrodd"))
    assert [d.code for d in result.diagnostics] == ["P101", "P102", "P103"]
    starts = [d.primary.span.start for d in result.diagnostics]
    assert starts == sorted(starts)


def test_or_stays_or() -> None:
    obligation = only(in_rule('must contain "a" or contain "b"')).obligation
    assert isinstance(obligation, Or)
    assert obligation.items[0].subject == RESPONSE  # type: ignore[union-attr]
