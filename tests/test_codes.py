"""Every code has a page, and every policy on a page does what the page says."""

from __future__ import annotations

import json
import re
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import click
import pytest
from click.testing import CliRunner, Result
from conftest import Golden

from bylaw.compiler.pipeline import compile_source
from bylaw.runtime.cli import main
from bylaw.spec.errors import CODES, Diagnostic, render
from bylaw.spec.formatter import format_text
from bylaw.spec.pages import FOLDER, GROUPS, by_group, page
from bylaw.spec.source import Source

# What a file alone cannot show: it cannot be read, it needs other files or prose, or the mistake shows on a model.
WITHOUT_BLOCKS = {"P009", "P114", "P115", "P116", "P614", "P615", "P701", "P702", "P703"}
# What comes with a code: a comment that is not complete leaves the warning that it is about.
ALSO = {"P611": {"P602"}}


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["explain", *arguments])


def diagnose(source: Source) -> tuple[Diagnostic, ...]:
    """What a check says."""
    return compile_source(source, Path(source.path), proofs=True).diagnostics


# ------------------------------------------------------------------------------------------------------------- pages
def test_every_code_has_a_page_and_every_page_a_code() -> None:
    assert {path.stem for path in FOLDER.glob("*.md")} == set(CODES)


@pytest.mark.parametrize("code", CODES)
def test_page_has_the_form(code: str) -> None:
    found = page(code)
    assert found.title == CODES[code]
    assert found.meaning
    assert found.meaning.endswith(".")
    assert len(found.markdown.split("\n## ")[0].splitlines()) < 12, "say what it means in a few sentences"
    headings = re.findall(r"^## (.+)$", found.markdown, re.MULTILINE)
    expected = [] if code in WITHOUT_BLOCKS else ["Avoid", "Prefer"]
    assert headings in (expected, [*expected, "Why"])
    assert found.markdown.count("```bylaw\n") == len(expected)
    assert max(map(len, found.markdown.splitlines())) <= 120


@pytest.mark.parametrize("code", [code for code in CODES if code not in WITHOUT_BLOCKS])
def test_avoid_gives_the_code_and_nothing_else(code: str, golden: Golden) -> None:
    source = Source("avoid.bylaw", page(code).block("Avoid") or "")
    found = diagnose(source)
    assert {diagnostic.code for diagnostic in found} == {code, *ALSO.get(code, ())}
    golden.check(f"codes/{code}.txt", "\n".join(render(diagnostic, source) for diagnostic in found))


@pytest.mark.parametrize("code", [code for code in CODES if code not in WITHOUT_BLOCKS])
def test_prefer_gives_nothing(code: str) -> None:
    source = Source("prefer.bylaw", page(code).block("Prefer") or "")
    assert [render(diagnostic, source) for diagnostic in diagnose(source)] == []
    assert source.text != page(code).block("Avoid")
    assert format_text(source.path, source.text) == source.text


def test_every_code_is_in_one_group() -> None:
    assert sorted(code for _, codes in by_group() for code in codes) == sorted(CODES)
    assert {code[:2] for code in CODES} == set(GROUPS)


# ----------------------------------------------------------------------------------------------------------- explain
def test_explain_prints_the_page() -> None:
    for argument in ("P203", "p203"):
        result = call(argument)
        assert result.exit_code == 0
        assert result.output.startswith(f"P203: {CODES['P203']}\n")
        assert "    rule no_prices at user {\n" in result.output
        assert "```" not in result.output
        assert "#" not in result.output


def test_explain_in_other_formats() -> None:
    assert call("P203", "--format", "markdown").output == page("P203").markdown
    found = json.loads(call("--format", "json", "P203").output)
    assert (found["code"], found["avoid"]) == ("P203", page("P203").block("Avoid"))
    assert found["markdown"] == page("P203").markdown


@pytest.mark.parametrize(
    ("code", "words"), [("P799", "did you mean `P7"), ("P20", "did you mean `P20"), ("X", "lists")]
)
def test_an_unknown_code_is_one_message(code: str, words: str) -> None:
    result = call(code)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"error: there is no code `{code}`")
    assert words in result.stderr


def test_what_is_no_code_is_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    @click.argument("rules")
    @click.option("--format", "output")
    def verdict(rules: str, output: str) -> None:
        click.echo(f"{rules} {output}")

    name = "bylaw.runtime.cli.explain_verdict"
    module = ModuleType(name)
    module.command = verdict  # type: ignore[attr-defined]
    module.__spec__ = ModuleSpec(name, None)
    monkeypatch.setitem(sys.modules, name, module)
    assert call("--format", "html", "rules.bylaw").output == "rules.bylaw html\n"
    assert call("P203").output.startswith("P203: ")
    assert call("P2O3").exit_code == 2
    assert "explain [OPTIONS] RULES" in call("--prompt", "hi", "rules.bylaw").output
    assert call("--format", "text").output.startswith("Writing\n")


@pytest.mark.parametrize("output", ["text", "markdown", "json"])
def test_without_a_code_all_are_listed(output: str) -> None:
    result = call("--format", output)
    assert result.exit_code == 0
    assert set(re.findall(r"\bP\d{3}\b", result.output)) == set(CODES)
    assert all(title in result.output for title in GROUPS.values())
