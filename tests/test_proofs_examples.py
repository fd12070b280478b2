"""Examples that contradict each other, rules that nothing shows, and names that look alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from bylaw.compiler.pipeline import Compiled, compile_file, compile_source
from bylaw.spec.errors import Diagnostic, Severity
from bylaw.spec.source import Source

ROOT = Path(__file__).parents[1]
OURS = sorted([*(ROOT / "spec" / "std").glob("*.bylaw"), *(ROOT / "examples").glob("*/rules.bylaw")])
OUR_CODES = {"P413", "P414", "P415", "P416", "P506", "P507", "P606"}


def check(text: str) -> Compiled:
    compiled = compile_source(Source("rules.bylaw", text), proofs=True)
    assert compiled.draft is not None, compiled.diagnostics
    return compiled


def found(text: str, code: str) -> list[Diagnostic]:
    return [each for each in check(text).diagnostics if each.code == code]


@pytest.mark.parametrize("path", OURS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_nothing_is_said_of_our_own_policies(path: Path) -> None:
    assert [each for each in compile_file(path, proofs=True).diagnostics if each.code in OUR_CODES] == []


# --------------------------------------------------------------------------------------------------- contradictions
def rule(*examples: str) -> str:
    return "\n".join(['rule no_guys at user {\n  must not mention "guys"', *examples, "}"])


def test_a_contradiction_is_told_once_and_is_an_error() -> None:
    compiled = check(rule('complies "Hi guys."', 'violates "Hi guys."'))
    assert [(each.code, each.severity) for each in compiled.diagnostics] == [("P506", Severity.ERROR)]
    assert compiled.program is None
    (each,) = compiled.diagnostics
    assert each.fix is not None
    assert "`complies`" in each.fix.description
    assert {mark.message for mark in (each.primary, *each.secondary)} == {
        "here it is said that the rule is obeyed ...",
        "... and here that it is broken",
    }


def test_without_the_analyses_the_wrong_example_is_an_error_as_before() -> None:
    text = rule('complies "Hi guys."', 'violates "Hi guys."')
    assert [each.code for each in compile_source(Source("rules.bylaw", text)).diagnostics] == ["P501"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('"Hi guys."', '"Hi guys"'),
        ('"Hi guys."', '{ user "x" assistant "Hi guys." }'),
        ('{ user "x" assistant "Hi guys." }', '{ user "y" assistant "Hi guys." }'),
        (
            '{ given meta.a = "1" user "x" assistant "Hi guys." }',
            '{ given meta.a = "2" user "x" assistant "Hi guys." }',
        ),
        ('"Hi guys."', '"Hi \\u{200b}guys."'),  # a rule may count what shows nothing
    ],
)
def test_what_is_not_the_same_is_no_contradiction(one: str, other: str) -> None:
    text = rule(f"complies {one}", f"violates {other}").replace("must", 'when meta.a == "1" or true\n  must')
    assert not found(text, "P506")


def test_facts_in_another_order_are_the_same_facts() -> None:
    one, other = 'given meta.a = "1" given meta.b = "2"', 'given meta.b = "2" given meta.a = "1"'
    said = '{} {{ {} user "x" assistant "Hi guys." }}'
    assert found(rule(said.format("violates", one), said.format("complies", other)), "P506")
    assert not found(rule(said.format("violates", one), said.format("violates", other)), "P506")


def test_a_text_of_two_concepts_matters_where_they_are_distinct() -> None:
    concepts = """
concept rude means "Insults." {{ like "Fool." {} }}
concept blame means "Blames." {{ like " Fool." }}
rule a at user {{ should not express rude }}
rule b at user {{ should not express blame }}
"""
    (each,) = found(concepts.format("distinct from blame"), "P506")
    assert each.severity is Severity.WARNING
    assert not found(concepts.format(""), "P506")
    apart = concepts.format("distinct from blame").replace('like " Fool."', 'unlike "Fool."')
    assert not found(apart, "P506")


# ------------------------------------------------------------------------------------------------------ never shown
BARE = 'rule no_slang at user {\n  must not mention any of ["gonna", "wanna"]\n}\n'
SHOWN = rule('violates "Hi guys."') + "\n"


def test_the_first_file_of_an_author_gets_no_note() -> None:
    assert not found(BARE, "P507")
    (each,) = found(SHOWN + BARE, "P507")
    assert each.severity is Severity.NOTE
    assert each.message == "no example and no test shows `no_slang`"


def test_the_text_that_is_offered_comes_out_as_it_says() -> None:
    (each,) = found(SHOWN + BARE, "P507")
    assert each.fix is not None
    example = each.fix.description.split("`")[3]
    assert example.startswith("violates ")
    assert check(SHOWN + BARE.replace("\n}", f"\n  {example}\n}}")).diagnostics == ()


@pytest.mark.parametrize(
    "more",
    [
        'examples for no_slang {\n  complies "I am going."\n}\n',
        'test "t" {\n  user "x"\n  assistant "I am gonna."\n  expect violates no_slang\n}\n',
        'test "t" {\n  user "x"\n  assistant "I am gonna."\n  expect violates\n}\n',
    ],
)
def test_examples_elsewhere_and_tests_show_a_rule(more: str) -> None:
    assert not found(SHOWN + BARE + more, "P507")


def test_a_test_in_which_nothing_happens_shows_nothing() -> None:
    quiet = 'test "t" {\n  user "x"\n  assistant "Hello."\n  expect complies\n}\n'
    assert found(SHOWN + BARE + quiet, "P507")


@pytest.mark.parametrize(
    "other",
    [
        "rule few at user { prefer lower number of commas in response }\n",
        'rule seldom at user { limit response mentions "x" to at most 5% of responses }\n',
        "import std.format as fmt\napply fmt.max_words(120) as short\n",
        'rule names_it(w: text = "x") {\n  must mention w\n  complies "x"\n}\napply names_it("tea") as tea\n',
        'rule old at user { must mention "x" }\nexception everywhere to old at user { }\n',
    ],
)
def test_rules_that_decide_nothing_or_were_written_elsewhere_need_none(other: str) -> None:
    head, _, rest = other.partition("\n") if other.startswith("import") else ("", "", other)
    assert not found(f"{head}\n{SHOWN}{rest}", "P507")


def test_a_rule_made_of_one_without_examples_is_named() -> None:
    other = 'rule names_it(w: text = "x") {\n  must mention w\n}\napply names_it("tea") as tea\n'
    assert [each.message for each in found(SHOWN + other, "P507")] == ["no example and no test shows `tea`"]


# ------------------------------------------------------------------------------------------------------------ names
def names(one: str, other: str) -> list[Diagnostic]:
    text = f'rule {one} at user {{ should mention "ash" }}\nrule {other} at user {{ should mention "elm" }}\n'
    return found(text, "P606")


@pytest.mark.parametrize(
    ("one", "other", "why"),
    [
        ("rule_1", "rule_l", "where `rule_1` has `1`, `rule_l` has `l`"),
        ("rule_I", "rule_1", "where `rule_I` has `I`, `rule_1` has `1`"),
        ("v0", "vO", "where `v0` has `0`, `vO` has `O`"),
        ("modern", "modem", "where `modern` has `rn`, `modem` has `m`"),
        ("no_prices", "noprices", "they differ in `_` only"),
        ("no_prices", "No_prices", "they differ in capitals only"),
        ("noPrices", "no_prices", "they differ in capitals and `_` only"),
    ],
)
def test_names_that_look_alike(one: str, other: str, why: str) -> None:
    (each,) = names(one, other)
    assert each.severity is Severity.WARNING
    assert each.message == f"`{one}` and `{other}` look alike"
    assert each.notes == (why,)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("item1", "item2"),
        ("item_1", "item_2"),
        ("word", "words"),
        ("rule_1_1", "rule_11"),
        ("no_prices", "no_price"),
        ("clear", "dear"),
        ("short", "shorter"),
        ("a", "b"),
    ],
)
def test_names_that_do_not(one: str, other: str) -> None:
    assert not names(one, other)


def test_each_name_is_compared_with_its_kind() -> None:
    assert not found("rule refund at user {\n  call to Refund must occur at most 1 times per conversation\n}\n", "P606")
    assert found('suite all_day = ["a?"]\nsuite allday = ["b?"]\nrule x at user { should mention "x" }\n', "P606")
    assert found('levels root > Root\nrule x at root { should mention "x" }\n', "P606")
    lexicon = 'lexicon paying = ["refund"]\nrule x at user {\n  call to paying must occur at most 1 times'
    assert not found(lexicon + " per conversation\n}\n", "P606")


def test_a_fact_that_only_an_example_gives_is_told_elsewhere() -> None:
    text = """
rule greet at user {
  when meta.topic == "mail"
  should mention "hello"
  skips { given meta.Topic = "mail" given meta.topic = "call" user "x" assistant "y" }
}
"""
    assert {each.code for each in check(text).diagnostics} == {"P505"}


def test_letters_of_other_alphabets_in_names_of_tools() -> None:
    (each,) = found(
        'rule x at user {\n  call to ["pay", "p\u0430y"] must occur at most 1 times per conversation\n}\n', "P606"
    )
    assert each.notes == ("where `pay` has `a`, `p\u0430y` has `\u0430` (U+0430)",)


def test_one_name_is_reported_once_however_often_it_is_used() -> None:
    facts = 'meta.a == "1" or meta.A == "2" or meta.A == "3" or meta.a == "4"'
    assert len(found(f'rule x at user {{\n  when {facts}\n  should mention "x"\n}}\n', "P606")) == 1
