"""The parse tables of `grammar.lark`: built by Lark, shipped as JSON, read without Lark.

Regenerate after every edit of the grammar:

    python -m bylaw.spec.grammar_tables

`load` compares the digest of the grammar beside it with the one in the JSON; where they differ it builds the tables
from the grammar (correct, but slower), so an edited grammar is never parsed with stale tables.
"""

from __future__ import annotations

import itertools
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lark import Lark

FORMAT = 2
REGENERATE = "python -m bylaw.spec.grammar_tables"
START = "start"
END_OF_TEXT = "$END"

_ROOM = Path(__file__).parent
_GRAMMAR_FILE = "grammar.lark"
_TABLES_FILE = "grammar_tables.json"


@dataclass(frozen=True, slots=True)
class Rule:
    """One production: which handler gets which of its symbols. `kept` are (index, is spliced) pairs."""

    origin: str
    handler: str
    size: int
    kept: tuple[tuple[int, bool], ...]
    is_spliced: bool
    passes_single_child: bool


@dataclass(frozen=True, slots=True)
class Tables:
    """LALR(1) tables and what the lexer needs to know about the terminals.

    `states[i]` maps a symbol to the next state (zero or more) or to `-1 - rule` for a reduction. `literals` gives the
    text of a fixed terminal, `patterns` the regular expression of every other one. `phrases` maps a first word to the
    (terminal, further words) it may begin, the ones to try first in front; `starts` maps any other first character to
    the terminals it may begin, likewise.
    """

    digest: str
    start_state: int
    end_state: int
    states: tuple[Mapping[str, int], ...]
    rules: tuple[Rule, ...]
    literals: Mapping[str, str]
    patterns: Mapping[str, str]
    phrases: Mapping[str, tuple[tuple[str, tuple[str, ...]], ...]]
    starts: Mapping[str, tuple[str, ...]]


@cache
def load() -> Tables:
    """Return the tables of the grammar, shipped ones where they fit the grammar, else freshly built ones."""
    grammar = (_ROOM / _GRAMMAR_FILE).read_text(encoding="utf-8")
    return _shipped(digest_of(grammar)) or from_json(build(grammar))


def _shipped(digest: str) -> Tables | None:
    """Return the tables beside the grammar if they are those of `digest`; None for others, broken ones or none."""
    try:
        data = json.loads((_ROOM / _TABLES_FILE).read_text(encoding="utf-8"))
        return from_json(data) if data["digest"] == digest else None
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def digest_of(grammar: str) -> str:
    """Return the digest that ties tables to a grammar text and to this module's table format."""
    text = f"{FORMAT}\n{grammar}".encode()
    return f"{len(text)}-{zlib.crc32(text):08x}"


def from_json(data: Mapping[str, Any]) -> Tables:
    """Return the tables that `build` wrote as plain data."""
    return Tables(
        digest=data["digest"],
        start_state=data["start_state"],
        end_state=data["end_state"],
        states=tuple(data["states"]),
        rules=tuple(Rule(o, h, n, tuple((i, e) for i, e in kept), s, p) for o, h, n, kept, s, p in data["rules"]),
        literals=data["literals"],
        patterns=data["patterns"],
        phrases={word: tuple((name, tuple(rest)) for name, rest in found) for word, found in data["phrases"].items()},
        starts={character: tuple(names) for character, names in data["starts"].items()},
    )


def build_parser(grammar: str, strict: bool = False) -> Lark:
    """Return Lark's own LALR parser of a grammar; `strict` makes every conflict and collision an error.

    Raises:
        lark.exceptions.LarkError: the grammar is wrong, has a conflict, or (strict) terminals collide.
    """
    from lark import Lark

    return Lark(grammar, parser="lalr", lexer="contextual", start=START, maybe_placeholders=False, strict=strict)


def build(grammar: str) -> dict[str, Any]:
    """Return the tables of a grammar as plain data for JSON.

    Raises:
        lark.exceptions.LarkError: the grammar is wrong or has a conflict.
    """
    from lark.parsers.lalr_analysis import Shift

    parser = build_parser(grammar)
    table = parser.parser.parser._parse_table
    order = _state_order(table)
    rule_numbers: dict[Any, int] = {}
    states = []
    for state in order:
        row = {}
        for symbol, (action, target) in sorted(table.states[state].items(), key=lambda pair: pair[0]):
            if action is Shift:
                row[symbol] = order[target]
            else:
                row[symbol] = -1 - rule_numbers.setdefault(target, len(rule_numbers))
        states.append(row)
    tokens = [terminal for terminal in parser.terminals if terminal.name not in parser.ignore_tokens]
    tokens.sort(key=lambda token: (-token.priority, -token.pattern.max_width, -len(token.pattern.value), token.name))
    return {
        "digest": digest_of(grammar),
        "start_state": order[table.start_states[START]],
        "end_state": order[table.end_states[START]],
        "states": states,
        "rules": [_rule_json(rule) for rule in rule_numbers],
        "literals": {t.name: t.pattern.value for t in tokens if t.pattern.type == "str"},
        "patterns": {t.name: t.pattern.to_regexp() for t in tokens if t.pattern.type != "str"},
        **_first_words(tokens),
    }


def _state_order(table: Any) -> dict[int, int]:
    """Return a number for each state that depends on the grammar only; Lark's own differ from run to run."""
    first = table.start_states[START]
    order = {first: 0}
    waiting = [first]
    for state in waiting:
        for _, (_, target) in sorted(table.states[state].items(), key=lambda pair: pair[0]):
            if isinstance(target, int) and target not in order:
                order[target] = len(order)
                waiting.append(target)
    return order


def _rule_json(rule: Any) -> list[Any]:
    """Return a production with Lark's tree shaping: filtered symbols, `_spliced` rules, `?` rules."""
    origin = rule.origin.name
    kept = []
    for index, symbol in enumerate(rule.expansion):
        is_spliced = not symbol.is_term and symbol.name.startswith("_")
        if not (symbol.is_term and symbol.filter_out) or rule.options.keep_all_tokens:
            kept.append([index, is_spliced])
    is_spliced_rule = origin.startswith("_")
    passes = bool(rule.options.expand1) and not rule.alias
    return [origin, rule.alias or origin, len(rule.expansion), kept, is_spliced_rule, passes]


def _first_words(tokens: Iterable[Any]) -> dict[str, Any]:
    """Return, for terminals in the order of precedence, which first word or character may begin which of them."""
    phrases: dict[str, list[tuple[str, list[str]]]] = {}
    starts: dict[str, list[str]] = {}
    for token in tokens:
        if token.pattern.type == "str":
            if token.pattern.value[0].isalpha():
                phrases.setdefault(token.pattern.value, []).append((token.name, []))
            else:
                starts.setdefault(token.pattern.value[0], []).append(token.name)
        elif token.name.isupper() and token.pattern.value.endswith(r"\b"):
            for phrase in _phrases(token.pattern.value.removesuffix(r"\b")):
                first, *rest = phrase.split()
                phrases.setdefault(first, []).append((token.name, rest))
        elif token.name != "NAME":
            for character in _first_characters(token.pattern.to_regexp()):
                starts.setdefault(character, []).append(token.name)
    for found in phrases.values():
        found.sort(key=lambda pair: -len(pair[1]))
    return {"phrases": phrases, "starts": starts}


def _phrases(pattern: str) -> list[str]:
    """Return every phrase that a word terminal's regular expression matches, one blank between words."""
    return sorted(set(_expand_sequence(re._parser.parse(pattern))))


def _expand_sequence(nodes: Iterable[Any]) -> Iterator[str]:
    for choice in itertools.product(*(list(_expand_node(*node)) for node in nodes)):
        yield "".join(choice)


def _expand_node(operation: Any, argument: Any) -> Iterator[str]:
    name = str(operation)
    if name == "LITERAL":
        yield chr(argument)
    elif name == "SUBPATTERN":
        yield from _expand_sequence(argument[3])
    elif name == "BRANCH":
        for branch in argument[1]:
            yield from _expand_sequence(branch)
    elif name == "MAX_REPEAT" and argument[0] == 0:
        yield ""
        yield from _expand_sequence(argument[2])
    elif name == "MAX_REPEAT":  # \s+ between words
        yield " "
    elif name == "IN":
        yield from (chr(value) for kind, value in argument if str(kind) == "LITERAL")
    else:
        raise ValueError(f"a word terminal may hold words, groups, `|`, `?` and `\\s+`, not {name}")


def _first_characters(pattern: str) -> list[str]:
    """Return the characters a regular expression's match can start with."""
    return sorted(set(_first_of_sequence(re._parser.parse(pattern))))


def _first_of_sequence(nodes: Iterable[Any]) -> Iterator[str]:
    for operation, argument in nodes:
        name = str(operation)
        if name == "LITERAL":
            yield chr(argument)
        elif name == "IN":
            for kind, value in argument:
                low, high = value if str(kind) == "RANGE" else (value, value)
                yield from map(chr, range(low, high + 1))
        elif name == "SUBPATTERN":
            yield from _first_of_sequence(argument[3])
        elif name == "BRANCH":
            for branch in argument[1]:
                yield from _first_of_sequence(branch)
        elif name == "MAX_REPEAT" and argument[0] > 0:
            yield from _first_of_sequence(argument[2])
        else:
            raise ValueError(f"a terminal must start with a character or a class of characters, not {name}")
        return


def main() -> None:
    """Write the tables of the grammar beside it."""
    data = build((_ROOM / _GRAMMAR_FILE).read_text(encoding="utf-8"))
    target = _ROOM / _TABLES_FILE
    target.write_text(json.dumps(data, separators=(",", ":"), ensure_ascii=True) + "\n", encoding="utf-8")
    print(f"{target}: {len(data['states'])} states, {len(data['rules'])} rules")


if __name__ == "__main__":
    main()
