"""`bylaw residual`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bylaw.runtime.cli.paths import PolicyPath
from bylaw.runtime.cli.shared import LEFT_OUT, POLICY_ERROR, UNUSABLE, compile_or_exit, fail
from bylaw.spec.trace import FactValue, written

if TYPE_CHECKING:
    from bylaw.compiler.residual import Residual
    from bylaw.spec.expression import Expression
    from bylaw.spec.regulator import RegulatorSet

_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")


@click.command("residual")
@click.argument("rules", type=PolicyPath())
@click.option("--given", "given", multiple=True, metavar="FACT=VALUE", help="A fact that is known; may be repeated.")
@click.option("--facts", "facts_path", type=click.Path(), help="JSON file with facts that are known.")
@click.option("--prompt", help="The prompt, where it is known.")
@click.option("--why", "is_why", is_flag=True, help="Say in a comment for each rule that is gone why it is.")
@click.option(
    "--format",
    "output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How to print what is left.",
)
def command(
    rules: str, given: tuple[str, ...], facts_path: str | None, prompt: str | None, is_why: bool, output: str
) -> None:
    """Print what is left of the policy RULES once some facts are known, as a policy.

    Rules that cannot count any more are gone, and what the facts decide is gone from the conditions of the others;
    examples and tests are left out. Wherever the facts are as given, the policy that is printed gives the same verdicts
    as the original, which is checked before it is printed.

    \b
    bylaw residual rules.bylaw --given user.age=15 --given meta.channel=sms --why

    Values are numbers (15), true or false, and texts: anything else, or anything in double quotes ("15"). A JSON file
    has dotted names, or objects: {"user": {"age": 15}}.

    Exit code 3 when something that is gone or decided could not be taken out of the text, such as a rule of an included
    file; the policy still means the same.
    """
    compiled = compile_or_exit(rules)
    assert compiled.regulators is not None
    facts = dict(_from_file(facts_path)) if facts_path is not None else {}
    named: dict[str, FactValue] = {}
    for path, value in map(_fact, given):
        if named.setdefault(path, value) != value:
            fail(f"`{path}` is given twice, as {named[path]!r} and as {value!r}", UNUSABLE)
    facts |= named
    _require_known(facts, compiled.regulators)
    from bylaw.compiler.residual import residual
    from bylaw.compiler.residual.conditions import Given

    found = residual(compiled, Path(rules), Given(facts, prompt))
    if found.problems:
        click.echo("error: what is left of this policy cannot be written as a policy that says the same", err=True)
        for problem in found.problems:
            click.echo(f"  {problem}", err=True)
        raise SystemExit(POLICY_ERROR)
    for name, reason in found.kept_whole:
        click.echo(f"note: `{name}` is left as it is: {reason}", err=True)
    if output == "json":
        click.echo(json.dumps(_as_data(found, facts, prompt), ensure_ascii=False, indent=2))
    else:
        click.echo(_commented(found, facts, prompt, compiled.regulators.policy, is_why), nl=False)
    raise SystemExit(LEFT_OUT if found.kept_whole else 0)


# -------------------------------------------------------------------------------------------------------------- facts
def _fact(text: str) -> tuple[str, FactValue]:
    name, sign, value = text.partition("=")
    name = name.strip()
    if not sign or not name:
        fail(f"`{text}` is no fact: write it as in `--given user.age=15`", UNUSABLE)
    return name, _value(value.strip())


def _value(text: str) -> FactValue:
    """A value as it is written: a number, true or false, or a text."""
    if text in ("true", "false"):
        return text == "true"
    if _NUMBER.fullmatch(text):
        return float(text)
    if len(text) >= 2 and text[0] == text[-1] == '"':
        try:
            return str(json.loads(text))
        except json.JSONDecodeError:
            return text[1:-1]
    return text


def _from_file(path: str) -> Iterator[tuple[str, FactValue]]:
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        fail(f"`{path}` cannot be read: {getattr(error, 'strerror', None) or 'it is not UTF-8 text'}", UNUSABLE)
    except json.JSONDecodeError as error:
        fail(f"`{path}` is not JSON: {error}", UNUSABLE)
    if not isinstance(data, dict):
        fail(f'`{path}` has to be a JSON object with facts, such as {{"user.age": 15}}', UNUSABLE)
    yield from _flat(data, "", path)


def _flat(data: Mapping[str, Any], before: str, path: str) -> Iterator[tuple[str, FactValue]]:
    for name, value in data.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{name}.", path)
        elif isinstance(value, (str, bool)):
            yield f"{before}{name}", value
        elif isinstance(value, (int, float)):
            yield f"{before}{name}", float(value)
        else:
            fail(f"`{before}{name}` in `{path}` is neither a number, nor a text, nor true or false", UNUSABLE)


def _require_known(facts: Mapping[str, FactValue], policy: RegulatorSet) -> None:
    """Exits with code 2 for a fact that no rule asks for, or a value that is of no use to any rule."""
    from bylaw.compiler.values import Unknown, fact_as_number, fact_as_truth
    from bylaw.spec import catalog
    from bylaw.spec.expression import BooleanFact, Fact, NumberFact

    uses: dict[str, set[type]] = {}
    for part in _parts(policy):
        if isinstance(part, (Fact, NumberFact, BooleanFact)) and not part.path.startswith("it."):
            uses.setdefault(part.path, set()).add(type(part))
    for path, value in facts.items():
        if path not in uses:
            nearest = catalog.nearest(path, tuple(sorted(uses)))
            meant = f"; did you mean `{nearest}`?" if nearest else ""
            known = "" if nearest or not uses else f"; they ask for {', '.join(f'`{each}`' for each in sorted(uses))}"
            fail(f"no rule asks for `{path}`{meant}{known}", UNUSABLE)
        if uses[path] == {NumberFact} and isinstance(fact_as_number(value, path), Unknown):
            fail(f"the rules take `{path}` to be a number, and {_shown(value)} is none", UNUSABLE)
        if uses[path] == {BooleanFact} and isinstance(fact_as_truth(value, path), Unknown):
            fail(f"the rules take `{path}` to be true or false, and {_shown(value)} is neither", UNUSABLE)


def _parts(policy: RegulatorSet) -> Iterator[Expression]:
    """Everything that is said in a policy."""
    from bylaw.spec.logic import walk

    for each in policy.regulators:
        for said in (each.condition, each.obligation, each.value, each.event, each.among):
            if said is not None:
                yield from walk(said)
    for exception in policy.exceptions:
        if exception.condition is not None:
            yield from walk(exception.condition)


# ------------------------------------------------------------------------------------------------------------- output
def _commented(found: Residual, facts: Mapping[str, FactValue], prompt: str | None, policy: str, is_why: bool) -> str:
    """The text with what it is, and on request what is gone, in comments above it."""
    known = [f"`{path}` is {_shown(value)}" for path, value in facts.items()]
    known += [] if prompt is None else [f"the prompt is {_shown(prompt)}"]
    where = f" where {' and '.join(known)}" if known else ""
    lines = [f"# What is left of {policy}{where}; without examples, tests and comments."]
    if is_why:
        lines += [f"# `{name}` is gone: {reason}" for name, reason in found.gone]
    return "\n".join(line.replace("\n", " ") for line in lines) + "\n\n" + found.text


def _as_data(found: Residual, facts: Mapping[str, FactValue], prompt: str | None) -> dict[str, Any]:
    return {
        "given": dict(facts),
        "prompt": prompt,
        "rules": list(found.rules),
        "gone": [{"name": name, "why": reason} for name, reason in found.gone],
        "kept_whole": [{"name": name, "why": reason} for name, reason in found.kept_whole],
        "text": found.text,
    }


def _shown(value: FactValue) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else written(value)
