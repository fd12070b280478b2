"""No text breaks the syntax layer, and no edit changes what a policy says without being seen.

`tests/bench/bench_fuzz.py` does the same a million times.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_texts import BETWEEN, grammar, policy
from retelling import says_the_same

from bylaw.spec import ast
from bylaw.spec.errors import SourceError, render, to_json
from bylaw.spec.formatter import format_text
from bylaw.spec.formatter_comments import gaps
from bylaw.spec.parser import ParseResult, parse
from bylaw.spec.printer import to_text
from bylaw.spec.source import MAXIMUM_FILE_BYTES, Source, decode

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = sorted((path.read_text(encoding="utf-8") for path in ROOT.glob("examples/*/rules.bylaw")), key=len)[:3]
TYPED = "{}()[]\"'“”/\\#@=<>!+-*%.,:;_a1 \n\té\u202e\0&|"
SECONDS = 5.0  # for one small text; a thousandth of that is usual


def parsed(text: str) -> ParseResult:
    """The parse result of any text, every diagnostic of it printed once."""
    start = time.process_time()
    result = parse(Source("fuzz.bylaw", text), keeps_tokens=True)
    for diagnostic in result.diagnostics:
        assert render(diagnostic, result.source).startswith("error[P")
        assert to_json(diagnostic, result.source)["code"] == diagnostic.code
    assert time.process_time() - start < SECONDS
    return result


def edited(generator: random.Random, text: str) -> tuple[str, int, int, int]:
    """A text with a character deleted, typed, replaced or swapped: the edit is `text[start:end]`, then its new end."""
    place = generator.randrange(len(text) - 1)
    match generator.randrange(4):
        case 0:
            old, new = 1, ""
        case 1:
            old, new = 0, generator.choice(TYPED)
        case 2:
            old, new = 1, generator.choice(TYPED)
        case _:
            old, new = 2, text[place + 1] + text[place]
    return text[:place] + new + text[place + old :], place, place + old, place + len(new)


def untouched(module: ast.Module, start: int, end: int, shift: int) -> list[ast.Node]:
    """The declarations that lie wholly before or behind an edit, without spans."""
    items = [item for item in module.items if item.span.end < start or item.span.start > end + shift]
    return [ast.strip(item) for item in items]


# ---------------------------------------------------------------------------------------------------- small edits


def test_no_edit_changes_a_policy_unseen() -> None:
    """An edited example either gives a diagnostic, or says just what its tokens say and differs in one place only.

    Nothing dropped: between two tokens stand white space and comments only (`gaps` raises otherwise). Nothing
    invented: the tree, printed back, has the same tokens. Nothing else changed: all declarations that the edit does
    not touch are as they were.
    """
    generator = random.Random(20260101)
    modules = {text: parsed(text).require() for text in EXAMPLES}
    accepted = same = 0
    for _ in range(1_000):
        text = generator.choice(EXAMPLES)
        result, start, end, new_end = edited(generator, text)
        after = parsed(result)
        if not after.is_ok:
            continue
        accepted += 1
        before = modules[text]
        gaps(after.source.text, after.tokens)
        assert says_the_same(after)
        if ast.same(before, after.module):
            same += 1
            continue
        shift = new_end - end
        left = untouched(before, start, end, 0)
        right = untouched(after.module, start, end, shift)
        assert [node for node in left if node in right] == left
        assert abs(len(before.items) - len(after.module.items)) <= 1
    assert 300 < accepted < 900
    assert same > 50


def test_an_edit_between_tokens_changes_nothing() -> None:
    generator = random.Random(3)
    for text in EXAMPLES:
        before = parsed(text)
        respaced = before.tokens[0].text
        for right, gap in zip(before.tokens[1:], gaps(text, before.tokens)[1:-1], strict=True):
            # a declaration keeps its own line, and inside one a line break is followed by blanks
            starts_line = gap.is_broken and text[right.start - 1] == "\n"
            respaced += ("\n# own line\n" if starts_line else generator.choice(BETWEEN)) + right.text
        assert ast.same(parsed(respaced).require(), before.module)


@settings(max_examples=100, deadline=None)
@given(st.randoms(use_true_random=False))
def test_edits_of_random_policies(generator: random.Random) -> None:
    text = policy(generator, most=2) + "import a\n"
    for _ in range(3):
        text = edited(generator, text)[0]
    result = parsed(text)
    if result.is_ok:
        assert says_the_same(result)
        assert ast.same(parsed(format_text("fuzz.bylaw", text)).require(), result.module)


# Texts in which brackets, a comment between two words, or a sign of zero keep apart what is read otherwise without.
RETOLD = (
    'must (not contain "x" or contain "y")',
    'must ((not contain "x") and contain "y")',
    "should (not be json)",
    "may (not be json)",
    "must (not not be json)",
    'must # why\n not contain "x"',
    "need not not be json",
    "limit a to at most 2% over responses where b",
    "limit average a to at most 2 with confidence 0.9 of responses where b",
    "limit (average) + 1 to at most 2",
    "limit (call) to at most 2",
    "limit average (calls) to at most 2",
    "limit a to at most (output) of b",
    "limit a to at most 1 in between 2 and b * (number) of responses where c",
    "prefer (higher) near 2",
    "prefer (lower) over b",
    "must contain (between)",
    "must mention (exactly) at least 2 times",
    "must contain at least (score) of b",
    "must be in (language)",
    "must (be a) matching must be b",
    "must (express a) with must be b",
    "must (occur) exactly must be b",
    "must (quote a) between must be b",
    "must (follow call to a) where(b) must be c",
    'must (contain "x") per must be b',
    "when (a is b) matching must be c",
    "prefer lower (call to a) where(b) must be c",
    "limit a to at most (call to b) where(c) must be d",
    "limit a to at most 2 of responses where (b is c) matching must be d",
    "when a > --0 and a > -(-0.0) and a - -0% > b - --0",
)


@pytest.mark.parametrize("clauses", RETOLD)
def test_what_keeps_words_apart_is_printed(clauses: str) -> None:
    """The printer writes the brackets that a text needs to be read as it was, and only for that."""
    assert says_the_same(parsed(f"rule a {{ {clauses} }}\n"))


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("must (contain (a + b)) at_least must be c", "must contain a + b\n  at_least must be c"),
        ("limit (averages) to at most (numbers) of b", "limit averages to at most numbers of b"),
        ("must (be json or (not be long))", "must be json or not be long"),
        ("must be in (languages)", "must be in languages"),
    ],
)
def test_brackets_that_change_nothing_are_not_printed(text: str, printed: str) -> None:
    assert to_text(parsed(f"rule a {{ {text} }}").module) == f"rule a {{\n  {printed}\n}}\n"


@pytest.mark.parametrize(
    ("text", "instead"),
    [
        ("when a > -1", "when a > 1"),
        ("when a > -(b)", "when a > b"),
        ("prefer a over b", "prefer a of b"),
        ("limit a to at most 2 over suite b", "limit a to at most 2 of b"),
        ("limit a to at most 2 over responses where b", "limit a to at most 2"),
        ('must (not contain "x" or contain "y")', 'must not contain "x" or contain "y"'),
    ],
)
def test_a_printer_that_says_something_else_is_seen(text: str, instead: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retelling.to_text", lambda _: f"rule a {{ {instead} }}")
    assert not says_the_same(parsed(f"rule a {{ {text} }}"))


# -------------------------------------------------------------------------------------------------------- recovery


def rules(count: int) -> Iterator[str]:
    for number in range(count):
        inner = f'\n  violates {{\n    user "{number}"\n    assistant "no"\n  }}' if number % 3 == 0 else ""
        yield f'rule r{number} "Rule {number}" at user {{\n  when b or c\n  must be json{inner}\n}}\n'


@pytest.mark.parametrize("separator", ["", "\n", "\n# next\n"])
def test_each_of_five_lost_braces_is_found(separator: str) -> None:
    generator = random.Random(5)
    for _ in range(20):
        written = list(rules(60))
        broken = sorted(generator.sample(range(60), 5))
        places = {}
        for number in broken:
            which = generator.choice(("first", "last"))
            text = written[number]
            cut = text.index("{") if which == "first" else text.rindex("}")
            written[number] = text[:cut] + text[cut + 1 :]
            places[number] = which
        result = parsed(separator.join(written))
        found = [result.source.slice(item.name.span) for item in result.module.items if isinstance(item, ast.RuleDecl)]
        assert found == [f"r{number}" for number in range(60) if number not in broken]
        said = {rule_at(result.source, diagnostic.primary.span.start) for diagnostic in result.diagnostics}
        assert said == {f"r{number}" for number in broken}
        lost_last = [number for number in broken if places[number] == "last"]
        assert [d.code for d in result.diagnostics].count("P003") >= len(lost_last)


def rule_at(source: Source, offset: int) -> str:
    """The name of the rule whose text holds an offset."""
    return source.text[source.text.rindex("rule r", 0, offset + 6) + 5 :].split()[0]


# ---------------------------------------------------------------------------------------------------------- limits


@pytest.mark.parametrize(
    ("opening", "closing"),
    [("(", ")"), ("[", "]"), ("{", "}"), ("not ", ""), ("-", ""), ("f(", ")"), ("every a of ", "")],
)
def test_depth_has_a_limit_and_not_a_crash(opening: str, closing: str) -> None:
    for depth in (45, 210, 1_000, 20_000):
        text = f"define a as {opening * depth}b{closing * depth}\n"
        codes = {diagnostic.code for diagnostic in parsed(text).diagnostics}
        if depth > 100:
            assert "P006" in codes
        elif opening != "{":
            assert codes == set()


def test_size_has_a_limit() -> None:
    assert [d.code for d in parsed("a" * (MAXIMUM_FILE_BYTES + 1)).diagnostics] == ["P006"]
    with pytest.raises(SourceError, match="P006"):
        decode("fuzz.bylaw", b" " * (MAXIMUM_FILE_BYTES + 1))
    assert parsed("#" * MAXIMUM_FILE_BYTES).is_ok


# --------------------------------------------------------------------------------------------------------- anything


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes(data: bytes) -> None:
    try:
        data.decode()
    except UnicodeDecodeError:
        with pytest.raises(SourceError, match="P009"):
            decode("fuzz.bylaw", data)
        return
    text = decode("fuzz.bylaw", data)
    for path in ("fuzz.bylaw", "fuzz.bylaw.md"):
        result = parse(Source.of(path, text))
        assert all(render(diagnostic, result.source) for diagnostic in result.diagnostics)


def test_random_tokens() -> None:
    generator = random.Random(11)
    language = grammar()
    names = sorted({*language.literals, *language.words, "NAME", "STRING", "LONG_STRING", "REGEX", "INT", "PERCENT"})
    for _ in range(600):
        soup = [language.terminal(generator, generator.choice(names)) for _ in range(generator.randrange(1, 60))]
        head = generator.choice(("", "rule a { ", "define a as ", 'test "t" { '))
        parsed(head + generator.choice(("", " ", "\n")).join(soup))


@pytest.mark.parametrize("character", TYPED)
def test_long_runs_of_one_character(character: str) -> None:
    parsed(character * 500)
    parsed(f"rule a {{ must contain {character * 500} }}\nrule b {{ }}")
