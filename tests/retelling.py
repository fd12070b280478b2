"""Whether a tree says all that its text says and nothing else: the tokens of the text against those of its reprint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bylaw.spec import ast
from bylaw.spec.lalr import Token
from bylaw.spec.parser import ParseResult, parse
from bylaw.spec.printer import to_text
from bylaw.spec.source import Source
from bylaw.spec.transform_terms import TermBuilder, words

Word = tuple[object, ...]

# What the printer writes in one form of several; brackets are the tree itself, and `same` compares that.
_NUMBERS = words("INT DECIMAL PERCENT")
_UNWRITTEN = words("( )")
_FORMS = {
    **{f"{verb}s": verb for verb in ("contain", "mention", "quote", "follow", "precede", "occur")},
    **dict.fromkeys(("is", "are"), "be"),
    "matches": "match",
    "expresses": "express",
    "has": "have",
    "an": "a",
    "per": "/",
    "do not": "does not",
    "starts with": "start with",
    "ends with": "end with",
    "less than": "fewer than",
    "calls to": "call to",
    "outputs of": "output of",
    "messages from": "message from",
}
_WORDS = words(
    "MUST MUST_NOT SHOULD SHOULD_NOT MAY NEED_NOT BE FIND QUOTE FOLLOW PRECEDE OCCUR MATCH EXPRESS HAVE AN PER "
    "DOES_NOT START_WITH END_WITH FEWER_THAN CALL_TO OUTPUT_OF MESSAGE_FROM"
)


def says_the_same(parsed: ParseResult) -> bool:
    """Whether the reprint of a text that parsed has its tokens, each in one form, and is read as the same tree."""
    again = parse(Source("again", to_text(parsed.module)), keeps_tokens=True)
    if not again.is_ok or not ast.same(again.module, parsed.module):
        return False
    told, retold = list(_told(parsed.tokens)), list(_told(again.tokens))
    # the parts of a limit may stand in any order and are printed in one
    if any(isinstance(node, ast.LimitRate | ast.LimitAverage) for node in ast.walk(parsed.module)):
        return sorted(map(repr, told)) == sorted(map(repr, retold))
    return told == retold


def _told(tokens: Sequence[Token]) -> Iterator[Word]:
    """The words of some tokens, without those that change nothing: last commas, empty braces, the signs of zero.

    `over responses where` and `of responses where` are one and the same part of a limit (LANGUAGE.md tells which reads
    well behind which bound), so the tree does not say which of the two was written.
    """
    kept = [token for token in tokens if token.text not in _UNWRITTEN]
    is_signed_zero = False  # whether what follows the token is a zero, or signs and then a zero
    told: list[Word] = []
    for number in reversed(range(len(kept))):
        token, before = kept[number], kept[number - 1].text if number else ""
        after = kept[number + 1] if number + 1 < len(kept) else None
        following = after.text if after else ""
        is_zero = token.type in _NUMBERS and not token.text.strip("0.%")
        is_sign = token.text == "-" and is_signed_zero
        is_signed_zero = is_zero or is_sign
        is_empty = (token.text, following) == ("{", "}") or (before, token.text) == ("{", "}")
        if (token.text, following) != (",", "]") and not is_empty and not is_sign:
            is_among = token.text == "over" and after is not None and after.type == "RESPONSES_WHERE"
            told.append(("word", "of") if is_among else _word(token))
    return reversed(told)


def _word(token: Token) -> Word:
    builder = TermBuilder()
    match token.type:
        case "STRING" | "LONG_STRING":
            return "text", " ".join(builder.string([token], token.span).value.split())
        case kind if kind in _NUMBERS:
            number = builder.number([token], token.span)
            return "number", float(number.value), number.percent
        case "REGEX":
            pattern = builder.pattern([token], token.span)
            return "pattern", pattern.source, pattern.flags
    text = " ".join(token.text.split())
    if token.type in _WORDS or token.text == "per":
        return ("word", _FORMS.get(text.lower(), text.lower()))
    return "word", text
