"""Lints of patterns: words in square brackets, ranges, anchors, dots of domains, empty alternatives, idle parts."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bylaw.spec import ast, catalog
from bylaw.spec.errors import Diagnostic, Fix, Label, Severity
from bylaw.spec.expression import Regex
from bylaw.spec.lints import Use
from bylaw.spec.pattern import (
    Alternate,
    Assertion,
    Chars,
    Concat,
    Empty,
    Node,
    PatternError,
    Repeat,
    parse_pattern,
)
from bylaw.spec.source import Span

_MASKED = "\x00"
_CLASS = re.compile(r"\\.|\[(?P<negated>\^?)(?P<inside>\]?(?:[^\]\\]|\\.)*)\]", re.DOTALL)
_RANGE_OR_ESCAPE = re.compile(r"\\.|[^-]-[^-]", re.DOTALL)
_WIDE_RANGE = re.compile(r"(?<!\\)[A-Z]-[a-z]")
_DOMAIN_IN_CLASS = re.compile(r"[A-Za-z]{2,}\.[A-Za-z]{2,}")
_WORDS_IN_CLASS = re.compile(r"[A-Za-z]{2,}(?:\|[A-Za-z]{2,})+")
_RUN = re.compile(r"[a-z]{4,}|[A-Z]{4,}")
_DOMAIN = re.compile(
    r"(?<![A-Za-z0-9-])[A-Za-z0-9-]{2,63}(?:\.[A-Za-z0-9-]{2,63}){0,5}?"
    r"\.(?:com|org|net|edu|gov|info|example)(?:\.[a-z]{2})?(?![A-Za-z0-9*+?{-])"
)
_MAXIMUM_SHOWN = 30
_LONGEST_WITNESS = 60
_SEARCHES = frozenset({Use.CONTAIN, Use.MENTION})


def lint_pattern(pattern: ast.Pattern, uses: frozenset[Use]) -> Iterator[Diagnostic]:
    """Yield what looks wrong in a pattern, given what is done with it. A pattern that cannot be used gets none."""
    try:
        tree = parse_pattern(pattern.source, pattern.flags)
    except PatternError:
        return
    masked = _CLASS.sub(lambda match: _MASKED * len(match[0]), pattern.source)
    yield from _words_in_classes(pattern, uses)
    yield from _wide_ranges(pattern)
    yield from _half_anchored(pattern, masked, uses)
    yield from _domains(pattern, masked)
    if empty := _found_everywhere(pattern, tree, masked, uses):
        yield empty
    else:
        yield from _without_effect(pattern, masked, uses)


def _warning(code: str, message: str, primary: Label, *notes: str, fix: Fix | None = None) -> Diagnostic:
    return Diagnostic(code, Severity.WARNING, message, primary, notes=notes, fix=fix)


def _span(pattern: ast.Pattern, start: int, end: int) -> Span:
    """Return the span of a stretch of a pattern's source, which stands between slashes exactly as written."""
    return Span(pattern.span.start + 1 + start, pattern.span.start + 1 + end)


# ------------------------------------------------------------------------------------------------ ranges of letters
def _wide_ranges(pattern: ast.Pattern) -> Iterator[Diagnostic]:
    """P420: `[A-z]` holds the signs between `Z` and `a` too."""
    for match in _CLASS.finditer(pattern.source):
        for wide in _WIDE_RANGE.finditer(match["inside"] or ""):
            start = match.start("inside") + wide.start()
            first, last = wide[0][0], wide[0][2]
            between = " ".join(chr(point) for point in range(ord("Z") + 1, ord("a")))
            yield _warning(
                "P420",
                f"`{wide[0]}` holds more than letters",
                Label(_span(pattern, start, start + 3), "a range over both cases"),
                f"between the capitals and the small letters stand {between}",
                fix=Fix(f"write `{first}-Za-{last}`", _span(pattern, start, start + 3), f"{first}-Za-{last}"),
            )


# ------------------------------------------------------------------------------------------ a word in square brackets
def _words_in_classes(pattern: ast.Pattern, uses: frozenset[Use]) -> Iterator[Diagnostic]:
    """P404: `[^company.com]` excludes characters, not the word."""
    for match in _CLASS.finditer(pattern.source):
        if match["inside"] is None:
            continue
        negated = bool(match["negated"])
        word = _word_of(match["inside"], negated)
        if word is None:
            continue
        members = sorted(set(re.sub(r"\\(.)", r"\1", match["inside"])))
        shown = " ".join(members[:_MAXIMUM_SHOWN]) + (" ..." if len(members) > _MAXIMUM_SHOWN else "")
        span = _span(pattern, *match.span())
        if negated:
            witness = _escaping(pattern, match, uses)
            notes = () if witness is None else (f'shortest text that escapes it: "{witness}"',)
            yield _warning(
                "P404",
                f"`{match[0]}` excludes single characters, not the word",
                Label(span, f"matches one character that is none of: {shown}"),
                *notes,
                fix=Fix(f'say what is meant in words, as in `does not contain "{word}"`'),
            )
            continue
        fix = Fix(f"write `({match['inside']})`", span, f"({match['inside']})") if "|" in word else None
        yield _warning(
            "P404",
            f"`{match[0]}` stands for one character, not for a word",
            Label(span, f"matches one character of: {shown}"),
            fix=fix,
        )


def _word_of(inside: str, negated: bool) -> str | None:
    """Return the word that was probably meant to be in square brackets, or None for ordinary characters.

    Vowels, grades, bases and the like are written in the order of the alphabet or with few vowels; words are not.
    """
    plain = _RANGE_OR_ESCAPE.sub(lambda found: "." if found[0] == "\\." else " ", inside)
    if found := _DOMAIN_IN_CLASS.search(plain) or _WORDS_IN_CLASS.search(plain):
        return found[0]
    for run in _RUN.findall(plain):
        if len(set(run)) < len(run):
            return str(run)
        vowels = sum(letter in "aeiouAEIOU" for letter in run)
        if negated and len(run) > vowels >= len(run) / 3 and sorted(run) != list(run):
            return str(run)
    return None


def _escaping(pattern: ast.Pattern, match: re.Match[str], uses: frozenset[Use]) -> str | None:
    """Return the shortest text that fits all of a pattern but for one negated class, if the pattern misses it."""
    source = f"{pattern.source[: match.start()]}[{match['inside']}]{pattern.source[match.end() :]}"
    try:
        text = _shortest(parse_pattern(source, pattern.flags))
    except PatternError:
        return None
    if not text.isprintable() or len(text) > _LONGEST_WITNESS:
        return None
    verb = catalog.predicate("match" if uses == {Use.WHOLE} else "contain")
    return None if verb.find(text, Regex(pattern.source, pattern.flags)) else text


def _shortest(node: Node) -> str:
    """Return a shortest text of a pattern, its assertions left out."""
    match node:
        case Chars(charset):
            return charset.pick() if charset else ""
        case Concat(items):
            return "".join(map(_shortest, items))
        case Alternate(items):
            return min(map(_shortest, items), key=len)
        case Repeat(item, least):
            return _shortest(item) * least
        case _:
            return ""


# ------------------------------------------------------------------------------------------ anchors, dots, no effect
def _alternatives(masked: str) -> list[tuple[int, int]]:
    """Return where the outermost alternatives of a pattern begin and end."""
    depth, start, found = 0, 0, []
    for place, character in enumerate(masked):
        depth += (character == "(") - (character == ")")
        if character == "|" and depth == 0:
            found.append((start, place))
            start = place + 1
    return [*found, (start, len(masked))]


def _half_anchored(pattern: ast.Pattern, masked: str, uses: frozenset[Use]) -> Iterator[Diagnostic]:
    """P405: in `^a|b$` each anchor belongs to one alternative. `^x|x$`, an x at either end, is meant as it stands."""
    parts = _alternatives(masked)
    if len(parts) < 2 or uses == {Use.WHOLE}:
        return
    (start, stop), (last, end) = parts[0], parts[-1]
    begins = masked.startswith("^", start) and not masked.endswith("$", start, stop)
    ends = masked.endswith("$", last, end) and not masked.startswith("^", last)
    source = pattern.source
    if not (begins and ends) or source[start + 1 : stop] == source[last : end - 1]:
        return
    inner = f"^({source[start + 1 : end - 1]})$"
    yield Diagnostic(
        "P405",
        Severity.WARNING,
        "the anchors of this pattern belong to its first and last alternative only",
        Label(_span(pattern, start, start + 1), f"only `{source[start + 1 : stop]}` has to be at the start"),
        (Label(_span(pattern, end - 1, end), f"only `{source[last : end - 1]}` has to be at the end"),),
        ("`|` binds less tightly than anything else in a pattern",),
        Fix(f"write `{inner}` if both are meant for all", _span(pattern, 0, len(source)), inner),
    )


def _domains(pattern: ast.Pattern, masked: str) -> Iterator[Diagnostic]:
    """P406: the dot of `acme.com` stands for any character."""
    for match in _DOMAIN.finditer(masked):
        text = match[0]
        wanted = text.replace(".", "\\.")
        several = text.count(".") > 1
        span = _span(pattern, *match.span())
        yield _warning(
            "P406",
            f"{'the dots' if several else 'the dot'} of `{text}` {'stand' if several else 'stands'} for any character",
            Label(span, f"matches `{text.replace('.', 'x')}` as well"),
            fix=Fix(f"write `{wanted}`", span, wanted),
        )


def _found_everywhere(pattern: ast.Pattern, tree: Node, masked: str, uses: frozenset[Use]) -> Diagnostic | None:
    """P407: an alternative that is empty by mistake, or a pattern that is satisfied with nothing at all."""
    doubled = masked.find("||")
    if doubled >= 0:
        span = _span(pattern, doubled, doubled + 2)
        return _warning(
            "P407",
            "an alternative of this pattern is empty",
            Label(span, "nothing stands between these two"),
            "an alternative that is empty matches nothing at all, wherever it is tried",
            fix=Fix("write one `|`", span, "|"),
        )
    if not uses or Use.WHOLE in uses or not _takes_nothing(tree):
        return None
    return _warning(
        "P407",
        "this pattern is found in every text",
        Label(pattern.span, "it can match nothing at all, which is everywhere"),
        "every part of it may be left out, because of `?`, `*`, `{0,...}` or an alternative that is empty",
    )


def _takes_nothing(node: Node) -> bool:
    """Whether a pattern matches the empty text anywhere; a pattern that depends on its place does not."""
    match node:
        case Empty():
            return True
        case Concat(items):
            return all(map(_takes_nothing, items))
        case Alternate(items):
            return any(map(_takes_nothing, items))
        case Repeat(item, least):
            return least == 0 or _takes_nothing(item)
        case Assertion():
            return False
    return False


def _without_effect(pattern: ast.Pattern, masked: str, uses: frozenset[Use]) -> Iterator[Diagnostic]:
    """P408: anchors and `.*` at the ends of a pattern that the verb implies already; a note, for it does no harm."""
    if len(uses) != 1:
        return
    (use,) = uses
    leading = {"^": use in (Use.WHOLE, Use.START), ".*": use in _SEARCHES or use is Use.END}
    trailing = {"$": use in (Use.WHOLE, Use.END), ".*": use in _SEARCHES or use is Use.START}
    front = re.match(r"\^|\.\*\??", masked)
    back = re.search(r"(?:\$|\.\*\??)\Z", masked)
    pieces = []
    if front and leading.get(front[0].removesuffix("?"), False):
        pieces.append((front, "begins at the start anyway" if front[0] == "^" else "may begin anywhere anyway"))
    if back and trailing.get(back[0].removesuffix("?"), False):
        pieces.append((back, "goes to the end anyway" if back[0] == "$" else "may end anywhere anyway"))
    if not pieces or sum(len(found[0]) for found, _ in pieces) >= len(masked):
        return
    for found, why in pieces:
        span = _span(pattern, *found.span())
        label = Label(span, "the whole text has to match anyway" if use is Use.WHOLE else f"`{use.value}` {why}")
        fix = Fix(f"delete `{found[0]}`", span, "", safe=True)
        yield Diagnostic("P408", Severity.NOTE, f"`{found[0]}` changes nothing here", label, fix=fix)
