"""Says in the author's words why a chunk does not parse: from a parser's `Failure` to a `Diagnostic`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from types import MappingProxyType

from bylaw.spec.chunks import Chunk
from bylaw.spec.errors import Diagnostic, Fix, Label, Severity
from bylaw.spec.grammar_tables import END_OF_TEXT, Tables
from bylaw.spec.lalr import UNKNOWN, Failure, Token
from bylaw.spec.source import Source, Span
from bylaw.spec.transform_terms import words

_MAXIMUM_ALTERNATIVES = 5
_SHOWN_LENGTH = 40

_VERBS = words("FIND MATCH START_WITH END_WITH HAVE BE EXPRESS QUOTE FOLLOW PRECEDE OCCUR")
_RULE_WORDS = words("MUST MUST_NOT SHOULD SHOULD_NOT MAY NEED_NOT MODAL_TRAP")
_PLAIN_RULE_WORDS = words("must should may")
_COMPARISONS = words("EQUAL UNEQUAL LESS LESS_EQUAL MORE MORE_EQUAL")
_TEXTS = words("STRING LONG_STRING STRING_TRAP")
_NUMBERS = words("INT DECIMAL PERCENT")
_NOUNS = words("QUANTIFIER NUMBER_OF SCORE_OF CALL_TO OUTPUT_OF MESSAGE_FROM NAME")
_VALUES = _NOUNS | _TEXTS | _NUMBERS | {"REGEX", "LSQB", "TRUE_FALSE", "MINUS", "LPAR", "NOT"}
_BOUNDS = words("AT_LEAST AT_MOST EXACTLY MORE_THAN FEWER_THAN BETWEEN")
_CLAUSES = words(
    "WHEN UNLESS BECAUSE SOURCE OVERRIDES WAIVABLE_BY WAIVABLE NOT_WAIVABLE ENFORCE ON_VIOLATION LIMIT PREFER VERDICT"
)
_SENTENCE_STARTS = words(
    "when unless because source overrides waivable not on limit prefer complies violates skips waived"
)
_DECLARATIONS = words(
    "IMPORT_KIND LEVELS PARAM LEXICON SUITE CONCEPT_KIND DEFINE RULE EXCEPTION APPLY EXAMPLES TEST AT POLICY"
)

# What to say when all of the first set may come next; the second set is then said as well.
_PHRASES: tuple[tuple[frozenset[str], frozenset[str], str], ...] = (
    (frozenset(("RULE", "IMPORT_KIND")), _DECLARATIONS, "a declaration such as `rule` or `concept`"),
    (frozenset(("WHEN", "BECAUSE", "LIMIT")), _CLAUSES | _NOUNS | _RULE_WORDS, "another sentence of the rule"),
    (frozenset(("RBRACE",)), frozenset(), "`}`"),
    (frozenset(("RPAR",)), frozenset(), "`)`"),
    (frozenset(("RSQB",)), frozenset(), "`]`"),
    (frozenset(("MUST", "SHOULD")), _RULE_WORDS, "`must`, `should` or `may`"),
    (frozenset(("FIND", "HAVE")), _VERBS | {"DOES_NOT"}, "a verb such as `contain`, `have` or `be`"),
    (frozenset(("AT_LEAST", "AT_MOST")), _BOUNDS, "an amount such as `at least 3`"),
    (frozenset(("NAME", "STRING", "INT")), _VALUES, "a value"),
    (frozenset(("NAME", "QUANTIFIER")), _NOUNS, "a thing such as `response`"),
    (frozenset(("STRING",)), _TEXTS, "a text in double quotes"),
    (frozenset(("INT", "DECIMAL")), _NUMBERS | {"MINUS"}, "a number"),
    (frozenset(("INT",)), frozenset(), "a whole number"),
    (frozenset(("NAME",)), frozenset(), "a name"),
    (frozenset(("REGEX",)), frozenset(), "a pattern between slashes"),
    (frozenset(("LSQB",)), frozenset(), "a list in square brackets"),
    (frozenset(("TRUE_FALSE",)), frozenset(), "`true` or `false`"),
    (frozenset(("VERDICT",)), frozenset(), "`complies`, `violates`, `skips` or `waived`"),
    (frozenset(("ROLE",)), frozenset(), "`user`, `assistant`, `system` or `developer`"),
    (frozenset(("CONCEPT_KIND",)), frozenset(), "`concept` or `topic`"),
    (frozenset(("EQUAL", "LESS")), _COMPARISONS | {"MORE"}, "a comparison such as `>=`"),
    (frozenset(("PLUS", "MINUS")), frozenset(("STAR", "SLASH", "PER")), "an operator such as `+`"),
    (frozenset((END_OF_TEXT,)), frozenset(), "the end of the declaration"),
)

_BASE_FORMS = MappingProxyType(
    {"has": "have", "is": "be", "are": "be", "matches": "match", "expresses": "express"}
    | {f"{verb}s": verb for verb in ("contain", "mention", "quote", "follow", "precede", "occur", "start", "end")}
)
_VERB_WORDS = frozenset(_BASE_FORMS) | frozenset(_BASE_FORMS.values())
_INSTEAD = MappingProxyType(
    {
        "&": ("write `and`", "and"),
        "|": ("write `or`", "or"),
        "!": ("write `not`", "not"),
        ";": ("delete it: sentences need no ending mark", ""),
        "`": ('write `"`', '"'),
    }
)
_PARTS_OF_LIMITS = MappingProxyType(
    {
        "where": "a limit is about some responses with `of responses where`, an average with `over responses where`",
        "for": "a limit holds for the responses to each prompt with `for each prompt`",
        "price": "a limit may cost so much with `price at most 3`, in nats",
    }
)


def explain(failure: Failure, source: Source, tables: Tables) -> Diagnostic:
    """Return what is wrong where a parse stopped."""
    if failure.found.type == UNKNOWN:
        return _unknown_character(failure.found)
    return _capital_rule_word(failure) or _stated_fact(failure) or _general(failure, source, tables)


def unclosed_brace(chunk: Chunk, source: Source, following: int | None) -> Diagnostic:
    """Return P003 for a chunk with an open brace; `following` is the offset of the next declaration's first word."""
    message = "a `{` is never closed"
    if chunk.suspect is not None:
        opened, closed = chunk.suspect
        marks = (Label(Span(closed, closed + 1), "this `}` stands further left, so one before it is missing"),)
        note = "by the indentation, the closing `}` is missing somewhere between the two marks"
        return _error("P003", message, Label(Span(opened, opened + 1), "opened here"), marks, (note,))
    opened = chunk.unclosed[-1]
    primary = Label(Span(opened, opened + 1), "opened here")
    opener = re.compile(r"\w*").match(source.text, first_word(source, chunk.start))
    inside = opener[0] if opener and opener[0] else "declaration"
    if following is None:
        end = len(source.text.rstrip())
        fix = Fix("add `}` at the end", Span(end, end), "\n}")
        return _error("P003", message, primary, (), ("the file ends before the closing `}`",), fix)
    word = re.compile(r"@|\w+").match(source.text, following)
    shown = word[0] if word else source.text[following]
    line = source.position(following)[0]
    mark = Label(Span(following, following + len(shown)), f"`{shown}` cannot start inside {_article(inside)}")
    note = "the closing `}` is missing somewhere between the two marks"
    place = source.line_span(line).start
    return _error(
        "P003", message, primary, (mark,), (note,), Fix(f"add `}}` before line {line}", Span(place, place), "}\n")
    )


def too_deep(span: Span, limit: int) -> Diagnostic:
    """Return P006 for an expression with too many operators inside one another."""
    note = f"operators and brackets may stand {limit} deep; give a part a name with `define`"
    return _error("P006", "this is nested too deeply", Label(span), (), (note,))


def misplaced_header(span: Span) -> Diagnostic:
    """Return P005 for a `policy` line that is not the first declaration."""
    note = "a file holds one policy, and its `policy` line stands before everything else"
    return _error("P005", "the `policy` line does not stand first", Label(span), (), (note,))


def _error(
    code: str,
    message: str,
    primary: Label,
    secondary: tuple[Label, ...] = (),
    notes: tuple[str, ...] = (),
    fix: Fix | None = None,
) -> Diagnostic:
    return Diagnostic(code, Severity.ERROR, message, primary, secondary, notes, fix)


def _article(word: str) -> str:
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


def first_word(source: Source, offset: int) -> int:
    """Return the offset of the first character from here on that is neither white space nor in a comment."""
    match = re.compile(r"(?:\s++|#[^\n]*+)*+").match(source.text, offset)
    return match.end() if match else offset


def _unknown_character(found: Token) -> Diagnostic:
    label = Label(found.span)
    if found.text in _INSTEAD:
        description, replacement = _INSTEAD[found.text]
        fix = Fix(description, found.span, replacement, safe=found.text == ";")
        return _error("P008", f"`{found.text}` has no meaning here", label, fix=fix)
    if found.text.isdigit():
        return _error("P005", "a number runs into what follows", label, (), ("put a blank between the two",))
    return _error("P008", f"`{found.text}` has no meaning here", label)


def _capital_rule_word(failure: Failure) -> Diagnostic | None:
    """Return P202 for `Must` and the like, which read as names."""
    if "MUST" not in failure.expected:
        return None
    for token in (failure.found, *failure.tokens[-1:]):
        wanted = token.text.lower()
        if token.type == "NAME" and wanted in _PLAIN_RULE_WORDS and token.text != wanted:
            notes = ("rule words are written in lower case, or all in capitals",)
            fix = Fix(f"write `{wanted}`", token.span, wanted, safe=True)
            return _error("P202", f"`{token.text}` is not one of the six rule words", Label(token.span), (), notes, fix)
    return None


def _stated_fact(failure: Failure) -> Diagnostic | None:
    """Return P004 where a verb stands in a rule and a rule word should stand before it."""
    verb: Token | None = None
    if "MUST" in failure.expected:
        previous = failure.tokens[-1] if failure.tokens else None
        if failure.found.type in _VERBS | _COMPARISONS | {"DOES_NOT"}:
            verb = failure.found
        elif previous is not None and previous.type == "NAME" and previous.text in _VERB_WORDS:
            verb = previous
    if verb is None:
        return None
    notes = (
        "inside a rule every sentence says what the response must, should or may do",
        "to make it a condition, start the line with `when`",
    )
    fix = None
    if verb.type == "DOES_NOT":
        fix = Fix("write `must not`", verb.span, "must not")
    elif verb.type not in _COMPARISONS:
        first, *rest = verb.text.split()
        wanted = " ".join(("must", _BASE_FORMS.get(first, first), *rest))
        fix = Fix(f"write `{wanted}`", verb.span, wanted)
    what = "comparison" if verb.type in _COMPARISONS else "verb"
    label = Label(verb.span, f"expected `must`, `should` or `may` before this {what}")
    return _error("P004", "this sentence states a fact, not a rule", label, (), notes, fix)


def _general(failure: Failure, source: Source, tables: Tables) -> Diagnostic:
    found, expected = failure.found, failure.expected
    wanted = _listing(describe(expected, tables))
    after = f" after {_quoted(failure.tokens[-1].text)}" if failure.tokens else ""
    if found.type == END_OF_TEXT:
        last = failure.tokens[-1].span if failure.tokens else found.span
        follows = first_word(source, found.start)
        ends = "the file ends" if follows >= len(source.text) else "the next declaration begins"
        return _error("P005", f"expected {wanted}{after}, but {ends}", Label(last, "this is not finished"))
    notes: tuple[str, ...] = ()
    fix = _meant_keyword(found, expected, tables)
    if found.type in _RULE_WORDS and expected & _VERBS:
        notes = ("a condition states a fact: write `contains`, not `must contain`",)
    elif found.type == "SLASH" and "REGEX" in expected:
        notes = ("a pattern stands between two `/` on one line and does not start with a blank (write `[ ]` for one)",)
    elif found.type in _NUMBERS and "AT_LEAST" in expected:
        notes = ("say `at least`, `at most` or `exactly` before the number",)
    elif "MUST" in expected and failure.tokens and failure.tokens[-1].text in _PARTS_OF_LIMITS:
        notes = (_PARTS_OF_LIMITS[failure.tokens[-1].text],)
    elif [token.text for token in failure.tokens[-2:-1]] == ["price"] and failure.tokens[-1].type in _NUMBERS:
        notes = (_PARTS_OF_LIMITS["price"],)
    elif fix is None and "MUST" in expected and failure.tokens:
        fix = _meant_word(failure.tokens[-1], _SENTENCE_STARTS)
    message = f"expected {wanted}{after}, but found {_quoted(found.text)}"
    return _error("P005", message, Label(found.span), (), notes, fix)


def describe(expected: Iterable[str], tables: Tables) -> list[str]:
    """Return at most five phrases for what may come next; never a terminal's name."""
    remaining = set(expected)
    phrases: list[str] = []
    for needed, absorbed, phrase in _PHRASES:
        if needed <= remaining:
            phrases.append(phrase)
            remaining -= needed | absorbed
    # the end of a declaration is worth a word only where little else could come
    if len(phrases) > 1 and "the end of the declaration" in phrases:
        phrases.remove("the end of the declaration")
    keywords = sorted(f"`{tables.literals[name]}`" for name in remaining if name in tables.literals)
    return (phrases + keywords)[:_MAXIMUM_ALTERNATIVES] or ["something else"]


def _listing(phrases: list[str]) -> str:
    return phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])} or {phrases[-1]}"


def _quoted(text: str) -> str:
    shown = " ".join(text.split())
    return f"`{shown if len(shown) <= _SHOWN_LENGTH else shown[: _SHOWN_LENGTH - 1] + '…'}`"


def _meant_keyword(found: Token, expected: frozenset[str], tables: Tables) -> Fix | None:
    """Return the keyword that a word here was probably meant to be."""
    known = {word for word, found_by in tables.phrases.items() if any(name in expected for name, _ in found_by)}
    return _meant_word(found, frozenset(word for word in known if not word.isupper() and len(word) > 1))


def _meant_word(found: Token, known: frozenset[str]) -> Fix | None:
    if not found.text[:1].isalpha():
        return None
    from difflib import get_close_matches  # only wrong input pays for it

    near = get_close_matches(found.text.lower(), sorted(known), n=1, cutoff=0.75)
    return Fix(f"write `{near[0]}`", found.span, near[0]) if near else None
