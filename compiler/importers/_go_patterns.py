"""Patterns in the syntax of Go (RE2) in the syntax of the policy language, and what every match of one must hold.

Both are regular. What differs is spelling: named groups, named classes such as `[[:alnum:]]`, `\\z`, `\\Q...\\E`.
Reference: https://github.com/google/re2/wiki/Syntax
"""

from __future__ import annotations

import re
from itertools import product
from types import MappingProxyType

from bylaw.compiler.importers._writing import escaped
from bylaw.spec.pattern import Alternate, Chars, Concat, Node, PatternError, Repeat

_NAMED_CLASSES = MappingProxyType(
    {
        "alnum": "0-9A-Za-z",
        "alpha": "A-Za-z",
        "ascii": r"\x00-\x7F",
        "blank": r"\t ",
        "cntrl": r"\x00-\x1F\x7F",
        "digit": "0-9",
        "graph": "!-~",
        "lower": "a-z",
        "print": " -~",
        "punct": r"!-\/:-@\[-`{-~",
        "space": r"\t\n\x0B\f\r ",
        "upper": "A-Z",
        "word": "0-9A-Za-z_",
        "xdigit": "0-9A-Fa-f",
    }
)
_TOKEN = re.compile(
    r"\\Q(?P<quoted>.*?)(?:\\E|\Z)|\(\?P?<(?P<group>[A-Za-z_]\w*)>|\[:(?P<negated>\^?)(?P<class>[a-z]+):\]"
    r"|(?P<brace>\{),[0-9]+\}|\\(?P<escape>.)|(?P<open>\[\^?\]?)|(?P<close>\])|(?P<other>.)",
    re.DOTALL,
)
_LARGEST_SET = 64
_LARGEST_CLASS = 8


def translated(source: str) -> str:
    """The same pattern in the syntax of the policy language.

    Raises:
        PatternError: something has no counterpart. Whether the rest is a pattern is for `parse_pattern` to say.
    """
    out: list[str] = []
    is_class, place = False, 0
    while match := _TOKEN.match(source, place):
        kind, place = match.lastgroup, match.end()
        if kind == "class" and is_class:
            out.append(_named_class(match))
        elif kind == "class":  # outside of brackets these are brackets around a few characters
            is_class, place = True, match.start() + 1
            out.append("[")
        elif kind == "quoted":
            out.append(escaped(match["quoted"]))
        elif kind == "group" and not is_class:
            out.append("(")
        elif kind == "brace" and not is_class:  # without a lower number it is no repeat, but these characters
            out.append("\\" + match[0])
        elif kind == "escape":
            out.append(_escape(match, is_class, place))
        elif kind == "open" and not is_class:
            is_class = True
            out.append(match[0].replace("]", r"\]"))
        elif kind == "close":
            is_class = False
            out.append("]")
        else:
            place = match.start() + 1
            out.append(match[0][0])
    return "".join(out)


def _named_class(match: re.Match[str]) -> str:
    if match["negated"] or match["class"] not in _NAMED_CLASSES:
        raise PatternError(f"the class `{match[0]}` has no counterpart", match.start(), len(match[0]))
    return _NAMED_CLASSES[match["class"]]


def _escape(match: re.Match[str], is_class: bool, end: int) -> str:
    """An escape that RE2 has and we write otherwise; all others stay."""
    letter = match["escape"]
    plain = {"a": r"\x07", "v": r"\x0B"}
    anchors = {"A": "(?-m:^)", "z": "(?-m:$)"}
    if letter in plain:
        return plain[letter]
    if letter in anchors and not is_class:
        return anchors[letter]
    if letter in "pPC":
        raise PatternError(f"`\\{letter}` has no counterpart", end - 2, 2)
    return match[0]


def always_holds(node: Node, words: tuple[str, ...]) -> bool:
    """Whether every text that a pattern matches holds one of the words, in any case. May say no where it does.

    `words` are case-folded. Only stretches of the pattern that stand for few texts are looked at.
    """
    match node:
        case Alternate(items):
            return all(always_holds(item, words) for item in items)
        case Concat(items):
            if any(always_holds(item, words) for item in items):
                return True
            run: frozenset[str] | None = frozenset([""])
            for item in items:
                run = _joined(run, _texts(item))
                if run is None:
                    run = _texts(item) or frozenset([""])
                if _all_hold(run, words):
                    return True
            return False
        case Repeat(item, least):
            texts = _texts(node)
            return (least > 0 and always_holds(item, words)) or (texts is not None and _all_hold(texts, words))
        case _:
            texts = _texts(node)
            return texts is not None and _all_hold(texts, words)


def _all_hold(texts: frozenset[str], words: tuple[str, ...]) -> bool:
    return all(any(word in text for word in words) for text in texts)


def _texts(node: Node) -> frozenset[str] | None:
    """The texts of a node, case-folded, where they are few, else None. Assertions stand for the empty text."""
    match node:
        case Chars(charset):
            size = sum(last - first + 1 for first, last in charset.ranges)
            if size > _LARGEST_CLASS:
                return None
            points = (point for first, last in charset.ranges for point in range(first, last + 1))
            return frozenset(chr(point).casefold() for point in points)
        case Concat(items):
            whole: frozenset[str] | None = frozenset([""])
            for item in items:
                whole = _joined(whole, _texts(item))
            return whole
        case Alternate(items):
            found = [_texts(item) for item in items]
            union = frozenset(text for texts in found if texts is not None for text in texts)
            return union if None not in found and len(union) <= _LARGEST_SET else None
        case Repeat(item, least, most):
            if most is None or most > 4:
                return None
            texts = _texts(item)
            if texts is None or len(texts) ** most > _LARGEST_SET:
                return None
            return frozenset("".join(c) for times in range(least, most + 1) for c in product(texts, repeat=times))
        case _:
            return frozenset([""])


def _joined(left: frozenset[str] | None, right: frozenset[str] | None) -> frozenset[str] | None:
    if left is None or right is None or len(left) * len(right) > _LARGEST_SET:
        return None
    return frozenset(one + other for one in left for other in right)
