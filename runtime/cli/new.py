"""`bylaw new`: something to begin with, which is sound as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import click

from bylaw.runtime.cli.paths import PolicyPath
from bylaw.runtime.cli.shared import POLICY_ERROR, UNUSABLE, fail, show

_PART = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

POLICY = """policy {name} version "0.1.0" edition 1

levels root > developer > user

lexicon promises "words that promise money" = ["full refund", "we will refund"]

rule no_promises "Money is promised by people only" at root {{
  because "A promise of the assistant binds the organisation."
  must not mention any of promises
  violates "You get a full refund."
  complies "A colleague will look at your refund."
}}

rule brief "Answers stay short" at user {{
  should have at most 120 words
  complies "A colleague will look at your refund."
}}
"""
RULE = """rule {name} "What it asks for, in a few words"{level} {{
  because "Why it is there."
  must not mention any of ["first phrase", "second phrase"]
  violates "A text with the first phrase in it."
  complies "A text without either."
}}
"""
PREDICATE = '''"""`be {name}`: the text has no exclamation mark."""

from bylaw.spec.catalog import Language, Predicate, PredicateExample
from bylaw.spec.charset import CharSet
from bylaw.spec.expression import Extent, Matcher
from bylaw.spec.pattern import Chars, Repeat

_MARKS = CharSet.of("!\\uff01")


def find(text: str, matcher: Matcher | None) -> tuple[Extent, ...]:
    """The extents that show that it holds, here the whole text; nothing when it does not hold."""
    return () if any(character in _MARKS for character in text) else (Extent(0, len(text)),)


def language(matcher: Matcher | None) -> Language | None:
    """The same as a regular language, for proofs and for the decoder; None where it is not regular."""
    return Language("full", Repeat(Chars(_MARKS.complement()), 0, None))


PREDICATE = Predicate(
    summary="the text has no exclamation mark",
    takes_matchers=False,
    find=find,
    language=language,
    examples=(
        PredicateExample("Good morning.", (), True),
        PredicateExample("Good morning!", (), False),
        PredicateExample("", (), True),
    ),
)
'''
HINT = (
    "next: say what it is in `summary`, write `find` and `language`, give examples of both kinds, then run\n"
    "  python -m pytest tests/test_catalog.py -k {name}\n"
    "and add its line to the table in spec/LANGUAGE.md"
)


@click.group("new")
def command() -> None:
    """Begin a policy, a rule or a predicate from a model. Nothing that exists is overwritten."""


@command.command("policy")
@click.argument("name")
@click.option("--dir", "folder", type=click.Path(), default=".", help="Where to write it.  [default: here]")
def policy(name: str, folder: str) -> None:
    """Write a policy that is sound as it stands, for you to change.

    The file is called after the last part of NAME: `acme.support` becomes support.bylaw.
    """
    path = Path(folder) / f"{_parts(name)[-1]}.bylaw"
    text = POLICY.format(name=name)
    _require_sound(str(path), text, name)
    _create(path, text)
    click.echo(f"{path}: written; `bylaw check {path}` checks it")


@command.command("rule")
@click.argument("name")
@click.option("--into", "file", type=PolicyPath(), help="Add it to the end of this policy.  [default: print it]")
@click.option("--level", help="The level it stands at.  [default: the weakest]")
def rule(name: str, file: str | None, level: str | None) -> None:
    """Print a rule to begin with, or add it to a policy."""
    text = RULE.format(name=name, level=f" at {level}" if level else "")
    _require_sound("new rule", text, name, is_part=True)
    if file is None:
        click.echo(text, nl=False)
    else:
        _add(file, text, name)
        click.echo(f"{file}: rule `{name}` added")


@command.command("predicate")
@click.argument("name")
@click.option("--dir", "folder", type=click.Path(), help="Where to write it.  [default: spec/predicates of a checkout]")
def predicate(name: str, folder: str | None) -> None:
    """Write a predicate to begin with: something that a text can be, with its examples.

    A predicate is one file of bylaw itself, so this is for a checkout of its source, or for --dir.
    """
    if not re.fullmatch(r"[a-z_][a-z0-9_]*", name):
        fail(f"`{name}` cannot name a predicate: use a-z, 0-9 and `_`", UNUSABLE)
    from bylaw.spec import catalog

    if folder is None and name in catalog.names("predicates"):
        fail(f"there is a predicate `{name}` already", UNUSABLE)
    path = (_catalog() if folder is None else Path(folder)) / f"{name}.py"
    _require_property(name)
    _create(path, PREDICATE.format(name=name))
    click.echo(f"{path}: written\n{HINT.format(name=name)}")


def _parts(name: str) -> list[str]:
    parts = name.split(".")
    if not all(_PART.fullmatch(part) for part in parts):
        fail(f"`{name}` cannot name a policy: names are made of a-z, A-Z, 0-9 and `_`, with dots between", UNUSABLE)
    return parts


def _catalog() -> Path:
    """The folder of predicates of the checkout that runs."""
    from bylaw.spec import catalog

    root = Path(catalog.__file__).resolve().parents[1]
    if not (root / "pyproject.toml").is_file():
        fail("a predicate is part of bylaw itself: run this in a checkout of its source, or name a folder", UNUSABLE)
    return root / "spec" / "predicates"


def _require_property(name: str) -> None:
    """Ends the command when `must be NAME` would not be read as a property."""
    from bylaw.spec import ast
    from bylaw.spec.parser import parse
    from bylaw.spec.source import Source
    from bylaw.spec.transform import RESERVED_WORDS

    parsed = parse(Source("new predicate", f"rule r {{ must be {name} }}"))
    found = [node.property.text for node in ast.walk(parsed.module) if isinstance(node, ast.IsProperty)]
    if name in RESERVED_WORDS or found != [name] or not parsed.is_ok:
        fail(f"`{name}` is a word of the language: choose another name", UNUSABLE)


def _require_sound(path: str, text: str, name: str, *, is_part: bool = False) -> None:
    """Ends the command when a name makes the text unsound, as a reserved word does."""
    from bylaw.spec.parser import parse
    from bylaw.spec.source import Source

    if is_part and not _PART.fullmatch(name):
        fail(f"`{name}` is no name: names are made of a-z, A-Z, 0-9 and `_`, and do not begin with a digit", UNUSABLE)
    source = Source(path, text)
    diagnostics = parse(source).diagnostics
    if diagnostics:
        show(diagnostics, source)
        raise SystemExit(UNUSABLE)


def _add(file: str, text: str, name: str) -> None:
    """Adds a rule to the end of a policy, in a block of its own where the file is Markdown."""
    from bylaw.compiler.pipeline import compile_source
    from bylaw.spec.errors import SourceError, place
    from bylaw.spec.fixes import write_atomically
    from bylaw.spec.source import LITERATE_SUFFIX, Source, read_text

    try:
        before = read_text(file)
    except SourceError as error:
        show(error.diagnostics, error.source)
        raise SystemExit(UNUSABLE) from None
    old = compile_source(Source.of(file, before), Path(file))
    newline = "\r\n" if "\r\n" in before else "\n"
    block = f"```bylaw\n{text}```\n" if file.endswith(LITERATE_SUFFIX) else text
    gap = "" if not before.strip() else "\n" if before.endswith("\n") else "\n\n"
    after = before + f"{gap}{block}".replace("\n", newline)
    new = compile_source(Source.of(file, after), Path(file))
    own = [each for each in new.diagnostics if place(new.source, each.primary.span)[0] == new.source.path]
    added = [each for each in own if each.is_error and each.primary.span.start >= len(before) - 1]
    if added or len(new.module.items) <= len(old.module.items):
        show(added or new.diagnostics, new.source)
        fail(f"rule `{name}` is not added to `{file}`, which stays as it is", POLICY_ERROR)
    try:
        write_atomically(Path(file), after)
    except OSError as error:
        fail(f"`{file}` cannot be written: {error.strerror or error}", UNUSABLE)


def _create(path: Path, text: str) -> None:
    """Writes a file that is not there yet."""
    try:
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except FileExistsError:
        fail(f"`{path}` exists already and is not overwritten", UNUSABLE)
    except OSError as error:
        fail(f"`{path}` cannot be written: {error.strerror or error}", UNUSABLE)
