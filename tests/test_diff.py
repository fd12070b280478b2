"""`bylaw diff`: what changed between two versions of a policy, against brute force, goldens and the terminal."""

import itertools
import json
import random
import subprocess
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from conftest import Golden

from bylaw.compiler.changes import compare
from bylaw.compiler.changes.types import PolicyChanges
from bylaw.compiler.evaluate import Verdict, evaluate
from bylaw.compiler.pipeline import Compiled, compile_file, compile_source
from bylaw.compiler.program import RewardProgram
from bylaw.runtime.cli.diff import as_data, command
from bylaw.runtime.report.release_notes import as_text, release_notes, summary
from bylaw.spec.formatter import format_text
from bylaw.spec.source import Source
from bylaw.spec.trace import Message, Trace

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*/rules.bylaw"))


def policy(text: str, name: str = "rules.bylaw") -> Compiled:
    compiled = compile_source(Source.of(name, text))
    assert compiled.ok, [each.message for each in compiled.diagnostics]
    return compiled


def diff(old: str, new: str) -> PolicyChanges:
    found = compare(policy(old, "old.bylaw"), policy(new, "new.bylaw"))
    check_witnesses(found, policy(old).require(), policy(new).require())
    return found


def check_witnesses(found: PolicyChanges, old: RewardProgram, new: RewardProgram) -> None:
    """Every witness, weighed anew with the whole programs: it obeys all of one, and breaks a rule of the other."""
    for change in found.texts:
        trace, breaks = change.answer.trace, change.answer.breaks
        if change.answer.result != "witness":
            assert trace is None
            continue
        assert trace is not None
        assert breaks is not None
        breaking, keeping = (new, old) if change.direction == "forbidden" else (old, new)
        if change.scope == "policy":
            assert evaluate(keeping, trace).allowed
            assert evaluate(breaking, trace).term(breaks.id).verdict is Verdict.VIOLATED
            assert breaking.term(breaks.id).rule == change.rule


def texts(found: PolicyChanges, direction: str) -> dict[str, str]:
    return {
        each.rule: each.answer.text
        for each in found.texts
        if each.direction == direction and each.strength == "hard" and each.answer.result == "witness"
    }


def kinds(found: PolicyChanges) -> list[tuple[str, str]]:
    return [(change.kind, change.about) for change in found.changes]


def meanings(found: PolicyChanges) -> list[tuple[str, str, str]]:
    return [(change.kind, change.about, change.words) for change in found.changes if change.is_meaning]


# ------------------------------------------------------------------------------------------------- hard rules: texts
def test_a_card_number_with_blanks() -> None:
    found = diff(
        r"rule cards at user { must not contain /\d{16}/ }",
        r"rule cards at user { must not contain /(\d[ -]?){13,16}/ }",
    )
    assert texts(found, "forbidden") == {"cards": "0000000000000"}
    assert [(each.direction, each.result, each.how) for each in found.overall] == [
        ("forbidden", "witness", "witness"),
        ("allowed", "nothing", "proved"),
    ]
    assert [each.answer.is_shortest for each in found.texts] == [True]
    assert not found.is_same_meaning
    assert summary(found) == "newly forbids texts; allows nothing new (proved); 1 rule reworded in meaning"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_a_policy_does_not_differ_from_itself(path: Path) -> None:
    found = compare(compile_file(path), compile_file(path))
    assert (found.changes, found.texts, found.flips) == ((), (), ())
    assert {each.how for each in found.overall} == {"equal"}
    assert found.is_same_meaning
    assert summary(found) == "no change"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_layout_and_comments_mean_nothing(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    other = "# another comment\n" + format_text(str(path), text).replace("\n\n", "\n# aside\n\n")
    found = compare(compile_file(path), compile_source(Source.of(str(path), other), path))
    assert (found.changes, found.texts, found.flips) == ((), (), ())


def test_the_order_of_rules_and_sentences_means_nothing() -> None:
    rules = [
        'rule a at user { must not mention "x" should mention "y" }',
        'rule b at root { when prompt contains "k" must have at most 9 words }',
        'rule c at user { may mention "x" }',
    ]
    turned = [*reversed(rules[1:]), 'rule a at user { should mention "y" must not mention "x" }']
    found = diff("\n".join(rules), "\n".join(turned))
    assert (found.changes, found.texts) == ((), ())


def test_other_words_with_the_same_meaning() -> None:
    found = diff(
        'rule a "A" at user { must not start with "Hi" or start with "Hey" }',
        'rule a "A" at user { must not start with /H(i|ey)/ }',
    )
    assert found.same_by_proof == ("a",)
    assert found.is_same_meaning
    assert found.texts == ()
    assert {each.how for each in found.overall} == {"proved"}
    assert summary(found) == (
        "no change in meaning; forbids nothing new (proved); allows nothing new (proved); "
        "1 rule reworded, with the same meaning (proved)"
    )


def test_fewer_than_is_at_most() -> None:
    found = diff("rule a { must have at most 8 words }", "rule a { must have fewer than 9 words }")
    assert (found.changes, found.texts) == ((), ())


def test_a_condition_gets_a_conversation() -> None:
    found = diff(
        'rule a { when meta.topic == "p" must not contain "z" }',
        'rule a { when meta.topic == "p" or meta.topic == "q" must not contain "z" }',
    )
    (change,) = found.texts
    assert change.answer.text == "z"
    assert change.answer.trace is not None
    assert dict(change.answer.trace.facts) == {"meta.topic": "q"}
    assert found.overall[1].how == "proved"
    assert [each.words for each in found.changes] == [
        'counts when meta.topic == "p" -> when meta.topic == "p" or meta.topic == "q"'
    ]


def test_what_another_rule_forbids_anyway_is_not_newly_forbidden() -> None:
    rest = "rule digits { must not contain /[0-9]/ }"
    found = diff(
        f"rule prices {{ must not contain /[0-9]+ EUR/ }} {rest}",
        f"rule prices {{ must not contain /[0-9]+ (EUR|USD)/ }} {rest}",
    )
    assert {each.how for each in found.overall} == {"proved"}
    (change,) = found.texts
    assert (change.scope, change.answer.text, change.others) == ("rule", "0 USD", ("digits",))
    assert not found.is_same_meaning
    assert 'taken alone, newly forbids "0 USD", which `digits` forbade, so nothing comes of it' in as_text(found)


def test_what_other_rules_forbid_and_more_may_be_newly_forbidden() -> None:
    said = 'user "?" assistant calls refund(n: 1)'
    rest = "rule search_first { call to refund must follow call to search }"
    found = diff(
        f"rule one {{ call to refund where (it.n > 1) must not occur complies {{ {said} }} }} {rest}",
        f"rule one {{ call to refund where (it.n > 0) must not occur violates {{ {said} }} }} {rest}",
    )
    assert [(each.scope, each.answer.result, each.others) for each in found.texts if each.direction == "forbidden"] == [
        ("rule", "witness", ("search_first",)),
        ("policy", "not decided", ()),
    ]
    assert (
        "taken alone, newly forbids that the assistant calls refund(n: 1), which `search_first` forbade; "
        "whether other answers come to it is not decided"
    ) in as_text(found)


def test_a_witness_obeys_the_other_rules() -> None:
    others = 'rule b { must start with "Dear" } rule c { when prompt contains "x" must contain "yy" }'
    found = diff(f'rule a {{ must not contain "z" }} {others}', f"rule a {{ must not contain /[kz]/ }} {others}")
    assert texts(found, "forbidden") == {"a": "Deark"}
    assert [each.answer.is_shortest for each in found.texts] == [True]


def test_rules_that_are_never_both_silent() -> None:
    """Any conversation has one of two rules in force: a text that breaks both is out, one that breaks one is not."""
    both = 'rule a { when meta.x must not contain "k" } rule b { unless meta.x must not start with "k" }'
    found = diff(both, f'{both} rule c {{ must not contain "k" }}')
    assert texts(found, "forbidden") == {"c": "ak"}
    (change,) = found.texts
    assert change.answer.is_shortest
    assert change.answer.trace is not None
    assert dict(change.answer.trace.facts) == {"meta.x": False}
    found = diff(
        both.replace("start with", "contain"),
        both.replace("start with", "contain") + " rule c { must not contain /k/ }",
    )
    assert [each.how for each in found.overall] == ["proved", "equal"]


def test_added_and_removed_rules() -> None:
    kept = 'rule a { must not contain "ab" }'
    assert texts(diff(kept, f'{kept} rule b {{ must not contain "b" }}'), "forbidden") == {"b": "b"}
    assert texts(diff(f'{kept} rule b {{ must not contain "b" }}', kept), "allowed") == {"b": "b"}
    found = diff(kept, f'{kept} rule b {{ must not contain "abc" }}')
    assert [(each.rule, each.answer.result) for each in found.texts] == [("b", "nothing")]
    assert found.overall[0].how == "proved"
    assert "b: forbids nothing that was allowed (proved)" in as_text(found)
    found = diff(f'{kept} rule b {{ must not contain "abc" }}', kept)
    assert "b: is gone, and what it forbade is forbidden still (proved)" in as_text(found)
    assert not found.is_same_meaning


def test_from_must_to_should() -> None:
    found = diff('rule a { must not contain "z" }', 'rule a { should not contain "z" }')
    assert texts(found, "allowed") == {"a": "z"}
    assert found.overall[0].how == "equal"
    assert meanings(found) == [
        ("rule word", "a", "`must not` -> `should not`: it is weighed now, and no longer enforced")
    ]


def test_what_is_lifted_is_newly_allowed() -> None:
    base = 'levels root > user rule a at user { must not contain "z" }'
    for more, reason in (
        ("exception e to a at user { when meta.ok }", "exception"),
        ('rule p at user { when meta.ok may contain "z" }', "permission"),
        ('rule o at user { when meta.ok must contain "z" overrides a }', "override"),
        ('rule l at root { when meta.ok must contain "z" }', "level"),
    ):
        found = diff(base, f"{base} {more}")
        assert texts(found, "allowed") == {"a": "z"}, reason
        trace = next(each.answer.trace for each in found.texts if each.direction == "allowed")
        assert trace is not None
        assert dict(trace.facts) == {"meta.ok": True}
        assert (reason == "exception") == (("exception", "e") in kinds(found))
        assert (reason != "exception") == (("lifted", "a") in kinds(found))


def test_a_permission_that_makes_room_in_some_conversations() -> None:
    base = 'rule a { must not end with "a" or contain /[ab]1/ }'
    found = diff(f'{base} rule p {{ when meta.n > 3 may contain "b1" }}', base)
    assert texts(found, "forbidden") == {"a": "b1"}
    trace = found.texts[0].answer.trace
    assert trace is not None
    assert float(trace.facts["meta.n"]) > 3
    assert found.overall[1].how == "proved"


def test_concepts_are_not_decided_and_named() -> None:
    concept = 'concept rude means "Insults the reader." {{ like "You fool." {} }}'
    rule = "rule kind { must not express rude }"
    found = diff(f"{concept.format('')} {rule}", f"{concept.format('threshold 0.7')} {rule}")
    assert [(each.direction, each.answer.result) for each in found.texts] == [
        ("allowed", "witness"),
        ("forbidden", "not decided"),
    ]
    trace = found.texts[0].answer.trace
    assert trace is not None
    assert [0.5 <= score < 0.7 for score in trace.scores.values()] == [True]
    assert meanings(found) == [("concept", "rude", "threshold 0.5 -> 0.7")]
    assert found.undecided == 1
    found = diff(f"{concept.format('')} {rule}", f"{concept.format('like ' + chr(34) + 'Fool.' + chr(34))} {rule}")
    assert meanings(found) == [("concept", "rude", "texts it is like: 1 new, 0 gone")]
    lexicons = 'lexicon insults = ["fool"] lexicon names = ["ass"]'
    found = diff(
        f"{lexicons} {concept.format('cued by insults')} {rule}", f"{lexicons} {concept.format('cued by names')} {rule}"
    )
    assert ("concept", "rude", "cued by insults -> names") in meanings(found)
    found = diff(
        f"{lexicons} {concept.format('cued by names')} {rule}",
        f"{lexicons.replace('ass', 'cad')} {concept.format('cued by names')} {rule}",
    )
    assert ("concept", "rude", "what its cues `names` hold") in meanings(found)
    assert {each.answer.result for each in found.texts} == {"not decided"}


def test_what_calls_break_is_shown_by_the_conversations_of_examples() -> None:
    said = 'user "?" assistant calls refund(n: 1) assistant calls refund(n: 2)'
    rest = 'rule polite { must not contain "z" }'
    found = diff(
        f"rule one {{ call to refund must occur at most 1 times per conversation violates {{ {said} }} }} {rest}",
        f"rule one {{ call to refund must occur at most 2 times per conversation complies {{ {said} }} }} {rest}",
    )
    assert texts(found, "allowed") == {"one": "Done."}
    assert "when the assistant calls refund(n: 2)" in as_text(found)
    assert [(flip.version, flip.found) for flip in found.flips] == [("old", "complies"), ("new", "violates")]


def test_a_text_that_is_like_a_concept_now_and_was_not() -> None:
    rule = "rule kind { must not express rude }"
    found = diff(
        f'concept rude means "Insults." {{ unlike "Hm." }} {rule}',
        f'concept rude means "Insults." {{ like "Hm." }} {rule}',
    )
    assert found.undecided == 2  # only the examples of a policy are tried, and it has none
    examples = '{} "Hm." }}'
    found = diff(
        f'concept rude means "Insults." {{ unlike "Hm." }} {rule[:-1]} {examples.format("complies")}',
        f'concept rude means "Insults." {{ like "Hm." }} {rule[:-1]} {examples.format("violates")}',
    )
    assert texts(found, "forbidden") == {"kind": "Hm."}
    assert [(flip.expected, flip.found) for flip in found.flips] == [("complies", "violates"), ("violates", "complies")]


def test_an_unchanged_concept_stands_in_the_way_of_no_witness() -> None:
    rest = 'concept rude means "Insults." {} rule kind { must not express rude }'
    found = diff(f'rule a {{ must not contain "z" }} {rest}', f"rule a {{ must not contain /[xz]/ }} {rest}")
    assert texts(found, "forbidden") == {"a": "x"}
    (change,) = found.texts
    assert change.answer.trace is not None
    assert dict(change.answer.trace.scores) == {("rude", "x"): 0.0}
    assert "where a scorer gives 0 for `rude`" in as_text(found)


def test_what_no_automaton_decides_is_tried() -> None:
    found = diff("rule a { must be json }", 'rule a { must be json and not contain "true" }')
    assert [(each.direction, each.answer.result, each.answer.is_shortest) for each in found.texts] == [
        ("forbidden", "witness", False)
    ]
    assert found.overall[1].how == "proved"  # a sentence that was only added to takes nothing away
    found = diff("rule a { must be json }", "rule a { must be xml }")
    assert {each.answer.result for each in found.texts} <= {"witness", "not decided"}


def test_a_cap_is_not_decided() -> None:
    rules = "rule a { must not contain /a(.){12}b/ }", "rule a { must not contain /a(.){12}c/ }"
    found = compare(policy(rules[0]), policy(rules[1]), seconds=0.0)
    assert [each.answer.result for each in found.texts] == ["not decided"] * 2
    assert "2 questions about texts not decided" in summary(found)
    assert not found.is_same_meaning


# -------------------------------------------------------------------------------------------------- against brute force
LETTERS = "ab1 "
ALL_TEXTS = ["".join(chars) for length in range(5) for chars in itertools.product(LETTERS, repeat=length)]
CONTEXTS = [
    Trace((Message("user", prompt),), {"meta.x": x, "meta.n": n})
    for prompt in ("", "a", "b", "ab")
    for x in (True, False)
    for n in (1.0, 5.0)
]


@cache
def all_traces() -> tuple[tuple[Trace, str], ...]:
    """Every short answer in every conversation."""
    return tuple((context.answered(answer), answer) for context, answer in itertools.product(CONTEXTS, ALL_TEXTS))


SENTENCES = (
    'must not contain "{w}"', 'must not mention "{w}"', "must not contain /{p}/", 'must not start with "{w}"',
    "must have at most {n} words", 'must contain "{w}"', "must have at least {n} characters",
    'must not end with "{w}" or contain /{p}/', 'may contain "{w}"',
)  # fmt: skip
CONDITIONS = (
    "", "", "", "when meta.x", "unless meta.x", 'when prompt contains "a"', "when meta.n > 3",
    'when meta.x or prompt contains "b"',
)  # fmt: skip


def random_policy(draw: random.Random, size: int) -> str:
    rules = ["levels root > user"]
    for number in range(size):
        words, patterns = ("a", "b", "ab", "1", "aa", "b1"), ("[ab]1", "a+b", "1 ?1", "^b")
        sentence = draw.choice(SENTENCES)
        sentence = sentence.format(w=draw.choice(words), p=draw.choice(patterns), n=draw.randint(1, 3))
        level = draw.choice(("root", "user"))
        rules.append(f"rule r{number} at {level} {{ {draw.choice(CONDITIONS)} {sentence} }}")
    if size > 1 and draw.random() < 0.4:
        rules.append(f"exception e to r{draw.randrange(size)} at root {{ {draw.choice(CONDITIONS)} }}")
    return "\n".join(rules)


def sound(make: Callable[[], str]) -> tuple[str, Compiled]:
    for _ in range(100):
        text = make()
        compiled = compile_source(Source.of("rules.bylaw", text))
        if compiled.ok:
            return text, compiled
    raise AssertionError("no sound policy was drawn")


def edited(draw: random.Random, text: str) -> str:
    """The policy with one rule drawn anew, left out, or added."""
    lines = text.splitlines()
    place = draw.randrange(1, len(lines))
    fresh = random_policy(draw, 1).splitlines()[1]
    kind = draw.random()
    if lines[place].startswith("exception"):
        lines[place] = f"{lines[place].partition('{')[0]}{{ {draw.choice(CONDITIONS)} }}"
    elif kind < 0.6:
        lines[place] = fresh.replace("rule r0", lines[place].partition(" at ")[0])
    elif kind < 0.8 and len(lines) > 2:
        del lines[place]
    else:
        lines.append(fresh.replace("rule r0", "rule extra"))
    return "\n".join(lines)


@pytest.mark.parametrize("seed", range(40))
def test_newly_forbidden_and_allowed_agree_with_brute_force(seed: int) -> None:
    draw = random.Random(seed)
    text, old = sound(lambda: random_policy(draw, draw.randint(1, 4)))
    _, new = sound(lambda: edited(draw, text))
    found = compare(old, new)
    programs = old.require(), new.require()
    check_witnesses(found, *programs)
    shortest: dict[str, int] = {}
    for trace, answer in all_traces():
        before, after = (evaluate(program, trace).allowed for program in programs)
        if before != after:
            direction = "forbidden" if before else "allowed"
            shortest[direction] = min(shortest.get(direction, 99), len(answer))
    for overall in found.overall:
        if overall.direction in shortest:
            assert overall.result == "witness"
            mine = [t.answer for t in found.texts if t.direction == overall.direction and t.scope == "policy"]
            assert min(len(each.text) for each in mine if each.result == "witness") <= shortest[overall.direction]
        if overall.result == "nothing":
            assert overall.direction not in shortest
    if found.is_same_meaning:
        assert not shortest


def breaks(program: RewardProgram, trace: Trace) -> bool | None:
    """Whether any term is broken; None where it cannot be told."""
    verdicts = [score.verdict for score in evaluate(program, trace).terms]
    return None if Verdict.UNSCORED in verdicts else Verdict.VIOLATED in verdicts


@pytest.mark.parametrize("seed", range(30))
def test_what_is_newly_weighed_agrees_with_brute_force(seed: int) -> None:
    draw = random.Random(seed + 1000)

    def one() -> str:
        rule = random_policy(draw, 1)
        return (
            rule.replace("must", "should") if " may " not in rule else "levels root > user rule r0 { should be ascii }"
        )

    (_, old), (_, new) = sound(one), sound(one)
    found = compare(old, new)
    programs = old.require(), new.require()
    seen: set[str] = set()
    for trace, _ in all_traces():
        before, after = (breaks(program, trace) for program in programs)
        if before is not None and after is not None and before != after:
            seen.add("forbidden" if after else "allowed")
    told = {each.direction: each.answer for each in found.texts if each.strength == "soft"}
    assert seen <= {direction for direction, answer in told.items() if answer.result == "witness"}
    for direction, answer in told.items():
        if answer.trace is not None:
            without, broken = programs if direction == "forbidden" else programs[::-1]
            assert (breaks(without, answer.trace), breaks(broken, answer.trace)) == (False, True)
    if found.same_by_proof:
        assert not seen


# ------------------------------------------------------------------------------------------------------ other changes
PAIRS = (
    ("rule a at user { must be ascii }", "rule a at root { must be ascii }",
     [("level", "a", "level `user` -> `root`, stronger")]),
    ('rule a { should contain "x" weight 0.5 }', 'rule a { should contain "x" weight 0.8 }',
     [("weight", "a", "weight 0.5 -> 0.8")]),
    ('rule a { limit response contains "x" to at most 2% of responses }',
     'rule a { limit response contains "x" to at most 1% of responses with confidence 0.95 }',
     [("limit", "a", "at most 2 % -> at most 1 %, confidence 0.95")]),
    ('rule a { limit average number of words in response to at most 40 }',
     'rule a { limit average number of words in response to at most 30 }',
     [("limit", "a", "at most 40 -> at most 30")]),
    ('rule a { prefer lower number of commas in response weight 0.1 }',
     'rule a { prefer lower number of dashes in response weight 0.1 }',
     [("sentence", "a",
       "prefer lower number of commas in response -> prefer lower number of dashes in response")]),
    ('rule a { must be ascii on violation block }', 'rule a { must be ascii on violation redact with "Hm." }',
     [("on violation", "a", 'on violation: block -> redact with "Hm."')]),
    ("rule a at root { must be ascii }", "rule a at root { must be ascii waivable by user }",
     [("waivable", "a", "waivable by its own level and stronger ones -> waivable by `user`")]),
    ('suite s = ["a"] rule a { limit response contains "x" to at most 2% of responses over suite s }',
     'suite s = ["a", "b"] rule a { limit response contains "x" to at most 2% of responses over suite s }',
     [("suite", "s", "1 -> 2 prompts (1 new, 0 gone)")]),
    ('rule a { should contain "x" }', 'rule a { should contain "x" should have at most 9 words }',
     [("sentence added", "a", "says now: should have at most 9 words")]),
    ("levels root > user rule a at user { must be ascii }",
     "levels root > mid > user rule a at user { must be ascii }",
     [("levels", "levels", "root > user -> root > mid > user: `mid` is new"),
      ("level", "a", "level `user` -> `user`, weaker")][:1]),
    ('lexicon w = ["x"] rule a { should not mention any of w }',
     'lexicon w = ["x", "y"] rule a { should not mention any of w }',
     [("sentence", "a", "should not mention any of w (`w` changed)")]),
    ("exception e to a at user { when meta.x } rule a at user { must be ascii }",
     "exception e to a at user { when meta.y } rule a at user { must be ascii }",
     [("exception", "e", "when meta.x -> when meta.y")]),
)  # fmt: skip


@pytest.mark.parametrize(("old", "new", "told"), PAIRS, ids=range(len(PAIRS)))
def test_changes_in_meaning(old: str, new: str, told: list[tuple[str, str, str]]) -> None:
    assert meanings(diff(old, new)) == told
    assert not diff(new, old).is_same_meaning


SAME = (
    (
        'rule a "A" at user { must be ascii }',
        'rule a "B" at user { because "So." must be ascii }',
        ["title", "because"],
    ),
    ("rule a { must be ascii }", "rule b { must be ascii }", ["rule renamed"]),
    ('rule a { must be ascii complies "x" }', 'rule a { must be ascii complies "y" }', ["examples"]),
    (
        'param n : number = 9 "n" rule a { must be ascii }',
        'param n : number = 8 "n" rule a { must be ascii }',
        ["parameter"],
    ),
    ('policy p version "1" rule a { must be ascii }', 'policy p version "2" rule a { must be ascii }', ["version"]),
    (
        "rule a { must be ascii overrides b } rule b { must be lowercase }",
        "rule a { must be ascii overrides c } rule c { must be lowercase }",
        ["rule renamed"],
    ),
)


@pytest.mark.parametrize(("old", "new", "told"), SAME, ids=range(len(SAME)))
def test_changes_for_readers_only(old: str, new: str, told: list[str]) -> None:
    found = diff(old, new)
    assert [change.kind for change in found.changes] == told
    assert found.is_same_meaning
    assert {each.how for each in found.overall} == {"equal"}


def test_long_sentences_are_told_by_what_differs() -> None:
    words = [f'"word{number}"' for number in range(40)]
    more = [*words[:20], '"new"', *words[20:]]
    rule = "rule a {{ should not mention any of [{}] }}"
    (change,) = diff(rule.format(", ".join(words)), rule.format(", ".join(more))).changes
    assert change.words == (
        '… "word17", "word18", "word19", "word20", "word21", "word22", … -> '
        '… "word17", "word18", "word19", "new", "word20", "word21", "word22", …'
    )


def test_rules_are_tied_by_title_and_told_apart_by_it() -> None:
    found = diff('rule a "Short" { must have at most 9 words }', 'rule b "Short" { must have at most 7 words }')
    assert next((c.kind, c.words) for c in found.changes) == ("rule renamed", "was `a` (the same title)")
    found = diff(
        'rule a { must be ascii } rule b "B" { must be ascii }', 'rule c "B" { must be ascii } rule d { must be ascii }'
    )
    assert {(c.old, c.new) for c in found.changes} == {("a", "d"), ("b", "c")}
    found = diff("rule a { must have at most 9 words }", "rule b { must have at most 7 words }")
    assert kinds(found) == [("rule added", "b"), ("rule removed", "a")]


HARBOUR = ("""policy harbour.desk version "1.0.0" edition 1
levels root > system > user
param longest : number = 90
lexicon promises = ["full refund", "we will refund"]
rule no_card_numbers "Never repeat a card number" at root {
  because "Whoever reads the log could pay with it."
  must not contain /\\d{16}/
  complies "It ends in 4242."
  complies "It is 4242 4242 4242 4242."
}
rule no_promises "Money is promised by people" at system {
  when meta.topic == "billing"
  should not mention any of promises weight 0.5
}
rule brief at user { should have at most longest words }
rule no_blame at user { limit response mentions "your fault" to at most 2% of responses }
rule polite at user { must not mention any of ["damn", "bloody"] }
rule greet at user { must not start with "Hi" or start with "Hey" }
""", """policy harbour.desk version "1.1.0" edition 1
levels root > system > user
param longest : number = 9
lexicon promises = ["full refund", "refund is on its way"]
rule no_card_numbers "Never repeat a card number" at root {
  because "Whoever reads the log could pay with it."
  must not contain /(\\d[ -]?){13,16}/
  complies "It ends in 4242."
}
rule no_promises "Money is promised by people" at system {
  when meta.topic == "billing" or meta.topic == "orders"
  should not mention any of promises weight 0.8
}
rule brief at user { should have at most longest words }
rule no_blame at user { limit response mentions "your fault" to at most 1% of responses }
rule clean at system { must not mention any of ["bloody", "damn"] }
rule greet at user { must not start with /H(i|ey)/ }
rule as_data at user { when prompt contains "json" must be json }
exception dealers to no_card_numbers at root { when meta.dealer }
""")  # fmt: skip


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("harbour.txt", as_text),
        ("harbour.md", release_notes),
        ("harbour.json", lambda found: json.dumps(as_data(found), ensure_ascii=False, indent=2)),
    ],
)
def test_what_is_shown(name: str, shown: Callable[[PolicyChanges], str], golden: Golden) -> None:
    golden.check(f"diff/{name}", shown(diff(*HARBOUR)).rstrip("\n") + "\n")


def test_hostile_texts_are_harmless_in_release_notes() -> None:
    found = diff(
        'rule a "A" { must be ascii }', 'rule a "<script>x</script> [a](b) **c**" { must not contain "`*<b>" }'
    )
    notes = release_notes(found)
    assert "<" not in notes.replace("\\<", "")
    assert "[a](b)" not in notes


# ------------------------------------------------------------------------------------------------------- the terminal
def call(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(each) for each in arguments])


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_exit_codes(tmp_path: Path) -> None:
    old = write(tmp_path, "old.bylaw", 'rule a { must not contain "z" }')
    new = write(tmp_path, "new.bylaw", "rule a { must not contain /[xz]/ }")
    reworded = write(tmp_path, "same.bylaw", "rule a { must not contain /z/ }")
    unsound = write(tmp_path, "bad.bylaw", 'rule a { must contain "z" must not contain "z" }')
    assert call(old, new).exit_code == 0
    assert call(old, new, "--exit-code").exit_code == 4
    assert call(old, reworded, "--exit-code").exit_code == 0
    done = call(old, unsound)
    assert (done.exit_code, "P401" in done.stderr, done.stdout) == (1, True, "")
    assert call(old, tmp_path / "none.bylaw").exit_code == 2
    assert call(old, new, "--transcripts", tmp_path / "none.jsonl").exit_code == 2


def test_json_has_the_documented_keys(tmp_path: Path) -> None:
    old, new = (write(tmp_path, f"{n}.bylaw", text) for n, text in enumerate(HARBOUR))
    data = json.loads(call(old, new, "--format", "json").stdout)
    assert list(data) == [
        "old", "new", "summary", "same_meaning", "rules", "newly_forbidden", "newly_allowed", "texts", "changes",
        "same_by_proof", "flips", "transcripts", "not_decided",
    ]  # fmt: skip
    assert data["newly_forbidden"] == {"result": "witness", "how": "witness"}
    assert {frozenset(each) for each in data["texts"]} == {
        frozenset(("rule", "direction", "strength", "scope", "result", "witness", "reason", "others"))
    }


def test_transcripts_are_judged_by_both(tmp_path: Path) -> None:
    old = write(tmp_path, "old.bylaw", 'rule a { must not contain "z" } rule b { must be ascii }')
    new = write(tmp_path, "new.bylaw", 'rule a { must not contain "x" } rule b { must be ascii }')
    answers = ("xyz", "x", "z", "y", "zz")
    lines = [json.dumps({"prompt": "?", "response": answer}) for answer in answers]
    file = write(tmp_path, "t.jsonl", "\n".join([*lines, "{"]))
    done = call(old, new, "--transcripts", file, "--format", "json", "--places", "1")
    assert done.exit_code == 3
    (data,) = json.loads(done.stdout)["transcripts"]
    assert (data["total"], data["changed"], data["newly_forbidden"], data["newly_allowed"]) == (5, 3, 1, 2)
    (rule,) = data["rules"]
    assert rule["counts"] == [
        {"old": "complies", "new": "violates", "count": 1},
        {"old": "violates", "new": "complies", "count": 2},
    ]
    assert rule["places"] == [{"id": "t.jsonl:2", "old": "complies", "new": "violates"}]
    assert "3 of 5 conversations get another verdict" in call(old, new, "--transcripts", file).stdout


def test_examples_of_each_version_are_run_on_the_other() -> None:
    old = 'rule a { must not contain "z" complies "x" violates "z" }'
    new = 'rule a { must not contain "x" violates "x" complies "k" }'
    new += ' test "t" { user "?" assistant "z" expect complies a }'
    flips = [(each.version, each.kind, each.text, each.expected, each.found) for each in diff(old, new).flips]
    assert flips == [
        ("old", "example", "x", "complies", "violates"),
        ("old", "example", "z", "violates", "complies"),
        ("new", "example", "x", "violates", "complies"),
        ("new", "test", "z", "complies", "violates"),
    ]


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=A", "-c", "user.email=a@b.example", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def test_a_file_of_a_git_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    git(tmp_path, "init", "-q")
    path = write(tmp_path, "a.bylaw", 'rule a { must not contain "z" }')
    write(tmp_path, "b.bylaw", "import a\nrule b { must be ascii }")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    path.write_text('rule a { must not contain "y" }', encoding="utf-8")
    done = call("HEAD:a.bylaw", "a.bylaw")
    assert done.exit_code == 0
    assert 'a: must not contain "z" -> must not contain "y"' in done.stdout
    assert call("HEAD:none.bylaw", "a.bylaw").exit_code == 2
    assert call("--", "-x:a.bylaw", "a.bylaw").exit_code == 2
    done = call("HEAD:b.bylaw", "a.bylaw")
    assert (done.exit_code, "needs other files" in done.stderr) == (2, True)


def test_an_edit_of_one_rule_among_many_is_quick(tmp_path: Path) -> None:
    draw = random.Random(3)
    words = ["".join(draw.choices("abcdefghij", k=5)) for _ in range(200)]
    conditions = ("", "", 'when meta.topic == "t{}"')
    rules = [
        f'rule r{n} {{ {conditions[n % 3].format(n % 20)} must not mention "{word}" }}' for n, word in enumerate(words)
    ]
    old = policy("\n".join(rules))
    rules[100] = rules[100].replace("must not mention", "must not contain")
    new = policy("\n".join(rules))
    start = time.process_time()
    found = compare(old, new)
    assert time.process_time() - start < 1.0
    assert list(texts(found, "forbidden")) == list(texts(found, "allowed")) == ["r100"]
