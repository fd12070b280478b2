"""Parameters with which hard rules contradict each other (P419), against every value that is tried one by one."""

from __future__ import annotations

import random
import re
import time

import pytest

from bylaw.compiler.counts.directions import direction, reads
from bylaw.compiler.counts.parameters import fact_of, with_facts
from bylaw.compiler.evaluate import truth
from bylaw.compiler.pipeline import compile_source
from bylaw.compiler.program import RewardProgram
from bylaw.spec.errors import Diagnostic, Severity
from bylaw.spec.expression import BooleanExpression
from bylaw.spec.loader import load
from bylaw.spec.parser import ParseResult, parse
from bylaw.spec.resolver import resolve
from bylaw.spec.source import Source
from bylaw.spec.trace import Trace

NAME = "n"
LOW, HIGH = 1, 14


def checked(text: str) -> tuple[Diagnostic, ...]:
    return compile_source(Source("policy.bylaw", text), proofs=True).diagnostics


def found_in(text: str) -> list[Diagnostic]:
    return [each for each in checked(text) if each.code == "P419"]


def conflicts(text: str) -> set[str]:
    """What is wrong with the levels and the hard rules of a policy."""
    found = compile_source(Source("policy.bylaw", text)).diagnostics
    assert not [each for each in found if each.is_error and each.code != "P401"], found
    return {each.message for each in found if each.code in ("P401", "P403")}


def is_claimed(words: str, value: float) -> bool:
    """Whether `for every `n` below 3 or above 9` speaks of a value."""
    alone = re.fullmatch(r"where `n` is (\S+)", words)
    if alone:
        return value == float(alone[1])
    whole = re.fullmatch(r"for every whole `n` from (\d+) to (\d+)", words)
    if whole:
        return value == int(value) and int(whole[1]) <= value <= int(whole[2])
    every = re.fullmatch(r"for every `n` (.+)", words)
    assert every, words
    return any(all(_holds(part, value) for part in _parts(each)) for each in every[1].split(" or "))


def _parts(words: str) -> list[tuple[str, str]]:
    found = re.findall(r"(below|above|from|up to|=) (\S+)", words)
    assert found, words
    return found


def _holds(part: tuple[str, str], value: float) -> bool:
    bound = float(part[1])
    sides = {"below": value < bound, "above": value > bound, "from": value >= bound, "up to": value <= bound}
    return sides.get(part[0], value == bound)


# ------------------------------------------------------------------------------------------------------- brute force
CLAUSES = (
    *("must have at most {n} words", "must have at least {n} words", "must have exactly {n} words"),
    *("must have at most {n} sentences", "must have at least {n} unique_words", "must have at most {n} commas"),
    *("must have at least {n} commas", "must have exactly {n} lines", "must have at most {n} characters"),
    'must mention "tea" at least {n} times',
    "must have at most {n} words or have at least 9 words",
    "number of words in response must be at most 2 * {n}",
    "number of words in response must be at least {n} + 3",
    "number of words in response must be at most {n} + number of commas in response",
    "every line of response must have at most {n} words",
)
FIXED = (
    "must end with /[a-c] x (y z|y w u)/",
    "must match /(go on|stop right there now)/",
    'must contain "one, two, three" or contain "Dear all,"',
    'must start with "Hello, Mo. How are you?"',
    "must have no commas",
    "must have at most 3 sentences",
)
CONDITIONS = ("", '  when meta.kind == "b"\n', "  when number of words in prompt > {n}\n", "  unless user.vip\n")


def random_policy(generator: random.Random) -> str:
    """A policy with `{value}` where the present value goes; most rules read the parameter."""
    rules: list[str] = []
    for number in range(generator.randint(2, 4)):
        clause = generator.choice(FIXED) if generator.random() < 0.25 else generator.choice(CLAUSES)
        own = NAME if number == 0 or generator.random() < 0.3 else str(generator.randint(1, 12))
        condition = generator.choice(CONDITIONS) if generator.random() < 0.3 else ""
        level = generator.choice(("root", "user", "user"))
        said = f"{condition}  {clause}\n".replace("{n}", own)
        rules.append(f"rule r{number} at {level} {{\n{said}}}\n")
    head = f'policy p version "1"\nlevels root > user\nparam n : number = {{value}} between {LOW} and {HIGH}\n'
    return head + "".join(rules)


def test_claims_hold_for_every_value_and_miss_few() -> None:
    generator = random.Random(41)
    claims = values = missed = policies = 0
    for _ in range(180):
        text = random_policy(generator)
        at = {value: conflicts(text.replace("{value}", str(value))) for value in (LOW, 5, HIGH)}
        if len(set(map(bool, at.values()))) == 1:
            continue
        rest = [value for value in range(LOW, HIGH + 1) if value not in at]
        at |= {value: conflicts(text.replace("{value}", str(value))) for value in rest}
        at = dict(sorted(at.items()))
        fine = [value for value, found in at.items() if not found]
        policies += 1
        present = generator.choice(fine)
        found = found_in(text.replace("{value}", str(present)))
        said = [each.message.partition(", ") for each in found]
        claims += len(said)
        for value, own in at.items():
            about = {message for words, _, message in said if is_claimed(words, value)}
            if value == present:
                assert not about
            for message in about:
                # Where several rules contradict each other, another set of them may be named.
                assert message in own or own, (text, value, message)
            if own:
                values += 1
                missed += not about
            if own and value in (LOW, HIGH):
                assert about, (text, value, own)
    assert policies > 20
    assert claims > 20
    assert missed <= values // 20, f"{missed} of {values} values with contradictions are in no claim"


def test_claims_hold_between_whole_numbers_too() -> None:
    text = (
        'policy p version "1"\nparam n : number = {value} between 0 and 1\n'
        "define net as number of words in response - number of commas in response\n"
        "rule a at user {\n  net must be at least 40 * n\n}\n"
        "rule b at user {\n  must have at most 10 words\n}\n"
    )
    (found,) = found_in(text.replace("{value}", "0.125"))
    words = found.message.partition(", ")[0]
    assert words == "for every `n` above 0.25"
    for number in range(65):
        value = number / 64
        assert is_claimed(words, value) is bool(conflicts(text.replace("{value}", str(value))))


# ------------------------------------------------------------------------------------------------------- directions
def opened(*sentences: str) -> list[BooleanExpression]:
    rules = "".join(f"rule r{number} at user {{\n  {each}\n}}\n" for number, each in enumerate(sentences))
    head = (
        "param n : number = 5 between 1 and 9\ndefine gap as number of words in response - n\n"
        "define density as number of words in response / number of lines in response\n"
    )
    parsed = parse(Source("p.bylaw", head + rules))
    module = with_facts(parsed.require(), [NAME])
    resolution = resolve(load(ParseResult(parsed.source, module, ()), None))
    assert resolution.ok, resolution.diagnostics
    return [each.obligation for each in resolution.regulators.regulators if each.obligation is not None]


DIRECTIONS = [
    ("must have at most n words", 1),
    ("must have at least n words", -1),
    ("must have exactly n words", None),
    ("must have at least 3 words", 0),
    ("must have at most n words or have at least 9 words", 1),
    ("must have at most n words or have at least n lines", None),
    ("number of words in response must be at least 9 - n", 1),
    ("number of words in response must be at most 9 - n", -1),
    ("gap must be at least 1", -1),
    ("density must be at most n", 1),
    ("number of words in response must be at most 2 * (n + number of lines in response)", 1),
    ("number of words in response must be at most n * number of lines in response", None),
    ("every line of response must have at most n words", 1),
]


@pytest.mark.parametrize(("sentence", "expected"), DIRECTIONS)
def test_directions(sentence: str, expected: int | None) -> None:
    (statement,) = opened(sentence)
    fact = fact_of(NAME)
    assert reads(statement, fact) is (expected != 0)
    assert direction([statement], fact) == expected


def test_directions_are_true_of_texts() -> None:
    generator = random.Random(3)
    fact = fact_of(NAME)
    statements = opened(*(sentence for sentence, expected in DIRECTIONS if expected))
    for statement in statements:
        towards = direction([statement], fact)
        changes = 0
        for _ in range(300):
            text = "".join(generator.choices(("a ", "b, ", "c. ", "\n"), k=generator.randint(0, 12)))
            told = [truth(statement, Trace((), {fact: float(value)}).answered(text)) for value in range(12)]
            changes += len(set(told)) > 1
            ordered = told if towards == 1 else told[::-1]
            assert ordered == sorted(ordered, key=lambda each: each is True), (statement, text)
        assert changes


# ---------------------------------------------------------------------------------------------------------- messages
HEAD = 'policy p version "1"\nlevels root > user\n'
SHORT = "param n : number = 9 between 2 and 40\nrule short at user {\n  must have at most n words\n}\n"
SIGNED = 'rule signed at user {\n  must end with "Yours, the team of Harbour Lane"\n}\n'


def test_a_finding_says_for_which_values_and_offers_a_range() -> None:
    (found,) = found_in(HEAD + SHORT + SIGNED)
    assert found.severity is Severity.WARNING
    assert found.message == "for every `n` below 6, rules `short` and `signed` can never both hold"
    assert found.notes[0] == "`n` is 9 now, where an answer can obey both of them; with 5:"
    assert found.notes[-1].endswith("needs at least 6 words; at most 5 words are allowed")
    assert found.fix is not None
    assert found.fix.replacement == "between 6 and 40"
    assert found.fix.span is not None
    text = HEAD + SHORT + SIGNED
    fixed = text[: found.fix.span.start] + found.fix.replacement + text[found.fix.span.end :]
    assert checked(fixed) == ()


def test_a_comment_allows_it() -> None:
    allowed = '# bylaw: allow P419 because "nobody sets it so low"\n'
    assert checked(HEAD + allowed + SHORT + SIGNED) == ()


def test_what_contradicts_itself_already_is_not_told_again() -> None:
    text = HEAD + SHORT.replace("= 9", "= 4") + SIGNED
    assert {each.code for each in checked(text)} == {"P401"}


def test_a_condition_on_the_parameter_is_told_where_it_was_tried() -> None:
    rule = "rule loud at user {\n  when number of words in prompt > n\n  must have at least 30 words\n}\n"
    (found,) = found_in(HEAD + SHORT.replace("= 9", "= 35") + rule)
    assert found.message == "for every whole `n` from 2 to 29, rules `short` and `loud` can never both hold"


def test_two_ranges_of_one_parameter() -> None:
    text = (
        "param n : number = 9 between 1 and 40\nrule sized at user {\n  must have exactly n words\n}\n"
        'rule signed at user {\n  must end with "Yours, Ann"\n}\n'
        "rule short at user {\n  must have at most 20 words\n}\n"
    )
    found = found_in(HEAD + text)
    assert [each.message.partition(", ")[0] for each in found] == ["for every `n` below 2", "for every `n` above 20"]


def test_values_between_the_ends() -> None:
    text = (
        "param n : number = 9 between 1 and 100\nrule sized at user {\n  must have exactly n words\n}\n"
        "rule note_or_essay at user {\n  must have at most 20 words or have at least 50 words\n}\n"
    )
    (found,) = found_in(HEAD + text)
    assert found.message == "for every `n` above 20 and below 50, rules `sized` and `note_or_essay` can never both hold"
    assert found.notes[0] == "`n` is 9 now, where an answer can obey both of them; with 21:"
    assert found_in(HEAD + text.replace("= 9 between 1 and 100", "= 9 between 1 and 20")) == []


def test_rules_that_contradict_each_other_only_further_in() -> None:
    text = (
        "param n : number = 9 between 1 and 40\nrule calm at user {\n  must have at most n sentences\n}\n"
        'rule opens at user {\n  must start with "Hello, Mo. How are you?"\n}\n'
        "rule brief at user {\n  number of words in response must be at most 2 * n\n}\n"
    )
    found = found_in(HEAD + text)
    assert [each.message for each in found] == [
        "for every `n` below 2, rules `calm` and `opens` can never both hold",
        "for every `n` below 2.5, rules `opens` and `brief` can never both hold",
    ]
    ends = [each.fix.replacement for each in found if each.fix is not None]
    assert ends == ["between 2 and 40", "between 3 and 40"]


def test_a_policy_with_imports() -> None:
    text = "import std.safety as safety with harm_threshold = 0.75\n" + SHORT + SIGNED
    (found,) = found_in(HEAD + text)
    assert found.message == "for every `n` below 6, rules `short` and `signed` can never both hold"


def test_choices_are_tried_one_by_one() -> None:
    text = (
        'param opening : text = "Hi" one of ["Hi", "Hello, dear customer", "Dear all,"]\n'
        "rule opens at user {\n  must start with opening\n}\n"
        "rule plain at user {\n  must have no commas\n}\n"
    )
    (found,) = found_in(HEAD + text)
    assert found.message == (
        'where `opening` is "Hello, dear customer" or "Dear all,", rules `opens` and `plain` can never both hold'
    )
    assert found.notes[0] == (
        '`opening` is "Hi" now, where an answer can obey both of them; with "Hello, dear customer":'
    )


def test_numbers_to_choose_from_and_switches() -> None:
    text = (
        "param size : number = 5 one of [5, 50, 500]\nparam strict : boolean = false\n"
        "rule long at user {\n  must have at least size words\n}\n"
        "rule brief at root {\n  must have at most 60 words\n}\n"
        "rule quiet at user {\n  when strict\n  must have no words\n}\n"
    )
    assert {each.message for each in found_in(HEAD + text)} == {
        "where `size` is 500, `long` never takes effect: `brief` outranks it",
        "where `strict` is `true`, rules `long` and `quiet` can never both hold",
    }


def test_what_cannot_be_tried_is_open() -> None:
    many = ", ".join(f'"{letter}"' for letter in "abcdefghij")
    text = f'param opening : text = "a" one of [{many}]\nrule opens at user {{\n  must start with opening\n}}\n'
    compiled = compile_source(Source("p.bylaw", HEAD + text), proofs=True)
    assert [each.why for each in compiled.undecided] == ["too many choices to be tried"]
    text = "param n : number = 3 between 0.5 and 9\nrule long at user {\n  must have at least n words\n}\n"
    compiled = compile_source(Source("p.bylaw", HEAD + text), proofs=True)
    assert ["with 0.5 something else is wrong" in each.why for each in compiled.undecided] == [True]


def test_policies_without_such_parameters_pay_nothing() -> None:
    from bylaw.compiler.proofs import parameters
    from bylaw.compiler.proofs.interface import PolicyView
    from bylaw.compiler.witnesses import Witnesses

    rules = "".join(f"rule r{number} at user {{\n  must have at most {number} words\n}}\n" for number in range(300))
    compiled = compile_source(Source("p.bylaw", HEAD + "param n : number = 3\n" + rules))
    assert compiled.regulators is not None
    assert isinstance(compiled.program, RewardProgram)
    view = PolicyView(compiled.regulators, compiled.program, Witnesses(), time.monotonic() + 9, compiled.module)
    best = float("inf")
    for _ in range(10):  # nothing is kept from one to the next, so the least is the cost itself
        start = time.process_time()
        assert list(parameters.find(view)) == []
        best = min(best, time.process_time() - start)
    assert best < 0.005
