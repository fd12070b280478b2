"""Defeat: which rule lifts which, with what authority, and what the reason is."""

from __future__ import annotations

import pytest

from bylaw.compiler.analysis import terms_by_rule
from bylaw.compiler.evaluate import evaluate_term
from bylaw.compiler.pipeline import Compiled, compile_source
from bylaw.compiler.verdicts import RuleVerdict, rule_verdict
from bylaw.spec.errors import render
from bylaw.spec.source import Source
from bylaw.spec.trace import FactValue, Message, Trace


def compiled(text: str) -> Compiled:
    return compile_source(Source.of("policy.bylaw", text))


def codes(text: str) -> list[str]:
    return [diagnostic.code for diagnostic in compiled(text).diagnostics]


def verdict(text: str, rule: str, response: str, prompt: str = "", **facts: FactValue) -> RuleVerdict:
    """What a rule of a sound policy says of one answer; facts without their `meta.`."""
    result = compiled(text)
    assert result.ok, [render(d, result.source) for d in result.diagnostics]
    given = {f"meta.{name}": value for name, value in facts.items()}
    trace = Trace((Message("user", prompt),), given).answered(response)
    return rule_verdict(terms_by_rule(result.require())[rule], trace)


# ---------------------------------------------------------------------------------------------------- permissions
FORBIDDEN = 'rule strict at developer { must not contain "x" }\n'


@pytest.mark.parametrize(
    ("permission", "expected"),
    [
        ('rule free at developer { may contain "x" }', []),
        ('rule free at system { when prompt contains "please" may contain "x" }', []),
        ('rule free at user { may contain "x" }', ["P301"]),
        ('rule free at developer { may contain "y" }', ["P302"]),
        ('rule free at developer { may mention "x" }', ["P302"]),
        ('rule free at developer { need not contain "x" }', ["P302"]),
        ('rule other at user { should not contain "x" }\nrule free at developer { may contain "x" }', []),
    ],
)
def test_permission(permission: str, expected: list[str]) -> None:
    assert codes(FORBIDDEN + permission) == expected


PARTLY = 'rule strict at user { must not have a table or contain "x" or be empty }\n'


@pytest.mark.parametrize(
    ("permission", "text", "prompt", "verdict"),
    [
        ('may contain "x"', "x", "", "satisfied"),
        ('may contain "x"', "| x", "", "violated"),
        ("may have at least 1 tables", "| x", "", "violated"),
        ("may have at least 1 tables", "| y", "", "satisfied"),
        ('may have a table or contain "x"', "| x", "", "satisfied"),
        ('when prompt contains "p" may contain "x"', "x", "p", "satisfied"),
        ('when prompt contains "p" may contain "x"', "x", "q", "violated"),
        ("need not be not empty", "", "", "satisfied"),
    ],
)
def test_a_permission_lifts_the_part_of_a_rule_that_forbids_it(
    permission: str, text: str, prompt: str, verdict: str
) -> None:
    program = compiled(PARTLY + f"rule free at user {{ {permission} }}").require()
    trace = Trace((Message("user", prompt),)).answered(text)
    assert evaluate_term(program.term("strict"), trace).verdict == verdict


def test_no_tables_forbids_what_at_least_one_table_permits() -> None:
    rules = "rule plain at user { must have no tables }\nrule free at user { may have at least 1 tables }"
    assert codes(rules) == []


def test_a_permission_makes_room_for_what_it_excludes_in_other_words() -> None:
    rules = (
        "rule short at user { must have at most 50 words }\n"
        "rule long at user { when meta.essay may have at least 300 words }"
    )
    assert codes(rules) == ["P309"]
    assert verdict(rules, "short", "word " * 300, essay=False).verdict == "violates"
    assert verdict(rules, "short", "word " * 300, essay=True).verdict == "complies"
    assert verdict(rules, "short", "word " * 60, essay=True).verdict == "violates"
    assert verdict(rules, "short", "word " * 300).verdict == "unscored"
    (term,) = compiled(rules).require().terms
    assert [waiver.by for waiver in term.eased] == ["long"]


ALPHA_BETA = 'rule plain at user {{ must not {} }}\nrule free at user {{ may mention "alpha" }}'


@pytest.mark.parametrize(
    "forbidden",
    ['mention any of ["alpha", "beta"]', 'mention "alpha" or mention "beta"', 'mention ["alpha", "beta"]'],
)
def test_a_permission_lifts_no_more_than_it_names(forbidden: str) -> None:
    rules = ALPHA_BETA.format(forbidden)
    assert verdict(rules, "plain", "alpha").verdict == "complies"
    assert verdict(rules, "plain", "beta").verdict == "violates"
    assert verdict(rules, "plain", "alpha beta").verdict == "violates"


@pytest.mark.parametrize(
    ("rule", "permission", "allowed", "forbidden"),
    [
        ("must not contain /[0-9]/", "may contain /[0-9]+ EUR/", "20 EUR", "pin 1234"),
        ("must have at least 60 words", "need not have at least 50 words", "word " * 49, "word " * 55),
        ('must be in ["Yes.", "No."]', 'may contain "EUR"', "2 EUR", "Perhaps."),
        ("must be uppercase", 'may contain "eur"', "2 eur", "lower"),
    ],
)
def test_by_proof_only_answers_that_use_the_permission_are_allowed(
    rule: str, permission: str, allowed: str, forbidden: str
) -> None:
    rules = f"rule plain at user {{ {rule} }}\nrule free at user {{ {permission} }}"
    assert codes(rules) == ["P309"]
    assert verdict(rules, "plain", allowed).verdict == "complies"
    assert verdict(rules, "plain", forbidden).verdict == "violates"


def test_several_permissions_for_one_rule_do_not_hide_each_other() -> None:
    rules = 'rule plain at user { must not mention "alpha" or mention "beta" }\n' + "\n".join(
        f'rule {name} at user {{ when prompt contains "{name}" may mention "{what}" }}'
        for name, what in (("xx", "alpha"), ("yy", "alpha"), ("zz", "beta"))
    )
    for prompt, allowed in (("xx", "alpha"), ("yy", "alpha"), ("zz", "beta")):
        other = "beta" if allowed == "alpha" else "alpha"
        assert verdict(rules, "plain", allowed, prompt).verdict == "complies"
        assert verdict(rules, "plain", other, prompt).verdict == "violates"
    assert verdict(rules, "plain", "alpha beta", "yy zz").verdict == "complies"


def test_each_part_lifted_by_a_permission_of_its_own_lifts_the_rule() -> None:
    rules = 'rule plain at user { must not mention "a" or mention "b" }\n' + "\n".join(
        f'rule free_{name} at user {{ may mention "{name}" }}' for name in "ab"
    )
    assert verdict(rules, "plain", "a b").verdict == "waived"


# ----------------------------------------------------------------------------------------------------- exceptions
HOUSE = "levels root > system > user\n" + 'rule plain at system {{ must not contain "x" {} }}\n'


@pytest.mark.parametrize(
    ("clause", "exception", "expected"),
    [
        ("", "exception e to plain at system { when meta.a }", []),
        ("", "exception e to plain at root { when meta.a }", []),
        ("", "exception e to plain at user { when meta.a }", ["P301"]),
        ("", "exception e to plain { when meta.a }", ["P301"]),
        ("waivable by user", "exception e to plain at user { when meta.a }", []),
        ("waivable by root", "exception e to plain at user { when meta.a }", ["P301"]),
        ("waivable implicitly", "exception e to plain at user { when meta.a }", []),
        ("not waivable", "exception e to plain at root { when meta.a }", ["P304"]),
        ("not waivable waivable by user", "", ["P307"]),
        ("waivable by nobody", "", ["P106"]),
        ("", "exception e to plane at root { when meta.a }", ["P101"]),
        ("", 'exception e to plain at root { must contain "x" }', ["P308"]),
        ("", "exception a to b at root { }\nexception b to a at root { }", ["P303"]),
        ("", "exception a to a at root { }", ["P303"]),
        ("", "exception e to plain at root { when meta.a }\nexception f to e at system { when meta.b }", ["P301"]),
        ("", "exception e to plain at root { when meta.a }\nexception e to plain at root { when meta.b }", ["P104"]),
        ("", "exception plain to plain at root { when meta.a }", ["P104"]),
    ],
)
def test_authority_of_exceptions(clause: str, exception: str, expected: list[str]) -> None:
    assert codes(HOUSE.format(clause) + exception) == expected


@pytest.mark.parametrize(
    ("a", "b", "expected", "by"),
    [
        (False, False, "violates", None),
        (True, False, "waived", "e"),
        (True, True, "violates", None),
        (False, True, "violates", None),
    ],
)
def test_an_exception_to_an_exception_restores_the_rule(a: bool, b: bool, expected: str, by: str | None) -> None:
    rules = HOUSE.format("") + "exception e to plain at root { when meta.a }\nexception f to e at root { when meta.b }"
    found = verdict(rules, "plain", "x", a=a, b=b)
    assert (found.verdict, found.waiver and found.waiver.by) == (expected, by)


def test_three_exceptions_in_a_row() -> None:
    rules = HOUSE.format("") + "\n".join(
        f"exception {name} to {target} at root {{ when meta.{name} }}"
        for name, target in (("a", "plain"), ("b", "a"), ("c", "b"))
    )
    for bits in range(8):
        a, b, c = bool(bits & 1), bool(bits & 2), bool(bits & 4)
        lifted = a and not (b and not c)
        assert verdict(rules, "plain", "x", a=a, b=b, c=c).verdict == ("waived" if lifted else "violates")


def test_where_the_rule_does_not_apply_it_skips_and_is_not_waived() -> None:
    rules = 'rule plain at user { when meta.on must not contain "x" }\nexception e to plain at user { when meta.a }'
    assert verdict(rules, "plain", "x", on=False, a=True).verdict == "skips"
    assert verdict(rules, "plain", "x", on=True, a=True).verdict == "waived"
    assert verdict(rules, "plain", "x", on=True, a=False).verdict == "violates"
    assert verdict(rules, "plain", "x", on=False).verdict == "skips"
    assert verdict(rules, "plain", "x", on=True).verdict == "unscored"


def test_an_exception_lifts_every_sentence_and_limits_too() -> None:
    rules = (
        'rule two at user { must not contain "x" should have at most 2 words '
        'limit response contains "y" to at most 10% of responses }\n'
        "exception e to two at user { when meta.a }"
    )
    program = compiled(rules).require()
    assert [len(term.waivers) for term in program.terms] == [1, 1, 1]
    trace = Trace((), {"meta.a": True}).answered("x y z")
    assert {evaluate_term(term, trace).verdict for term in program.terms} == {"not applicable"}


def test_an_exception_to_a_permission() -> None:
    rules = (
        'rule plain at user { must not contain "x" }\n'
        'rule free at user { when meta.a may contain "x" }\n'
        "exception e to free at user { when meta.b }"
    )
    assert verdict(rules, "plain", "x", a=True, b=False).verdict == "waived"
    assert verdict(rules, "plain", "x", a=True, b=True).verdict == "violates"


# ------------------------------------------------------------------------------------------------------ overrides
@pytest.mark.parametrize(
    ("levels", "clause", "expected"),
    [
        (("user", "user"), "overrides general", []),
        (("root", "user"), "overrides general", []),
        (("user", "root"), "overrides general", ["P301"]),
        (("user", "user"), "overrides generale", ["P101"]),
        (("user", "user"), "overrides special", ["P303"]),
    ],
)
def test_overrides(levels: tuple[str, str], clause: str, expected: list[str]) -> None:
    special, general = levels
    rules = (
        f'rule special at {special} {{ when prompt contains "list" must have at least 2 bullets {clause} }}\n'
        f"rule general at {general} {{ should have at most 0 bullets }}"
    )
    assert codes(rules) == expected


def test_an_overridden_rule_is_waived_where_the_other_counts() -> None:
    rules = (
        'rule special at user { when prompt contains "list" must have at least 2 bullets overrides general }\n'
        "rule general at user { must have at most 0 bullets }"
    )
    found = verdict(rules, "general", "- a\n- b", "a list, please")
    assert (found.verdict, found.waiver and found.waiver.reason) == ("waived", "override")
    assert verdict(rules, "general", "- a\n- b", "hello").verdict == "violates"


def test_rules_that_override_each_other() -> None:
    rules = (
        'rule a at user { must contain "x" overrides b }\n'
        'rule b at user { must contain "y" overrides c }\n'
        'rule c at user { must contain "z" overrides a }'
    )
    assert codes(rules) == ["P303"]


CHAIN = {
    "a": 'rule a at user { when prompt contains "X" must contain "a" overrides b }',
    "b": 'rule b at user { must contain "b" overrides c }',
    "c": 'rule c at user { must contain "c" }',
}


@pytest.mark.parametrize("order", ["abc", "bac", "cba", "bca"])
def test_a_rule_that_is_overridden_overrides_nothing_there(order: str) -> None:
    rules = "\n".join(CHAIN[name] for name in order)
    assert verdict(rules, "c", "", "X").verdict == "violates"
    assert verdict(rules, "b", "", "X").verdict == "waived"
    assert verdict(rules, "c", "", "Y").verdict == "waived"


def test_a_winner_that_is_lifted_overrides_nothing_there() -> None:
    by_permission = (
        'rule w at user { must not contain "w1" overrides c }\nrule c at user { must not contain "c" }\n'
        'rule p at user { when prompt contains "X" may contain "w1" }'
    )
    assert verdict(by_permission, "c", "c", "X").verdict == "violates"
    assert verdict(by_permission, "c", "c", "Y").verdict == "waived"
    by_level = (
        'rule s at system { when prompt contains "X" must start with "s" }\n'
        'rule w at user { must start with "w" overrides c }\nrule c at user { must not contain "c" }'
    )
    assert verdict(by_level, "w", "s", "X").verdict == "waived"
    assert verdict(by_level, "c", "c", "X").verdict == "violates"
    assert verdict(by_level, "c", "c", "Y").verdict == "waived"


def test_a_limit_over_a_suite_overrides_for_its_prompts_only() -> None:
    rules = (
        'suite s = ["hello"]\nrule m at user { must not contain "x" }\n'
        'rule l at user { limit response contains "y" to at most 5% over suite s overrides m }'
    )
    assert verdict(rules, "m", "x", "hello").verdict == "waived"
    assert verdict(rules, "m", "x", "other").verdict == "violates"


def test_a_suite_rule_with_an_exception_skips_outside_its_suite() -> None:
    rules = (
        'suite s = ["hello"]\nrule l at user { limit response contains "y" to at most 5% over suite s }\n'
        "exception e to l at user { when meta.a }"
    )
    assert verdict(rules, "l", "y", "other", a=False).verdict == "skips"
    assert verdict(rules, "l", "y", "other", a=True).verdict == "skips"
    assert verdict(rules, "l", "y", "hello", a=True).verdict == "waived"


@pytest.mark.parametrize("kind", ["exception", "override"])
def test_long_chains_are_refused(kind: str) -> None:
    if kind == "exception":
        rules = 'rule e0 at user { must contain "x" }\n' + "\n".join(
            f"exception e{n} to e{n - 1} at user {{ when meta.f{n} }}" for n in range(1, 400)
        )
    else:
        rules = "\n".join(f'rule r{n} at user {{ must contain "x" overrides r{n + 1} }}' for n in range(400))
        rules += '\nrule r400 at user { must contain "x" }'
    assert set(codes(rules)) == {"P006"}


# --------------------------------------------------------------------------------------------------------- levels
def test_the_stronger_of_two_contradicting_rules_wins() -> None:
    rules = "rule brief at system { must have at most 5 words }\nrule long at user { must have at least 9 words }"
    assert codes(rules) == ["P403"]
    (finding,) = compiled(rules).diagnostics
    assert "never takes effect" in finding.message
    found = verdict(rules, "long", "one")
    assert (found.verdict, found.waiver and (found.waiver.by, found.waiver.reason)) == ("waived", ("brief", "level"))
    assert verdict(rules, "brief", "a b c d e f").verdict == "violates"


def test_the_weaker_rule_still_counts_where_the_stronger_does_not() -> None:
    rules = (
        'rule brief at system { when prompt contains "short" must have at most 5 words }\n'
        "rule long at user { must have at least 9 words }"
    )
    assert codes(rules) == ["P403"]
    assert verdict(rules, "long", "one", "short!").verdict == "waived"
    assert verdict(rules, "long", "one", "hello").verdict == "violates"


def test_a_weak_rule_gives_way_to_each_of_several_conditional_ones() -> None:
    rules = (
        "\n".join(f'rule s{n} at system {{ when meta.a{n} must start with "{n}b" }}' for n in range(4))
        + '\nrule u at user { must start with "q" }'
    )
    facts = dict.fromkeys(("a0", "a1", "a2", "a3"), False)
    assert codes(rules) == ["P403"]
    assert "so it does to `s1`, `s2`, `s3`" in compiled(rules).diagnostics[0].notes
    for n in range(4):
        assert verdict(rules, "u", "", **{**facts, f"a{n}": True}).verdict == "waived"
    assert verdict(rules, "u", "", **facts).verdict == "violates"


def test_conditions_need_not_be_the_same_words() -> None:
    rules = (
        'rule s at system { when prompt contains "X" must start with "s" }\n'
        'rule u at user { when prompt contains "Y" must start with "u" }\n'
        'rule v at user { unless prompt contains "X" must start with "u" }'
    )
    assert codes(rules) == ["P403"]
    assert verdict(rules, "u", "", "X Y").verdict == "waived"
    assert verdict(rules, "u", "", "Y").verdict == "violates"
    assert verdict(rules, "v", "", "Z").verdict == "violates"


def test_two_weak_rules_against_a_strong_one_are_not_settled() -> None:
    rules = (
        "rule a at system { must have at most 1 characters }\n"
        'rule b at user { must start with "x" }\n'
        'rule c at user { must end with "y" }'
    )
    assert codes(rules) == ["P401"]
    assert codes(rules.replace('"y" }', '"y" overrides b }')) == []


def test_one_weak_rule_gives_way_to_several() -> None:
    rules = (
        'rule a at root { must start with "x" }\n'
        "rule b at system { must have at most 1 characters }\n"
        'rule c at user { must end with "y" }'
    )
    (finding,) = compiled(rules).diagnostics
    assert finding.code == "P403"
    assert "`a` and `b` outrank it" in finding.message
    assert verdict(rules, "c", "x").verdict == "waived"


def test_a_chain_of_levels_is_settled_from_the_weakest() -> None:
    rules = (
        'rule a at root { must contain "x" }\n'
        'rule b at system { must not contain "x" }\n'
        'rule c at user { must contain "x" }'
    )
    assert codes(rules) == ["P403"]
    assert verdict(rules, "b", "x").verdict == "waived"
    assert verdict(rules, "c", "y").verdict == "violates"


# ---------------------------------------------------------------------------------------------- examples and tests
LIFTED = 'rule plain at user {{ must not contain "x" {} }}\nexception e to plain at user {{ when meta.a }}\n'


@pytest.mark.parametrize(
    ("example", "expected"),
    [
        ('waived { given meta.a = true user "u" assistant "x" }', []),
        ('waived { given meta.a = false user "u" assistant "x" }', ["P501"]),
        ('violates { given meta.a = false user "u" assistant "x" }', []),
        ('skips { given meta.a = true user "u" assistant "x" }', ["P501"]),
        ('violates { given meta.a = true user "u" assistant "x" }', ["P501"]),
        ('violates { user "u" assistant "x" }', []),
        ('waived { user "u" assistant "x" }', ["P501"]),
        ('violates "x"', []),
        ('waived "x"', ["P501"]),
    ],
)
def test_examples_of_a_rule_with_an_exception(example: str, expected: list[str]) -> None:
    assert codes(LIFTED.format(example)) == expected


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ('given meta.a = false user "u" assistant "x" expect violates plain', []),
        ('given meta.a = false user "u" assistant "x" expect violates', []),
        ('given meta.a = false user "u" assistant "y" expect complies', []),
        ('given meta.a = true user "u" assistant "x" expect waived plain expect complies', []),
        ('given meta.a = false user "u" assistant "x" expect complies', ["P504"]),
        ('given meta.a = false user "u" assistant "y" expect violates', ["P504"]),
        ('given meta.a = false user "u" assistant "x" expect complies plain', ["P504"]),
        ('given meta.a = false user "u" assistant "x" expect skips plain', ["P504"]),
        ('user "u" assistant "x" expect violates plain', []),
        ('given meta.a = false user "u" assistant "x" expect violates plane', ["P101"]),
        ('given meta.a = false user "u" expect complies', ["P503"]),
        ('given meta.a = false user "u" assistant "x"', ["P205"]),
        (
            'given meta.a = false user "u" assistant "x" expect violates plain user "v" assistant "y" '
            "expect complies plain",
            [],
        ),
    ],
)
def test_test_blocks(steps: str, expected: list[str]) -> None:
    assert codes(LIFTED.format("") + f'test "t" {{ {steps} }}') == expected


# --------------------------------------------------------------------------------------------------------- suites
SUITE = 'suite friendly = ["hello", "how are you"]\n'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (SUITE, ["P601"]),
        (SUITE + 'rule r at user { limit response contains "x" to at most 5% over suite friendly }', []),
        (SUITE + 'rule r at user { limit response contains "x" to at most 5% over suite "friendly" }', []),
        (SUITE + 'rule r at user { limit response contains "x" to at most 5% over suite friend }', ["P101"]),
        ('suite s = []\nrule r at user { must contain "x" }', ["P119"]),
        ('suite s = ["a", "a"]\nrule r at user { must contain "x" }', ["P119"]),
        ('suite s = ["a", 3]\nrule r at user { must contain "x" }', ["P119"]),
        ('suite s = ["a", " "]\nrule r at user { must contain "x" }', ["P119"]),
        (SUITE + SUITE + 'rule r at user { must contain "x" }', ["P104"]),
    ],
)
def test_suites(text: str, expected: list[str]) -> None:
    assert codes(text) == expected


def test_a_limit_over_a_suite_is_about_its_prompts_only() -> None:
    rules = SUITE + 'rule r at user { limit response contains "x" to at most 5% over suite friendly }'
    assert verdict(rules, "r", "x", "hello").verdict == "violates"
    assert verdict(rules, "r", "x", "hello!").verdict == "skips"
    assert compiled(rules).require().term("r").suite == "friendly"


# ------------------------------------------------------------------------------------------------------ the others
def test_prefer_over_is_a_rank() -> None:
    rules = 'rule r at user { prefer response contains "a" over response contains "b" over response is empty weight 2 }'
    (term,) = compiled(rules).require().terms
    values = [evaluate_term(term, Trace(()).answered(text)).value for text in ("a b", "b", "", "c")]
    assert values == [0.0, -1.0, -2.0, -3.0]
    assert evaluate_term(term, Trace(()).answered("b")).contribution == -2.0


@pytest.mark.parametrize(
    ("clause", "expected"),
    [
        ("on violation redact", []),
        ('on violation ask with "Really?"', []),
        ("on violation explode", ["P306"]),
        ("on violation block on violation ask", ["P010"]),
    ],
)
def test_on_violation(clause: str, expected: list[str]) -> None:
    text = f'rule r at user {{ must not contain "x" {clause} }}'
    assert codes(text) == expected


def test_what_a_rule_says_of_itself_reaches_the_program() -> None:
    text = 'rule r at user { must not contain "x" on violation ask with "Really?" source "the handbook, p. 3" }'
    (term,) = compiled(text).require().terms
    assert (term.action, term.action_message, term.sources) == ("ask", "Really?", ("the handbook, p. 3",))
