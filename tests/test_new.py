"""`bylaw new` and `bylaw upgrade`: what they write is sound, and nothing that exists is lost."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bylaw.compiler.pipeline import compile_file
from bylaw.runtime.cli import main
from bylaw.spec import ast, editions
from bylaw.spec.catalog import Predicate
from bylaw.spec.editions import Step, upgrade
from bylaw.spec.fixes import Edit
from bylaw.spec.formatter import format_text
from bylaw.spec.parser import parse
from bylaw.spec.pattern import compile_node
from bylaw.spec.source import Source

POLICY = 'policy a.b version "1" # new\nrule r { must be json }\n'


def call(*arguments: object) -> Result:
    result = CliRunner().invoke(main, list(map(str, arguments)))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def names(path: Path) -> list[str]:
    """The rules of a sound policy."""
    compiled = compile_file(path)
    assert compiled.ok
    assert compiled.diagnostics == ()
    return [item.name.text for item in compiled.module.items if isinstance(item, ast.RuleDecl)]


# ------------------------------------------------------------------------------------------------------------ policy
def test_a_new_policy_is_sound_and_never_overwrites(tmp_path: Path) -> None:
    path = tmp_path / "support.bylaw"
    assert call("new", "policy", "acme.support", "--dir", tmp_path).exit_code == 0
    assert names(path) == ["no_promises", "brief"]
    assert format_text("p.bylaw", path.read_text(encoding="utf-8")) == path.read_text(encoding="utf-8")
    header = compile_file(path).module.header
    assert header is not None
    assert header.name.text == "acme.support"
    path.write_text("mine", encoding="utf-8")
    result = call("new", "policy", "acme.support", "--dir", tmp_path)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "exists already and is not overwritten" in result.stderr
    assert path.read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("name", ["", "a b", "1a", "a..b", "../up", "é", "a/b", "-x"])
def test_a_policy_needs_a_name(name: str, tmp_path: Path) -> None:
    assert call("new", "policy", "--dir", tmp_path, "--", name).exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    result = call("new", "policy", "a", "--dir", tmp_path / "none")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: `")


# -------------------------------------------------------------------------------------------------------------- rule
def test_a_rule_is_printed_or_added(tmp_path: Path) -> None:
    path = tmp_path / "rules.bylaw"
    path.write_text(call("new", "rule", "kind").stdout, encoding="utf-8")
    assert names(path) == ["kind"]
    assert call("new", "rule", "second", "--into", path, "--level", "user").exit_code == 0
    assert names(path) == ["kind", "second"]
    text = path.read_text(encoding="utf-8")
    assert "\n}\n\nrule second " in text
    assert format_text("rules.bylaw", text) == text


@pytest.mark.parametrize(
    "before", ["", "rule r { must be json }", POLICY, POLICY.replace("\n", "\r\n"), "\ufeff" + POLICY]
)
def test_what_stands_there_stays(before: str, tmp_path: Path) -> None:
    path = tmp_path / "rules.bylaw"
    path.write_bytes(before.encode())
    assert call("new", "rule", "added", "--into", path).exit_code == 0
    after = path.read_bytes().decode()
    assert after.startswith(before)
    assert after.count("\r\n") in (0, after.count("\n"))
    assert compile_file(path).ok


def test_a_rule_goes_into_a_block_of_markdown(tmp_path: Path) -> None:
    path = tmp_path / "rules.bylaw.md"
    path.write_text(f"# Rules\n\n```bylaw\n{POLICY}```\n\nThe end.\n", encoding="utf-8")
    assert call("new", "rule", "added", "--into", path).exit_code == 0
    assert names(path) == ["r", "added"]


@pytest.mark.parametrize(
    ("name", "options", "words", "code"),
    [
        ("r", (), "declared twice", 1),
        ("added", ("--level", "nowhere"), "no level called `nowhere`", 1),
        ("must", (), "a word of the language", 2),
        ("a b", (), "is no name", 2),
        ("a.b", (), "is no name", 2),
        ('x" {', (), "is no name", 2),
    ],
)
def test_a_rule_that_does_not_fit_is_refused(
    name: str, options: tuple[str, ...], words: str, code: int, tmp_path: Path
) -> None:
    path = tmp_path / "rules.bylaw"
    path.write_text(POLICY, encoding="utf-8")
    result = call("new", "rule", name, "--into", path, *options)
    assert (result.exit_code, result.stdout) == (code, "")
    assert words in result.stderr
    assert path.read_text(encoding="utf-8") == POLICY


def test_a_rule_is_not_added_behind_an_open_brace(tmp_path: Path) -> None:
    path = tmp_path / "rules.bylaw"
    path.write_text("/* not a comment {{{", encoding="utf-8")
    before = path.read_bytes()
    result = call("new", "rule", "added", "--into", path)
    assert result.exit_code in (0, 1)
    assert result.exit_code == 0 or path.read_bytes() == before
    assert call("new", "rule", "added", "--into", tmp_path / "none.bylaw").exit_code == 2


# --------------------------------------------------------------------------------------------------------- predicate
def test_a_new_predicate_passes_the_laws_of_the_catalog(tmp_path: Path) -> None:
    result = call("new", "predicate", "calm", "--dir", tmp_path)
    assert result.exit_code == 0
    assert "tests/test_catalog.py" in result.stdout
    spec = importlib.util.spec_from_file_location("calm", tmp_path / "calm.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    predicate: Predicate = module.PREDICATE
    assert {example.holds for example in predicate.examples} == {True, False}
    language = predicate.language(None)
    assert language is not None
    for example in predicate.examples:
        assert bool(predicate.find(example.text, None)) is example.holds or example.text == ""
        assert (compile_node(language.node).fullmatch(example.text) is not None) is example.holds
    assert call("new", "predicate", "calm", "--dir", tmp_path).exit_code == 2


@pytest.mark.parametrize("name", ["json", "every", "about", "Calm", "in", "a.b", ""])
def test_a_predicate_needs_a_free_name(name: str, tmp_path: Path) -> None:
    folder = () if name == "json" else ("--dir", tmp_path)
    result = call("new", "predicate", name, *folder)
    assert (result.exit_code, result.stdout) == (2, "")
    assert list(tmp_path.iterdir()) == []


def test_a_predicate_needs_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bylaw.spec.catalog.__file__", str(tmp_path / "bylaw" / "spec" / "catalog.py"))
    result = call("new", "predicate", "calm")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "checkout" in result.stderr


# ----------------------------------------------------------------------------------------------------------- upgrade
@pytest.mark.parametrize(
    ("text", "after"),
    [
        (POLICY, POLICY.replace('"1" #', '"1" edition 1 #')),
        (
            "\ufeff" + POLICY.replace("\n", "\r\n"),
            "\ufeff" + POLICY.replace("\n", "\r\n").replace('"1"', '"1" edition 1'),
        ),
        (POLICY.replace('"1"', '"1" edition 1'), None),
        ("rule r { must be json }\n", None),
        ("", None),
    ],
)
def test_upgrade_names_the_edition(text: str, after: str | None, tmp_path: Path) -> None:
    path = tmp_path / "rules.bylaw"
    path.write_bytes(text.encode())
    for options, code, words in (
        (("--check",), int(after is not None), "to be upgraded"),
        (("--diff",), 0, "to be upgraded"),
        ((), 0, "upgraded: names its edition"),
        (("--check",), 0, "up to date"),
    ):
        result = call("upgrade", path, *options)
        assert result.exit_code == code
        assert (words if after else "up to date") in result.output
        assert path.read_bytes().decode() == (text if options and words != "up to date" else after or text)


def test_upgrade_of_prose_and_diff(tmp_path: Path) -> None:
    path = tmp_path / "rules.bylaw.md"
    text = f"“Prose” first.\n\n```bylaw\n{POLICY}```\n"
    path.write_text(text, encoding="utf-8")
    result = call("upgrade", "--diff", path)
    assert '-policy a.b version "1" # new\n+policy a.b version "1" edition 1 # new\n' in result.stdout
    assert call("upgrade", path).exit_code == 0
    assert path.read_text(encoding="utf-8") == text.replace('"1"', '"1" edition 1')


@pytest.mark.parametrize(
    ("wrong", "code", "words"),
    [
        ('policy a version "1" edition 2\nrule r { must be json }', 1, "there is no edition 2"),
        ('policy a version "1" edition 0\nrule r { must be json }', 1, "there is no edition 0"),
        ('policy a version "1"\nrule r { must be json', 1, "error[P003]"),
        (None, 2, "cannot be read"),
    ],
)
def test_upgrade_writes_nothing_when_one_file_is_wrong(
    wrong: str | None, code: int, words: str, tmp_path: Path
) -> None:
    old, path = tmp_path / "old.bylaw", tmp_path / "wrong.bylaw"
    old.write_text(POLICY, encoding="utf-8")
    if wrong is not None:
        path.write_text(wrong, encoding="utf-8")
    result = call("upgrade", old, path)
    assert result.exit_code == code
    assert words in result.stderr
    assert old.read_text(encoding="utf-8") == POLICY
    assert wrong is None or path.read_text(encoding="utf-8") == wrong


def test_the_check_knows_the_same_editions() -> None:
    text = 'policy a version "1" edition {}\nrule r {{ must be json }}'
    for edition in (0, 1, 2, 17):
        upgraded = upgrade("p", text.format(edition))
        module = parse(Source("p", text.format(edition))).module
        assert bool(upgraded.diagnostics) is (editions.unknown_edition(module) is not None) is (edition != 1)


def test_steps_run_in_order_and_only_from_their_edition() -> None:
    def to(edition: int, *more: Edit) -> Step:
        def rewrite(module: ast.Module) -> tuple[Edit, ...]:
            assert module.header is not None
            assert module.header.edition is not None
            span = module.header.edition.span
            return (Edit(span.start, span.end, str(edition)), *more)

        return Step(edition - 1, edition, f"to {edition}", rewrite)

    steps = (*editions.STEPS, to(2), to(3))
    for first, summaries in ((1, ("to 2", "to 3")), (2, ("to 3",)), (3, ())):
        done = upgrade("p", f'policy a version "1" edition {first}', steps, 3)
        assert (done.text, done.summaries) == ('policy a version "1" edition 3', summaries)
    assert upgrade("p", 'policy a version "1"', steps, 3).text.endswith("edition 3")
    broken = Step(1, 1, "breaks", lambda _: (Edit(0, 6, "polcy"),))
    assert upgrade("p", 'policy a version "1"', (broken,)).diagnostics
    assert upgrade("p", 'policy a version "1"', (broken,)).text == 'policy a version "1"'
