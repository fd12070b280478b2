"""Lints: what they find, what they leave alone, and how a comment allows one."""

from __future__ import annotations

from pathlib import Path

import pytest

from bylaw.compiler.pipeline import compile_file, compile_source
from bylaw.spec.errors import Diagnostic, Label, Severity
from bylaw.spec.lints import Use, lint, literals
from bylaw.spec.lints_silence import comments, silence
from bylaw.spec.parser import parse
from bylaw.spec.pattern import compile_pattern
from bylaw.spec.source import Source, Span

ROOT = Path(__file__).parents[1]
FINE = [
    *sorted((ROOT / "examples").glob("*/rules.bylaw")),
    *sorted((ROOT / "tests" / "golden" / "diagnostics").glob("P[125]*.bylaw")),
]


def found(text: str) -> list[Diagnostic]:
    result = parse(Source("p.bylaw", text))
    assert result.is_ok, result.diagnostics
    return sorted(lint(result.module), key=lambda diagnostic: diagnostic.primary.span)


def of_sentence(sentence: str) -> list[str]:
    return [diagnostic.code for diagnostic in found(f"rule r {{ {sentence} }}")]


def of_pattern(pattern: str, verb: str = "must not contain") -> list[str]:
    return of_sentence(f"{verb} {pattern}")


@pytest.mark.parametrize("path", FINE, ids=lambda path: path.stem)
def test_correct_files_get_none(path: Path) -> None:
    module = parse(Source.of("p", path.read_text(encoding="utf-8"))).module
    # what is wrong in them leaves some of their declarations without a use
    assert [each.message for each in lint(module) if each.code != "P605"] == []


# ---------------------------------------------------------------------------------------------------------- patterns
@pytest.mark.parametrize(
    "pattern",
    [
        *("[^ourcompany.com$]", "[^admin]x", "[^sorry]", "x[cat|dog]", "[^cat|dog]", "[sorry]", "[^http]"),
        *("[^a-z sorry]", "[www.acme]", "[^\\]admin]", "[^www.acme\\.org]"),
    ],
)
def test_a_word_in_square_brackets(pattern: str) -> None:
    assert of_pattern(f"/{pattern}/") == ["P404"]


@pytest.mark.parametrize(
    "pattern",
    [
        *(
            "[^aeiou]",
            "[^AEIOUaeiou]",
            "[^aeiouy ]",
            "[^abc]",
            "[ACGT]",
            "[^ATGC]",
            "[^IVXLCDM]",
            "[a-zA-Z]",
            "[a-z|A-Z]",
        ),
        *(
            "[^a-z.]",
            "[^.!?]",
            "[wasd]",
            "[aeiouäöü]",
            "[bcdfghjklmnpqrstvwxyz]",
            "[a|b]x",
            "\\[sorry|admin\\]x",
            "[^xyz]",
        ),
        *("[]a-z]", "[^\\w.-]", "[\\d.]+", "[eao]", "[yn]", "[0-9a-fA-F]"),
    ],
)
def test_ordinary_classes(pattern: str) -> None:
    assert of_pattern(f"/{pattern}/") == []


@pytest.mark.parametrize(
    ("sentence", "text"),
    [
        ("must match /.*@[^ourcompany.com$].*/", "@a"),
        ("must not contain /to: [^admin]/", "to: a"),
        ("must not contain /(x|yy)[^sorry]{2}/", "xoo"),
        ("must not contain /[^sorry]*/", None),
        ("must not contain /[^sorry]|./", None),
    ],
)
def test_the_shortest_text_that_escapes(sentence: str, text: str | None) -> None:
    (diagnostic, *_) = [each for each in found(f"rule r {{ {sentence} }}") if each.code == "P404"]
    notes = () if text is None else (f'shortest text that escapes it: "{text}"',)
    assert diagnostic.notes == notes
    if text is not None:
        source = sentence.partition("/")[2].rpartition("/")[0]
        compiled = compile_pattern(source)
        assert (compiled.fullmatch if " match " in sentence else compiled.search)(text) is None


@pytest.mark.parametrize(
    ("pattern", "verb", "codes"),
    [
        ("/^sorry|no$/", "must not contain", ["P405"]),
        ("/^a|b|c$/", "must not contain", ["P405"]),
        ("/^(a|b)$/", "must not contain", []),
        ("/^a$|^b$/", "must not contain", []),
        ("/^\\s|\\s$/", "must not contain", []),
        ("/^a|b/", "must not contain", []),
        ("/(^a|b$)/", "must not contain", []),
        ("/^a|[|$]/", "must not contain", []),
        ("/^a|b\\$/", "must not contain", []),
        ("/^a|b$/", "must match", ["P408", "P408"]),
    ],
)
def test_anchors_and_alternatives(pattern: str, verb: str, codes: list[str]) -> None:
    assert of_pattern(pattern, verb) == codes


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ("harbour.org", "harbour\\.org"),
        ("www.my-shop.co.example/x", "www\\.my-shop\\.co\\.example"),
        ("docs\\.acme.com", "acme\\.com"),
        ("@acme.com.au\\b", "acme\\.com\\.au"),
        ("acme\\.com", None),
        ("acme.command", None),
        ("[a-z]+.com", None),
        ("a.com", None),
        ("[acme.com]", "P404"),
        ("wait.*common", None),
        ("acme.com?", None),
    ],
)
def test_dots_of_domains(pattern: str, wanted: str | None) -> None:
    escaped = pattern.replace("/", "\\/")
    diagnostics = found(f"rule r {{ must not contain /{escaped}/ }}")
    if wanted in (None, "P404"):
        assert [each.code for each in diagnostics] == ([wanted] if wanted else [])
        return
    (diagnostic,) = diagnostics
    assert diagnostic.code == "P406"
    assert diagnostic.fix is not None
    assert (diagnostic.fix.replacement, diagnostic.fix.safe) == (wanted, False)


@pytest.mark.parametrize(
    ("pattern", "verb", "codes"),
    [
        ("/a||b/", "must not contain", ["P407"]),
        ("/(a||b)c/", "must match", ["P407"]),
        ("/a*/", "must not contain", ["P407"]),
        ("/(a|)/", "must not start with", ["P407"]),
        ("/.*/", "must contain", ["P407"]),
        ("/a{0,3}b?/", "must not end with", ["P407"]),
        ("/(yes)?/", "must match", []),
        ("/order(| number) 5/", "must not contain", []),
        ("/^$/", "must not contain", []),
        ("/\\b/", "must not contain", []),
        ("/[||]/", "must not contain", []),
        ("/\\|\\|/", "must not contain", []),
    ],
)
def test_patterns_that_are_found_everywhere(pattern: str, verb: str, codes: list[str]) -> None:
    assert of_pattern(pattern, verb) == codes


@pytest.mark.parametrize(
    ("sentence", "shorter"),
    [
        ("must match /^a$/", "must match /a/"),
        ("must be in [/^a/, /b$/]", "must be in [/a/, /b/]"),
        ("must start with /^a.*/", "must start with /a/"),
        ("must end with /.*a$/", "must end with /a/"),
        ("must not contain /.*?a.*/", "must not contain /a/"),
        ("must not mention /.*a/i", "must not mention /a/i"),
        ("must not contain /^a$/", None),
        ("must match /.*a.*/", None),
        ("must not contain /.*a/ at least 2 times", None),
        ("must not contain /a\\.*/", None),
        ("must match /a\\$/", None),
        ("must start with /a$/", None),
    ],
)
def test_parts_without_effect(sentence: str, shorter: str | None) -> None:
    text = f"rule r {{ {sentence} }}"
    diagnostics = found(text)
    assert {each.code for each in diagnostics} == ({"P408"} if shorter else set())
    for diagnostic in reversed(diagnostics):
        assert diagnostic.severity is Severity.NOTE
        assert diagnostic.fix is not None
        assert diagnostic.fix.safe
        assert diagnostic.fix.span is not None
        text = text[: diagnostic.fix.span.start] + diagnostic.fix.replacement + text[diagnostic.fix.span.end :]
    assert text == f"rule r {{ {shorter or sentence} }}"


def test_a_pattern_with_several_uses_keeps_what_one_of_them_needs() -> None:
    text = 'lexicon l = [/^a/]\ndefine d as l\nparam p : text = "x "\nrule r {{ {} }}'

    def codes(sentence: str) -> list[str]:
        return [each.code for each in found(text.format(sentence)) if each.code != "P605"]

    assert codes("must start with l") == ["P408"]
    assert codes("must start with d") == ["P408"]
    assert codes("must start with l or contain d") == []
    uses = literals(parse(Source("p", text.format("must start with d or contain p"))).module)
    assert [found_uses for _, found_uses in uses.values()] == [{Use.START}, {Use.CONTAIN}]


# ------------------------------------------------------------------------------------------------------------- texts
@pytest.mark.parametrize(
    ("sentence", "codes"),
    [
        ('must not contain " late "', ["P602"]),
        ('must not mention any of ["late ", "\\tsoon"]', ["P602", "P602"]),
        ('must not contain " late" at least 2 times', ["P602"]),
        ('must start with "Sure, "', []),
        ('must not contain "- "', []),
        ('must not contain "  "', []),
        ('must not contain "\\nDear"', []),
        ('must not contain "Note: "', []),
        ('must not mention "p\u0430ypal"', ["P603"]),
        ('must not mention "\u0420ay"', ["P603"]),
        ('must not mention "g\u03bf\u03bfd"', ["P603"]),
        ('must not mention "5 \u03bcm"', []),
        ('must not mention "\u043f\u0440\u0438\u0432\u0435\u0442"', []),
        ('must not mention "caf\u00e9 \u0441\u043e\u043a"', []),
        ('must not mention any of ["a", "b", "a"]', ["P604"]),
        ("must not mention any of [/a/, /a/i, /a/]", ["P604"]),
        ('must not mention any of ["a", "A", /a/]', []),
        ('must contain all of ["a", "b", "a"] in order', []),
    ],
)
def test_texts(sentence: str, codes: list[str]) -> None:
    assert of_sentence(sentence) == codes


def test_lookalikes_of_a_lexicon_that_looks_through_them() -> None:
    text = 'lexicon l = ["p\u0430y "]\nrule r { must not mention any of l }'
    assert [each.code for each in found(text)] == ["P602", "P603"]
    assert [each.code for each in found(f"@lookalikes {text}")] == ["P602"]


def test_prompts_of_a_suite_are_left_to_the_check() -> None:
    assert found('suite s = ["a", "a"]') == []


def test_a_repeated_entry_is_deleted_but_no_comment() -> None:
    text = 'lexicon l = ["a", "b", "a",\n  # why\n  "b"]'
    fixes = [each.fix for each in found(text)]
    assert [fix is not None and fix.safe for fix in fixes] == [True, False]
    assert fixes[0] is not None
    assert fixes[0].span == Span(text.index(', "a",\n'), text.index(",\n"))


# ------------------------------------------------------------------------------------------------------ declarations
RULE = "rule r { must be json }"


def unused(text: str) -> list[str]:
    return [each.message.split("`")[1] for each in found(text) if each.code == "P605"]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (f'lexicon l = ["a"]\n{RULE}', ["l"]),
        (f"define d as response is empty\n{RULE}", ["d"]),
        (f"param p : number = 3\n{RULE}", ["p"]),
        (f'concept c means "m"\n{RULE}', ["c"]),
        (f'topic t means "m"\n{RULE}', ["t"]),
        ('include a\nlexicon l = ["a"]', ["l"]),
        ('import a\napply a.r() at user\nlexicon l = ["a"]', ["l"]),
        (f'lexicon l = ["a"]\ndefine d as response mentions any of l\n{RULE}', ["l", "d"]),
        (f'concept c means "m" {{ distinct from d }}\nconcept d means "n" {{ distinct from c }}\n{RULE}', ["c", "d"]),
        (f'lexicon l = ["a"]\nconcept c means "m" {{ cued by l }}\n{RULE}', ["l", "c"]),
        # used
        ('lexicon l = ["a"]\nrule r { must not mention any of l }', []),
        ('lexicon l = ["a"]\nconcept c means "m" { cued by l }\nrule r { should not express c }', []),
        ('lexicon l = ["a"]\nlexicon m = l + ["b"]\nrule r { prefer lower number of m in response }', []),
        ('lexicon l = ["a"]\nrule r { call to l must have no links }', []),
        ('lexicon l = ["a"]\nparam p : list of text = [l]\nimport a with words = [p]\nrule r { must be json }', []),
        ('lexicon l = ["a"]\nimport a\napply a.f(words: l)', []),
        (
            'lexicon l = ["a"]\nrule f(w: list of text = [l]) { must mention any of w }\nrule r { must be json }',
            [],
        ),
        ("define d(t) as t is empty\nrule r { when d(prompt) must be json }", []),
        ("define d as prompt is empty\nrule r { must be json }\nexception e to r { when d }", []),
        ("param p : number = 3\nrule r { must have at most p words }", []),
        ("param p : number = 3\nrule r { limit response is empty to at most p of responses }", []),
        (
            'param p : number = 0.5\ntopic t means "m" { threshold p }\nrule r { when prompt is about t must be json }',
            [],
        ),
        ('concept c means "m"\nrule r { prefer lower score of c in response }', []),
        ('concept c means "m" { distinct from d }\nconcept d means "n"\nrule r { should not express c }', []),
        # nothing is said of these
        ('suite s = ["a"]\nrule r { must be json }', []),
        (f'@deprecated\nlexicon l = m\nlexicon m = ["a"]\n{RULE}', []),
        ('lexicon l = ["a"]', []),
        ('lexicon l = ["a"]\nrule f(x: number) { must have at most x words }', []),
        ('lexicon l = ["a"]\nimport a', []),
    ],
)
def test_what_no_rule_uses(text: str, names: list[str]) -> None:
    assert unused(text) == names


def test_a_tool_of_an_example_is_no_use() -> None:
    example = 'complies { user "u" assistant calls l(a: 1) }'
    assert unused(f'lexicon l = ["a"]\nrule r {{ must be json {example} }}') == ["l"]


def test_what_uses_an_unused_declaration_is_named() -> None:
    (first, second) = found(f'lexicon l = ["a"]\ndefine d as response mentions any of l\n{RULE}')
    assert first.notes == ("only `d` names it, and no rule comes to `d`",)
    assert second.notes == ()


def test_nothing_is_called_unused_beside_an_error() -> None:
    text = 'lexicon greetings = ["a"]\nrule r { must mention any of greeting }'
    assert [each.code for each in compile_source(Source("p", text)).diagnostics] == ["P101"]


@pytest.mark.parametrize(
    "path",
    sorted([*(ROOT / "examples").glob("*/*.bylaw*"), *(ROOT / "spec" / "std").glob("*.bylaw")]),
    ids=lambda path: path.name,
)
def test_examples_and_the_library_use_what_they_declare(path: Path) -> None:
    source = Source.of(path.name, path.read_text(encoding="utf-8"))
    assert [each.message for each in lint(parse(source).module) if each.code == "P605"] == []


# ---------------------------------------------------------------------------------------------------------- comments
def shown(text: str, *extra: Diagnostic) -> list[str]:
    """The codes of a policy with what is silenced taken away."""
    source = Source.of("p.bylaw", text)
    result = parse(source)
    return [each.code for each in silence([*result.diagnostics, *lint(result.module), *extra], source)]


LATE = 'must not contain " late "'


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        (f'rule r {{\n  # bylaw: allow P602 because "printed so"\n  {LATE}\n}}', []),
        (f'rule r {{\n  {LATE} # bylaw: allow P602 because "printed so"\n}}', []),
        (f'#bylaw:allow P602, P404 because "so"\n\n# more\nrule r {{ {LATE} or contain /[^admin]/ }}', []),
        (
            '# bylaw: allow P602 because "so"\n# bylaw: allow P404 because "so"\n'
            f"rule r {{ {LATE} or contain /[^admin]/ }}",
            [],
        ),
        (f'# bylaw: allow P602 because "so"\r\nrule r {{ {LATE} }}\r\n', []),
        (f'# bylaw: allow P602 because "so"\nrule q {{ must be json }}\nrule r {{ {LATE} }}', ["P612", "P602"]),
        (f'rule r {{ {LATE} }}\n# bylaw: allow P602 because "so"', ["P602", "P612"]),
        (f'# bylaw: allow P404, P602 because "so"\nrule r {{ {LATE} }}', ["P612"]),
        (f"# bylaw: allow P602\nrule r {{ {LATE} }}", ["P611", "P602"]),
        (f'# bylaw: allow P602 because "  "\nrule r {{ {LATE} }}', ["P611", "P602"]),
        (f"# bylaw: allow P602 because 'so'\nrule r {{ {LATE} }}", ["P611", "P602"]),
        (f'# bylaw: allow P999 because "so"\nrule r {{ {LATE} }}', ["P611", "P602"]),
        (f"# bylaw: ignore everything\nrule r {{ {LATE} }}", ["P611", "P602"]),
        (f"# bylaw is nice\nrule r {{ {LATE} }}", ["P602"]),
        (f'rule r "# bylaw: allow P602" {{ {LATE} or contain /# bylaw: allow P602/ }}', ["P602"]),
        (f'rule r """\n# bylaw: allow P602\n""" {{ {LATE} }}', ["P602"]),
    ],
)
def test_silencing(text: str, codes: list[str]) -> None:
    assert shown(text) == codes


def test_errors_cannot_be_silenced_and_hide_nothing() -> None:
    text = '# bylaw: allow P103 because "so"\nrule r { must be jsno }\n# bylaw: allow P404 because "so"\nrule s { }'
    error = Diagnostic("P103", Severity.ERROR, "m", Label(Span(text.index("jsno"), text.index("jsno") + 4)))
    source = Source("p", text)
    found = silence([error], source)
    assert [(each.code, each.notes) for each in found] == [("P612", ("an error cannot be silenced",)), ("P103", ())]


def test_silence_leaves_other_files_as_they_are() -> None:
    diagnostics = compile_source(Source("p", "rule a { must be jsno }")).diagnostics
    assert silence(diagnostics, Source("p", "rule a { must be jsno }")) is diagnostics


def test_comments_of_imported_files(tmp_path: Path) -> None:
    main_file, words = tmp_path / "main.bylaw", tmp_path / "words.bylaw"
    main_file.write_text(f'import words\n# bylaw: allow P602 because "so"\nrule r {{ {LATE} }}\n', encoding="utf-8")
    comment = '# bylaw: allow P604 because "so"\n# bylaw: allow P404\n'
    words.write_text(f'{comment}lexicon l = ["a"]', encoding="utf-8")
    assert compile_file(main_file).diagnostics == ()
    of_words = compile_file(words)
    assert [each.code for each in of_words.diagnostics if each.is_error] == ["P611"]
    assert not of_words.ok


def test_comments_are_found_as_the_parser_finds_them() -> None:
    text = 'rule r { must contain "#no" # yes\n must not contain /#no/ }\nparam p: number = 4 / 2 # yes too\n"""#no'
    source = Source("p", text)
    assert [source.slice(span) for span in comments(source)] == ["# yes", "# yes too"]
