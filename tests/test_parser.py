"""The parser: grammar, tables, syntax tree, printing back, and that no text breaks it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from bylaw.spec import ast, grammar_tables
from bylaw.spec.errors import PolicySyntaxError, SourceError, render
from bylaw.spec.parser import ParseResult, parse
from bylaw.spec.printer import to_text
from bylaw.spec.source import Source, Span, blank_prose

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT.parent / "shared" / "design" / "language"
GRAMMAR = ROOT / "spec" / "grammar.lark"
TABLES = ROOT / "spec" / "grammar_tables.json"


def example_files() -> list[Path]:
    files = sorted([*EXAMPLES.glob("**/*.bylaw"), *EXAMPLES.glob("*.bylaw.md")])
    return [*files, *sorted((ROOT / "spec").glob("std/*.bylaw")), *sorted((ROOT / "examples").glob("**/*.bylaw"))]


def example_texts() -> list[str]:
    texts = [Source.read(path).text for path in example_files()]
    if not texts:
        pytest.skip(f"no example policies at {EXAMPLES}")
    return texts


def parsed(text: str) -> ParseResult:
    return parse(Source("test.bylaw", text))


def clause(text: str) -> ast.Clause:
    item = parsed(f"rule r {{ {text} }}").require().items[0]
    assert isinstance(item, ast.RuleDecl)
    assert len(item.clauses) == 1
    return item.clauses[0]


def codes(text: str) -> list[str]:
    return [diagnostic.code for diagnostic in parsed(text).diagnostics]


# --------------------------------------------------------------------------------------------- grammar and tables


def test_the_grammar_has_no_conflict_and_no_colliding_terminals() -> None:
    pytest.importorskip("interegular")
    grammar_tables.build_parser(GRAMMAR.read_text(encoding="utf-8"), strict=True)


def test_the_shipped_tables_are_those_of_the_grammar() -> None:
    import json

    built = json.loads(json.dumps(grammar_tables.build(GRAMMAR.read_text(encoding="utf-8"))))
    shipped = json.loads(TABLES.read_text(encoding="utf-8"))
    advice = f"regenerate the tables: {grammar_tables.REGENERATE}"
    assert shipped["digest"] == built["digest"], advice
    assert shipped == built, advice


def test_an_edited_grammar_is_not_parsed_with_stale_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = grammar_tables.load()
    monkeypatch.setattr(grammar_tables, "FORMAT", -1)  # as good as another grammar: the digest changes
    fresh = grammar_tables.load.__wrapped__()
    assert fresh.digest == grammar_tables.digest_of(GRAMMAR.read_text(encoding="utf-8"))
    assert fresh.digest != shipped.digest
    assert fresh.states == shipped.states


def room_with(folder: Path, grammar: str, tables: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "grammar.lark").write_text(grammar, encoding="utf-8")
    if tables is not None:
        (folder / "grammar_tables.json").write_text(tables, encoding="utf-8")
    monkeypatch.setattr(grammar_tables, "_ROOM", folder)


def test_a_word_added_to_the_grammar_is_known_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grammar = GRAMMAR.read_text(encoding="utf-8")
    edited = grammar.replace("CONCEPT_KIND.2: /(concept|topic)", "CONCEPT_KIND.2: /(concept|topic|notion)")
    assert edited != grammar
    room_with(tmp_path, edited, TABLES.read_text(encoding="utf-8"), monkeypatch)
    tables = grammar_tables.load.__wrapped__()
    assert tables.phrases["notion"] == tables.phrases["topic"]
    assert tables.digest == grammar_tables.digest_of(edited)


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "list", "no states", "no digest"])
def test_tables_that_are_damaged_are_not_used(damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import json

    shipped = TABLES.read_text(encoding="utf-8")
    whole = json.loads(shipped)
    tables = {
        "missing": None,
        "empty": "",
        "cut": shipped[:-100],
        "list": "[]",
        "no states": json.dumps({key: value for key, value in whole.items() if key != "states"}),
        "no digest": json.dumps({key: value for key, value in whole.items() if key != "digest"}),
    }
    room_with(tmp_path, GRAMMAR.read_text(encoding="utf-8"), tables[damage], monkeypatch)
    monkeypatch.setattr(grammar_tables, "build", lambda grammar: {**whole, "start_state": -7})  # Lark was asked
    assert grammar_tables.load.__wrapped__().start_state == -7
    room_with(tmp_path, GRAMMAR.read_text(encoding="utf-8"), shipped, monkeypatch)
    assert grammar_tables.load.__wrapped__().start_state == whole["start_state"]


def test_lark_itself_accepts_what_the_parser_accepts() -> None:
    reference = grammar_tables.build_parser(GRAMMAR.read_text(encoding="utf-8"))
    for text in example_texts():
        count = len(list(reference.parse(text).find_data("norm")))
        assert count == sum(isinstance(node, ast.Norm) for node in ast.walk(parsed(text).require()))


def test_parsing_imports_no_lark_and_is_fast_from_cold() -> None:
    program = (
        "import sys, time; start = time.process_time()\n"
        "from bylaw.spec.parser import parse; from bylaw.spec.source import Source\n"
        "rules = ''.join(f'rule r{i} at user {{ when x\\n must have at most {i} words or contain \"a\" }}\\n' "
        "for i in range(50))\n"
        "assert parse(Source('t', rules)).is_ok; assert 'lark' not in sys.modules\n"
        "print(time.process_time() - start)"
    )
    seconds = []
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        seconds.append(float(done.stdout))
    assert min(seconds) < 1.0  # 0.1 s on an idle machine; the margin is for busy ones


# ------------------------------------------------------------------------------------------------------- examples


@pytest.mark.parametrize("path", example_files() or [None], ids=lambda path: path.name if path else "none")
def test_examples_parse_and_print_back(path: Path | None) -> None:
    if path is None:
        pytest.skip(f"no example policies at {EXAMPLES}")
    result = parse(Source.read(path))
    assert [render(diagnostic, result.source) for diagnostic in result.diagnostics] == []
    printed = to_text(result.module)
    again = parsed(printed)
    assert [render(diagnostic, again.source) for diagnostic in again.diagnostics] == []
    assert ast.same(again.module, result.module)
    assert to_text(again.module) == printed


def test_spans_point_at_what_was_read() -> None:
    text = 'rule a at user {\n  response must contain "x" at least 2 times weight 1\n}'
    result = parsed(text)
    for node in ast.walk(result.module):
        span = node.span
        assert 0 <= span.start <= span.end <= len(text)
        if isinstance(node, ast.Name | ast.Path):
            assert result.source.slice(span) == node.text
    (weight,) = (node for node in ast.walk(result.module) if isinstance(node, ast.Weight))
    assert result.source.slice(weight.span) == "weight 1"
    location = result.source.location(weight.span)
    assert (location.line, location.column, location.end_column) == (2, 46, 54)


# ---------------------------------------------------------------------------------------------------- syntax tree


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("must contain /a/i exactly 2 times", None),
        ("must mentions any of words", "must mention any of words"),
        ('must contain at least 2 of [x, "y", /z/]', None),
        ('MUST NOT be in language "kn"', 'must not be in language "kn"'),
        ("response need not be not json matching request.schema", None),
        ('first sentence of every paragraph of response must start with "a" or end with "b"', None),
        ("paragraph 2 of response must match /x+/s", None),
        ("must express rude with score at least 0.8", None),
        (
            'must not (contain "a" or quote prompt more than 8 words)',
            'must not contain "a" or quote prompt more than 8 words',
        ),
        ("call to any tool must occur at most 1 times per conversation", None),
        ('call to ["a", "b"] where (it.x > -1) must not follow output of t', None),
        ("when a or b and not (c or d)", None),
        ("when (a or b) or c", None),
        ("when 1 - (2 - 3) * -x <= 4 per 5", "when 1 - (2 - 3) * -x <= 4 / 5"),
        ("when -(1) == --1", None),
        ('when prompt does not contain "x"', None),
        ('when meta.topic == "a" and row.label in_range', None),
        ("prefer x is good over x is bad weight 2", None),
        ("prefer number of /a/ in response near 3", None),
        ('limit average x to between 1 and 2% of chats over suite "s" with confidence 0.95', None),
        ('on violation ask with "a\\"\\\\\\n\\u{202e}"', None),
        ('violates { given a.b = -1.5 system "s" tool t returns "r" assistant calls t(x: [1]) } note "n"', None),
    ],
)
def test_clauses_print_back(text: str, printed: str | None) -> None:
    if "in_range" in text:
        assert codes(f"rule r {{ {text} }}") == ["P005"]
        return
    node = clause(text)
    body = to_text(parsed(f"rule r {{ {text} }}").module).split("\n", 1)[1].rsplit("\n}", 1)[0]
    shown = " ".join(body.split())
    assert shown == (text if printed is None else printed)
    assert ast.same(clause(shown), node)


def test_literals_keep_their_kind() -> None:
    module = parsed('lexicon l = ["a\\tb", /x/si, 2%, 0.5, -3, true, other.l]').require()
    (item,) = module.items
    assert isinstance(item, ast.LexiconDecl)
    assert isinstance(item.value, ast.ListLiteral)
    text, pattern, percent, decimal, integer, truth, path = item.value.items
    assert isinstance(text, ast.Text)
    assert text.value == "a\tb"
    assert isinstance(pattern, ast.Pattern)
    assert (pattern.source, pattern.flags) == ("x", "is")
    assert isinstance(percent, ast.Number)
    assert (percent.value, percent.percent, percent.amount) == (2, True, 0.02)
    assert isinstance(decimal, ast.Number)
    assert decimal.value == 0.5
    assert isinstance(integer, ast.Number)
    assert integer.value == -3
    assert isinstance(truth, ast.Bool)
    assert isinstance(path, ast.Path)
    assert path.parts == ("other", "l")


def test_prose_is_folded_and_texts_are_kept() -> None:
    module = parsed('concept c means """a\n   b""" { like """a\n   b""" }').require()
    (concept,) = module.items
    assert isinstance(concept, ast.ConceptDecl)
    assert concept.meaning.value == "a b"
    (like,) = concept.clauses
    assert isinstance(like, ast.Like)
    assert like.text.value == "a\n   b"


def test_annotations_belong_to_the_next_declaration() -> None:
    first, second = parsed('@draft\n@owner("me")\nrule a { }\nrule b { }').require().items
    assert [annotation.name.text for annotation in first.annotations] == ["draft", "owner"]
    assert second.annotations == ()


def test_same_ignores_spans_only() -> None:
    left, right = parsed("rule a { must be json }").module, parsed("rule  a  {must be\njson}").module
    assert left != right
    assert ast.same(left, right)
    assert ast.strip(left) == ast.strip(right)
    assert not ast.same(left, parsed("rule a { must be text }").module)


def test_require_raises_with_all_diagnostics() -> None:
    with pytest.raises(PolicySyntaxError, match="P202") as caught:
        parsed("rule a { shall be json }\nrule b {").require()
    assert [diagnostic.code for diagnostic in caught.value.diagnostics] == ["P202", "P003"]


# --------------------------------------------------------------------------------------------------------- source


def test_literate_files_keep_lines_and_columns() -> None:
    document = (
        "# é {#a}\n\n```bylaw\nrule a { }\n```\n````md\n```bylaw\nrule no { }\n```\n````\n```bylaw\nrule b { }\n```\n"
    )
    blanked = blank_prose(document)
    assert len(blanked) == len(document)
    assert blanked.count("\n") == document.count("\n")
    assert blanked.split() == ["rule", "a", "{", "}", "rule", "b", "{", "}"]
    result = parse(Source.of("x.bylaw.md", document))
    assert [result.source.location(item.span).line for item in result.require().items] == [4, 12]


def test_files_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.bylaw").write_bytes(b"# caf\xe9\n")
    (tmp_path / "large.bylaw").write_bytes(b"#" * 1_000_001)
    (tmp_path / "marked.bylaw").write_bytes(b"\xef\xbb\xbfrule a { }\r\n")
    for name, code in (("latin", "P009"), ("large", "P006"), ("missing", "P009")):
        with pytest.raises(SourceError) as caught:
            Source.read(tmp_path / f"{name}.bylaw")
        assert [diagnostic.code for diagnostic in caught.value.diagnostics] == [code]
    assert parse(Source.read(tmp_path / "marked.bylaw")).is_ok


def test_positions() -> None:
    source = Source("s", "ab\r\n\nc")
    assert [source.position(offset) for offset in range(7)] == [(1, 1), (1, 2), (1, 3), (1, 4), (2, 1), (3, 1), (3, 2)]
    assert [source.line_text(line) for line in (1, 2, 3)] == ["ab", "", "c"]
    assert Span(1, 2).to(Span(3, 5)) == Span(1, 5)


# ----------------------------------------------------------------------------------------------------- robustness


def test_five_lost_braces_are_five_errors() -> None:
    rules = [f"rule r{number} at user {{\n  must have at most {number} words\n}}\n" for number in range(1000)]
    for number in (3, 250, 500, 750, 998):
        rules[number] = rules[number].replace("}", "")
    result = parsed("".join(rules))
    assert [diagnostic.code for diagnostic in result.diagnostics] == ["P003"] * 5
    assert len(result.module.items) == 995


def test_a_division_does_not_hide_the_pattern_on_the_next_line() -> None:
    assert codes('define a as b /2 ==\n/"{/\nrule c { }\n') == []


def test_every_mistake_is_reported_in_one_run() -> None:
    text = 'rule a { must contain "x }\nrul b { }\nrule c { may not be json }\nlevels a\nrule d {\nrule e { }\n}\n'
    assert codes(text) == ["P002", "P005", "P201", "P005", "P003", "P003"]


@pytest.mark.parametrize(
    "text",
    [
        "define x as " + "not " * 50_000 + "y",
        "define x as " + "(" * 5_000 + "1" + ")" * 5_000,
        "define x as " + "1 + " * 50_000 + "1",
        "define x as " + "-" * 50_000 + "y",
        "define x as " + "every word of " * 20_000 + "y",
        "lexicon x = " + "[" * 200 + "]" * 200,
        "rule a { must " + "not " * 20_000 + "be json }",
    ],
)
def test_depth_is_capped(text: str) -> None:
    assert codes(text) == ["P006"]


def test_a_hundred_levels_are_fine() -> None:
    assert codes("define x as " + "(" * 100 + "1" + ")" * 100) == []
    assert codes("define x as " + "not " * 95 + "y") == []


@pytest.mark.parametrize(
    ("piece", "count"),
    [
        ("/", 100_000),
        ("/\\", 50_000),
        ('"', 100_000),
        (" ", 500_000),
        ("#\n", 100_000),
        ("\\", 100_000),
        ("a ", 100_000),
        ("{", 100_000),
        ("}", 100_000),
        ("rule a {\n", 20_000),
        ('"""\\"', 50_000),
        ("\u202e", 100_000),
        ("“", 100_000),
        ("# \n \n", 100_000),
    ],
)
def test_no_text_takes_long(piece: str, count: int) -> None:
    start = time.process_time()
    parsed(piece * count + "x")
    assert time.process_time() - start < 20


def test_too_large_a_text_is_refused() -> None:
    assert codes("#" * 1_000_001) == ["P006"]


@pytest.mark.parametrize(
    ("written", "meant"),
    [("mustn't", "must not"), ("shouldn’t", "should not"), ("needn't", "need not"), ("don't", "must not")],
)
def test_a_rule_word_with_an_apostrophe_is_no_text(written: str, meant: str) -> None:
    source = Source("p", f'rule a at user {{\n  {written} mention "x"\n}}\n')
    (found,) = parse(source).diagnostics
    assert (found.code, found.fix and found.fix.replacement) == ("P202", meant)


def test_a_single_quoted_text_with_an_apostrophe_in_it_is_not_safe_to_fix() -> None:
    source = Source("p", "rule a at user {\n  because 'the customer's choice'\n  must contain \"x\"\n}\n")
    assert not any(
        found.fix and found.fix.safe and found.primary.span.start < 40 for found in parse(source).diagnostics
    )
