"""The rules of a gitleaks configuration (TOML): patterns of secrets that an answer must not contain.

Each rule with a regular expression becomes a rule of its own, so that reports name the kind of secret. gitleaks looks
at files; an answer has no path, and a pattern either occurs or not. So these parts of a rule have no counterpart, and
the account names each: the entropy that a match has to have, the files it has to stand in, the group of the match that
is the secret, and the allowlists. Without them a rule finds more, never less.

`keywords` are words of which one has to stand in the text, in any case. Where every match of the pattern has one
anyway nothing is written; elsewhere they become a condition.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import Any

from bylaw.compiler.importers import _writing as write
from bylaw.compiler.importers._go_patterns import always_holds, translated
from bylaw.compiler.importers.interface import AccountLine, Imported, Importer, ImportFailure, Naming
from bylaw.spec.pattern import PatternError, parse_pattern

_ID = re.compile(r"^[ \t]*id[ \t]*=[ \t]*(?P<quote>[\"'])(?P<id>[^\"'\n]+)(?P=quote)", re.MULTILINE)
_KNOWN = ("id", "description", "regex", "keywords", "entropy", "path", "secretGroup", "allowlist", "allowlists", "tags")
_WIDER = (
    ("entropy", "matches of any entropy count, not only of {value} and more"),
    ("path", "it counts wherever it stands, not only in files like `{value}`"),
    ("secretGroup", "the whole match is looked at, not only its group {value}"),
    ("allowlist", "its allowlist is left out"),
    ("allowlists", "its allowlists are left out"),
)


def read(text: str, naming: Naming) -> Imported:
    """The policy of a configuration.

    Raises:
        ImportFailure: the text is not TOML, or has no rules that can be written.
    """
    try:
        data = tomllib.loads(text.removeprefix("\ufeff"))
    except tomllib.TOMLDecodeError as error:
        raise ImportFailure("", f"this is not TOML: {error}") from error
    entries = data.get("rules")
    if not isinstance(entries, list) or not entries:
        raise ImportFailure("", "there is no `[[rules]]` table")
    account = list(_rest(data))
    taken: set[str] = set()
    rules: list[str] = []
    places = _places(text)
    for number, entry in enumerate(entries):
        name = entry.get("id") if isinstance(entry, dict) else None
        place = places.get(name, f"rules[{number}]") if isinstance(name, str) else f"rules[{number}]"
        rules += _rule(place, entry, taken, account)
    if not rules:
        raise ImportFailure("rules", "none of them has a pattern that can be written")
    opening = write.comment(f"Imported: {len(rules)} kinds of secrets, each with its pattern.")
    whole = "\n\n".join([opening, write.header(naming.policy), *rules])
    return Imported(write.laid_out(whole, ".bylaw"), tuple(account))


def _rest(data: dict[str, Any]) -> Iterator[AccountLine]:
    """What a configuration holds besides its rules."""
    for name, value in data.items():
        if name in ("rules", "title", "minVersion", "description"):
            continue
        if name not in ("allowlist", "allowlists"):
            reason = "the rules it adds stand in another file" if name == "extend" else "it has no counterpart"
            yield AccountLine(name, f"`{name}`", "skipped", reason)
            continue
        lists = value if isinstance(value, list) else [value]
        for entry in lists:
            for kind, items in entry.items() if isinstance(entry, dict) else ():
                for item in items if isinstance(items, list) else ():
                    yield AccountLine(f"{name}.{kind}", str(item), "skipped", "a pattern cannot except some matches")


def _places(text: str) -> dict[str, str]:
    """The line of each id that is written in a line of its own, as far as it can be told: the first one."""
    found: dict[str, str] = {}
    line = start = 0
    for match in _ID.finditer(text):
        line += text.count("\n", start, match.start("id"))
        start = match.start("id")
        found.setdefault(match["id"], f"line {line + 1}")
    return found


def _rule(place: str, entry: Any, taken: set[str], account: list[AccountLine]) -> list[str]:
    """One rule, or none; the account says which, and what of it has no counterpart."""
    if not isinstance(entry, dict) or not isinstance(entry.get("id"), str) or not entry["id"]:
        account.append(AccountLine(place, "rule", "unreadable", "it has no `id`"))
        return []
    what = f"rule `{entry['id']}`"
    source = entry.get("regex")
    if not isinstance(source, str) or not source:
        reason = "it is about the names of files only" if entry.get("path") else "it has no `regex`"
        account.append(AccountLine(place, what, "skipped", reason))
        return []
    keywords = entry.get("keywords", [])
    if not isinstance(keywords, list) or not all(isinstance(word, str) and word for word in keywords):
        account.append(AccountLine(place, what, "unreadable", "`keywords` is not a list of texts"))
        return []
    try:
        ours = translated(source)
        written = write.pattern(ours)
        words = tuple(word.casefold() for word in keywords)
        is_implied = not words or always_holds(parse_pattern(ours), words)
    except PatternError as error:
        account.append(AccountLine(place, what, "skipped", error.message))
        return []
    wider = [told.format(value=entry[name]) for name, told in _WIDER if entry.get(name)]
    wider += [f"`{name}` means nothing here" for name in entry if name not in _KNOWN]
    account.append(AccountLine(place, what, "changed" if wider else "imported", "; ".join(wider)))
    name = write.unused(write.identifier(entry["id"], "secret"), taken)
    title = f" {write.prose(entry['description'])}" if isinstance(entry.get("description"), str) else ""
    lines = [f"source {write.prose('gitleaks ' + entry['id'])}"]
    if not is_implied:
        found = ", ".join(write.pattern(write.escaped(word), "i") for word in words)
        lines.append(f"when response contains any of [{found}]")
    lines.append(f"must not contain {written}")
    return ["\n".join([f"rule {name}{title} at system {{", *(f"  {line}" for line in lines), "}"])]


IMPORTER = Importer(
    summary="the rules of a gitleaks configuration in TOML: one rule for each kind of secret",
    suffix=".bylaw",
    read=read,
)
