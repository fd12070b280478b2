"""`bylaw import gitleaks`: patterns keep their language, and what a rule cannot say is named."""

import random
import re
import tomllib
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
import re2
from hypothesis import given, settings
from hypothesis import strategies as st

from bylaw.compiler.evaluate import Verdict, evaluate
from bylaw.compiler.importers import importer
from bylaw.compiler.importers._go_patterns import always_holds, translated
from bylaw.compiler.importers._writing import pattern, quoted
from bylaw.compiler.importers.interface import AccountLine, Imported, ImportFailure, Naming
from bylaw.compiler.pipeline import compile_source
from bylaw.compiler.program import RewardProgram
from bylaw.spec import ast
from bylaw.spec.parser import parse
from bylaw.spec.pattern import Alternate, Chars, Concat, Node, PatternError, Repeat, compile_pattern, parse_pattern
from bylaw.spec.source import Source
from bylaw.spec.trace import Message, Trace

RULES = Path(__file__).parents[2] / "shared" / "data" / "gitleaks" / "gitleaks.toml"
FOUND = "\n[[rules]]\nid = 'other'\nregex = 'zzz'\n"


def read(text: str) -> Imported:
    return importer("gitleaks").read(text, Naming("secrets"))


def first(text: str) -> AccountLine:
    return read(text + FOUND).account[0]


# ---------------------------------------------------------------------------------------------------------- patterns
SAME = [
    r"(?P<all>a)(?P<b2>[[:alnum:]_]{2})\z",
    r"\A(?:x|(?i)y)z",
    r"[[:digit:]-]+[[:xdigit:]]",
    r"[]a]+[^]b]",
    r"a{,2}b{x}{",
    r"\Qa.b/[\E+",
    r"[\d/]+/\x60[[:punct:]]",
    r"(?m:^a$)|\Ab\z",
    r"[[:space:]][^[:upper:]]",
    r"(?i)straße|ſk",
    r"[a\]b\-]\.",
    r"[:alpha:]+",
]
TEXTS = st.text(st.sampled_from(list("abxyzAZ019_-/.[]{}(:,;pl\n\t `+ſK\x60^$")), max_size=12)


@pytest.mark.parametrize("source", SAME)
@settings(max_examples=60, deadline=None)
@given(text=TEXTS)
def test_a_translated_pattern_finds_the_same(source: str, text: str) -> None:
    try:
        expected = re2.compile(source).search(text)
    except re2.error:
        with pytest.raises(PatternError):
            parse_pattern(translated(source))
        return
    found = compile_pattern(translated(source)).search(text)
    assert (found and found.span()) == (expected and expected.span())


@pytest.mark.parametrize("source", [r"\pL", r"\C", r"[[:^alpha:]]", r"(?=a)", r"a**", "(", r"\1"])
def test_what_has_no_counterpart_is_refused(source: str) -> None:
    with pytest.raises(PatternError):
        parse_pattern(translated(source))
    line = first(f"[[rules]]\nid = 'one'\nregex = '''{source}'''\n")
    assert (line.place, line.what, line.outcome) == ("line 2", "rule `one`", "skipped")
    assert line.reason


IMPLIED = [
    ("abc_[0-9]+", ("abc_",), True),
    ("(?i)ABC_[0-9]+", ("abc_",), True),
    ("(?i)asks", ("asks",), True),
    ("(?:foo|bar)-x", ("foo", "bar"), True),
    ("(?:foo|bar)-x", ("foo",), False),
    ("(?:foo|)x", ("foo",), False),
    ("(?:foo)?x", ("foo",), False),
    ("(?:foo){2,9}x", ("foo",), True),
    ("a.c", ("abc",), False),
    ("a[bB]c", ("abc",), True),
    (r"\bkey\b-\b[a-z]{9}", ("key-",), True),
    ("k(?:e|3)y=", ("key", "k3y"), True),
    ("[a-z]{3}", ("abc",), False),
    ("x{2}y", ("xxy",), True),
]


@pytest.mark.parametrize(("source", "words", "expected"), IMPLIED)
def test_words_that_every_match_holds(source: str, words: tuple[str, ...], expected: bool) -> None:
    assert always_holds(parse_pattern(source), words) is expected


@settings(max_examples=100, deadline=None)
@given(st.text(min_size=1))
def test_a_pattern_of_any_text_is_one_pattern_or_none(source: str) -> None:
    try:
        expected = parse_pattern(source)
    except PatternError:
        return
    written = pattern(source)
    module = parse(Source("p.bylaw", f"rule r {{ must not contain {written} }}")).require()
    (found,) = [node for node in ast.walk(module) if isinstance(node, ast.Pattern)]
    assert parse_pattern(found.source) == expected


# ------------------------------------------------------------------------------------------------------------- rules
PARTS = [
    ("entropy = 3.5", "changed", "matches of any entropy count, not only of 3.5 and more"),
    ("path = '(?i)\\.ya?ml$'", "changed", "not only in files like `(?i)\\.ya?ml$`"),
    ("secretGroup = 2", "changed", "the whole match is looked at, not only its group 2"),
    ("[[rules.allowlists]]\nregexes = ['x']", "changed", "its allowlists are left out"),
    ("verify = true", "changed", "`verify` means nothing here"),
    ("tags = ['a']", "imported", ""),
    ("keywords = ['tok']", "imported", ""),
    ("keywords = 'tok'", "unreadable", "`keywords` is not a list of texts"),
]


@pytest.mark.parametrize(("part", "outcome", "reason"), PARTS)
def test_parts_of_a_rule(part: str, outcome: str, reason: str) -> None:
    line = first(f"[[rules]]\nid = 'one'\nregex = 'tok_[a-z]{{4}}'\n{part}\n")
    assert line.outcome == outcome
    assert reason in line.reason


def test_rules_without_a_pattern_and_parts_of_the_file() -> None:
    text = (
        "title = 'x'\n[extend]\nuseDefault = true\n[allowlist]\nregexes = ['a', 'b']\nstopwords = ['c']\n"
        "[[rules]]\nid = 'files'\npath = 'p12$'\n[[rules]]\nregex = 'x'\n[[rules]]\nid = 'nothing'\n" + FOUND
    )
    said = [(line.place, line.what, line.outcome, line.reason) for line in read(text).account]
    left = "a pattern cannot except some matches"
    assert said == [
        ("extend", "`extend`", "skipped", "the rules it adds stand in another file"),
        ("allowlist.regexes", "a", "skipped", left),
        ("allowlist.regexes", "b", "skipped", left),
        ("allowlist.stopwords", "c", "skipped", left),
        ("line 8", "rule `files`", "skipped", "it is about the names of files only"),
        ("rules[1]", "rule", "unreadable", "it has no `id`"),
        ("line 13", "rule `nothing`", "skipped", "it has no `regex`"),
        ("line 16", "rule `other`", "imported", ""),
    ]


@pytest.mark.parametrize("text", ["", "a = 1", "rules = 3", "= =", "[[rules]]\nid = 'a'\n"])
def test_files_of_another_kind(text: str) -> None:
    with pytest.raises(ImportFailure):
        read(text)


def program_of(text: str) -> RewardProgram:
    return compile_source(Source.of("imported.bylaw", text)).require()


def verdicts(program: RewardProgram, answer: str) -> dict[str, Verdict]:
    trace = Trace((Message("user", "hi"),), {}).answered(answer)
    return {score.term: score.verdict for score in evaluate(program, trace).terms}


def test_keywords_that_a_match_need_not_hold_are_a_condition() -> None:
    text = read("[[rules]]\nid = 'a-b'\nregex = 'tok_[0-9]{3}'\nkeywords = ['Harbour', 'quay.']\n").text
    program = program_of(text)
    assert "when response contains any of [/harbour/i, /quay\\./i]" in text
    assert verdicts(program, "tok_123 of the HARBOUR") == {"a_b": Verdict.VIOLATED}
    assert verdicts(program, "tok_123 of the quays") == {"a_b": Verdict.NOT_APPLICABLE}
    assert verdicts(program, "the harbour") == {"a_b": Verdict.SATISFIED}


@settings(max_examples=60, deadline=None)
@given(st.text(min_size=1), st.text())
def test_no_text_leaves_its_quotes(name: str, description: str) -> None:
    text = read(f"[[rules]]\nid = {toml(name)}\ndescription = {toml(description)}\nregex = 'x'\n").text
    (rule,) = parse(Source.of("imported.bylaw", text)).require().items
    assert isinstance(rule, ast.RuleDecl)
    assert rule.title is not None
    assert rule.title.value == " ".join(description.split())


def toml(text: str) -> str:
    escaped = "".join(f"\\U{ord(c):08x}" for c in text)
    return f'"{escaped}"'


# ------------------------------------------------------------------------------------------------- the published file
def sample(node: Node, draw: random.Random) -> str:
    """A text that a pattern matches, assertions aside."""
    match node:
        case Chars(charset):
            plain = [(max(first, 33), min(last, 126)) for first, last in charset.ranges if first <= 126 and last >= 33]
            first, last = draw.choice(plain or list(charset.ranges))
            return chr(draw.randint(first, last))
        case Concat(items):
            return "".join(sample(item, draw) for item in items)
        case Alternate(items):
            return sample(draw.choice(items), draw)
        case Repeat(item, least, most):
            return "".join(sample(item, draw) for _ in range(draw.randint(least, min(most or least + 3, least + 3))))
        case _:
            return ""


@cache
def published() -> Imported:
    return read(RULES.read_text(encoding="utf-8"))


@pytest.mark.skipif(not RULES.exists(), reason="the published rules are not here")
def test_the_published_rules_find_what_they_found() -> None:
    text = RULES.read_text(encoding="utf-8")
    rules = tomllib.loads(text)["rules"]
    imported = published()
    lines = [line for line in imported.account if line.what.startswith("rule `")]
    assert len(lines) == len(re.findall(r"(?m)^\[\[rules\]\]$", text)) == 222
    assert Counter(line.outcome for line in lines) == {"imported": 88, "changed": 133, "skipped": 1}
    assert [line.what for line in lines if line.outcome == "skipped"] == ["rule `pkcs12-file`"]
    inexact = [
        rule for rule in rules if "regex" in rule and rule.keys() & {"entropy", "path", "allowlists", "secretGroup"}
    ]
    assert len(inexact) == 133
    assert Counter(line.place for line in imported.account if line.what[:5] != "rule ") == {
        "allowlist.paths": 25,
        "allowlist.regexes": 13,
        "allowlist.stopwords": 2,
    }
    module = parse(Source.of("imported.bylaw", imported.text)).require()
    written = [
        node.source
        for item in module.items
        for node in ast.walk(item)
        if isinstance(node, ast.Norm)
        for node in ast.walk(node)
        if isinstance(node, ast.Pattern)
    ]
    assert len(written) == 221
    draw = random.Random(7)
    found = missed = 0
    for rule, ours in zip([rule for rule in rules if "regex" in rule], written, strict=True):
        theirs, mine = re2.compile(rule["regex"]), compile_pattern(ours)
        secret = f" {sample(parse_pattern(ours), draw)} "
        place = draw.randrange(1, len(secret) - 1)
        for text in (secret, f"{secret[:place]}~{secret[place + 1 :]}", f"{secret[:place]}{secret[place + 1 :]}"):
            span = theirs.search(text) and theirs.search(text).span()
            assert (mine.search(text) and mine.search(text).span()) == span, rule["id"]
            found, missed = found + (span is not None), missed + (span is None)
    assert found > 221
    assert missed > 221


@pytest.mark.skipif(not RULES.exists(), reason="the published rules are not here")
def test_the_published_rules_are_a_sound_policy() -> None:
    program = program_of(published().text)
    token = "AGE-SECRET-KEY-1" + "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7LQPZRY9X8GF2TVDW0S3JN54KHCE"
    broken = [name for name, verdict in verdicts(program, f"Use {token}.").items() if verdict is Verdict.VIOLATED]
    assert broken == ["age_secret_key"]
    assert Verdict.VIOLATED not in verdicts(program, f"Use {token[:-1]}.").values()


def test_a_title_is_a_text() -> None:
    assert quoted('a "b" \\ {c} """\n') == r'"a \"b\" \\ {c} \"\"\"\n"'
