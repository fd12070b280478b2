"""What the parser says about wrong policies, word for word.

`tests/golden/diagnostics_syntax.txt` holds policies and the messages for them; after a wanted change of wording run
`python tests/test_diagnostics_syntax.py` to write the messages anew, and read the difference.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bylaw.spec.errors import CODES, Diagnostic, Fix, Label, Severity, render, to_json, visible
from bylaw.spec.parser import parse
from bylaw.spec.source import Source, Span

GOLDEN = Path(__file__).parent / "golden" / "diagnostics_syntax.txt"
DESIGN = Path(__file__).resolve().parents[2] / "shared" / "design" / "language" / "diagnostics.txt"

_CASE = re.compile(r"^=== (?P<name>.+)\n(?P<policy>(?:.*\n)*?)--- says\n(?P<says>(?:.*\n)*?)(?=^=== |\Z)", re.MULTILINE)


def cases() -> list[tuple[str, str, str]]:
    text = GOLDEN.read_text(encoding="utf-8")
    return [(match["name"], match["policy"].removesuffix("\n"), match["says"]) for match in _CASE.finditer(text)]


def messages(policy: str) -> str:
    # characters that an editor or git would not keep are written as escapes in the golden file
    text = re.sub(r"<U\+([0-9A-F]{4})>", lambda match: chr(int(match[1], 16)), policy)
    result = parse(Source("policy.bylaw", text))
    return "\n".join(render(diagnostic, result.source) for diagnostic in result.diagnostics)


@pytest.mark.parametrize(("name", "policy", "says"), cases(), ids=lambda value: value if "\n" not in value else "")
def test_messages(name: str, policy: str, says: str) -> None:
    assert messages(policy) == says.strip("\n") + "\n", "python tests/test_diagnostics_syntax.py writes them anew"


@pytest.mark.parametrize("number", range(1, 9))
def test_messages_are_those_of_the_design(number: int) -> None:
    if not DESIGN.is_file():
        pytest.skip(f"no design at {DESIGN}")
    wanted = re.split(r"^## .*\n", DESIGN.read_text(encoding="utf-8"), flags=re.MULTILINE)[number].strip("\n") + "\n"
    # A command that applies fixes is not there yet, so the mark does not name one.
    wanted = wanted.replace("[fixable with `fmt --fix`]", "[safe to apply]")
    assert wanted in {says.strip("\n") + "\n" for _, _, says in cases()}


def test_every_syntax_code_has_a_case() -> None:
    said = set(re.findall(r"^error\[(P\d+)\]", GOLDEN.read_text(encoding="utf-8"), re.MULTILINE))
    syntax = {code for code in CODES if code < "P100"} | {"P201", "P202", "P203", "P204"}
    assert syntax - said == {"P006", "P009"}  # of whole files: tests/test_parser.py


def test_no_message_names_a_terminal() -> None:
    for _, policy, _ in cases():
        for diagnostic in parse(Source("p", policy)).diagnostics:
            assert not re.search(r"\b[A-Z]+_[A-Z]+\b|\$|__|ANON", diagnostic.message), diagnostic.message
            assert diagnostic.message[0].islower() or diagnostic.message[0] == "`"
            assert diagnostic.code in CODES


@pytest.mark.parametrize(("name", "policy", "says"), cases(), ids=lambda value: value if "\n" not in value else "")
def test_a_safe_fix_removes_its_message(name: str, policy: str, says: str) -> None:
    for diagnostic in parse(Source("p", policy)).diagnostics:
        fix = diagnostic.fix
        if fix and fix.safe and fix.span:
            fixed = policy[: fix.span.start] + fix.replacement + policy[fix.span.end :]
            left = parse(Source("p", fixed)).diagnostics
            assert len(left) < len(parse(Source("p", policy)).diagnostics)


def test_marks_allow_for_wide_characters_and_tabs() -> None:
    source = Source("p", '\t漢字 "é" x\u200b\n')
    place = source.text.index("x")
    shown = render(Diagnostic("P005", Severity.WARNING, "here", Label(Span(place, place + 2), "this")), source)
    assert (
        shown == 'warning[P005]: here\n --> p:1:9\n  |\n1 |     漢字 "é" x\\u{200b}\n  |              ^^^^^^^^^ this\n'
    )


def test_colour_adds_escapes_only() -> None:
    source = Source("p\x1b[2J", "a b")
    diagnostic = Diagnostic("P005", Severity.ERROR, "here", Label(Span(2, 3)), (Label(Span(0, 1), "there"),), ("n",))
    plain = render(diagnostic, source)
    assert re.sub(r"\x1b\[[0-9;]*m", "", render(diagnostic, source, colour=True)) == plain
    assert "\x1b" not in plain
    assert visible("a\x1b\u202eb") == "a\\u{001b}\\u{202e}b"


def test_json_has_the_same_facts() -> None:
    source = Source("p", "ab\ncd")
    fix = Fix("write `x`", Span(3, 5), "x", safe=True)
    found = to_json(Diagnostic("P005", Severity.ERROR, "here", Label(Span(3, 5), "m"), (), ("n",), fix), source)
    place = {"start": 3, "end": 5, "line": 2, "column": 1, "end_line": 2, "end_column": 3}
    assert found == {
        "code": "P005",
        "severity": "error",
        "message": "here",
        "path": "p",
        "primary": {"message": "m", **place},
        "secondary": [],
        "notes": ["n"],
        "fix": {"description": "write `x`", "span": place, "replacement": "x", "safe": True},
    }


def main() -> None:
    """Write the messages of every case anew."""
    parts = [f"=== {name}\n{policy}\n--- says\n{messages(policy)}\n" for name, policy, _ in cases()]
    GOLDEN.write_text("".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main()
