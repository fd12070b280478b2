"""An e-mail address: a local part, `@`, and a domain of two labels or more.

The local part has word characters of any script, dots, hyphens and the marks that RFC 5322 allows; a label has word
characters and hyphens, and one after the first begins with two letters. Quoted local parts and addresses of a bare host
are left out. Whether an address exists cannot be told from its text.
"""

from functools import cache

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.charset import ASCII_DIGIT, CharSet, word_characters
from bylaw.spec.expression import Extent
from bylaw.spec.machine import CountingMachine
from bylaw.spec.units._scan import compiled, word_class

LOCAL_MARKS = CharSet.of("!#$%&'*+/=?^{|}~")
NO_LETTERS = ASCII_DIGIT.union(CharSet.of("_"))


def find(text: str) -> tuple[Extent, ...]:
    domain = compiled(r"[WORD-]+(?:\.[WORD-]+)*?\.(?:(?![0-9_])[WORD]){2}[WORD.-]*", word_class(text))
    found: list[Extent] = []
    bound, at = 0, text.find("@")
    while at >= 0:
        match = domain.match(text, at + 1)
        start = _local_start(text, bound, at)
        bound = at + 1
        if match and start < at:
            bound = match.end()
            found.append(Extent(start, at + 1 + len(match[0].rstrip(".-"))))
        at = text.find("@", bound)
    return tuple(found)


def _local_start(text: str, bound: int, at: int) -> int:
    start = at
    while start > bound and text[start - 1] in _local():
        start -= 1
    return start


@cache
def _local() -> CharSet:
    return word_characters().union(LOCAL_MARKS, CharSet.of(".-"))


def machine() -> CountingMachine:
    """Counted at the second letter of a label that can be the last one; the rest of the domain is swallowed."""
    outside, local, at, label, dot, letter, counted = range(7)
    nothing = (outside, 0)
    return CountingMachine(
        classes=(
            *(word_characters().difference(NO_LETTERS), NO_LETTERS, CharSet.of("-"), CharSet.of(".")),
            *(LOCAL_MARKS, CharSet.of("@")),
        ),
        step=(
            (*((local, 0),) * 5, nothing, nothing),
            (*((local, 0),) * 5, (at, 0), nothing),
            (*((label, 0),) * 3, (local, 0), (local, 0), nothing, nothing),
            (*((label, 0),) * 3, (dot, 0), (local, 0), (at, 0), nothing),
            ((letter, 0), (label, 0), (label, 0), (local, 0), (local, 0), (at, 0), nothing),
            ((counted, 1), (label, 0), (label, 0), (dot, 0), (local, 0), (at, 0), nothing),
            (*((counted, 0),) * 4, (local, 0), nothing, nothing),
        ),
        final=(0,) * 7,
    )


UNIT = Unit(
    summary="e-mail addresses",
    find=find,
    machine=machine,
    examples=(
        UnitExample("Write to desk@harbour.example or j.o+x@mail.shop.example.", 2),
        UnitExample("a@b, @name, me@localhost, 3@4.5", 0),
    ),
)
