"""`be xml`: one well-formed XML 1.0 document without a document type, white space around it allowed.

A document type could define entities that grow without bound or name files; it is no part of answers that are data."""

from xml.parsers import expat

from bylaw.spec.catalog import Language, Predicate, PredicateExample
from bylaw.spec.expression import Extent, Matcher


def find(text: str, matcher: Matcher | None) -> tuple[Extent, ...]:
    return (Extent(0, len(text)),) if _holds(text) else ()


def _holds(text: str) -> bool:
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse
    try:
        parser.Parse(text.strip().encode("utf-8"), True)
    except (expat.ExpatError, UnicodeError, ValueError):
        return False
    return True


def _refuse(*_: object) -> None:
    raise ValueError("a document type")


def language(matcher: Matcher | None) -> Language | None:
    return None


PREDICATE = Predicate(
    summary="the whole text is one well-formed XML document",
    takes_matchers=False,
    find=find,
    language=language,
    examples=(
        PredicateExample('<order id="7"><item/></order>', (), True),
        PredicateExample('<?xml version="1.0"?>\n<a>b</a>\n', (), True),
        PredicateExample("<a><b></a>", (), False),
        PredicateExample('<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', (), False),
        PredicateExample("text", (), False),
    ),
)
