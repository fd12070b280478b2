"""A hashtag: `#` and word characters of any script, at least one of them no digit 0 to 9.

The sign does not stand after a word character, `#`, `&`, `/` or `{`, so that `C#`, headings, HTML entities, the
fragments of addresses and the anchors of Markdown headings are left out.
"""

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.charset import ASCII_DIGIT, CharSet, word_characters
from bylaw.spec.expression import Extent
from bylaw.spec.machine import CountingMachine
from bylaw.spec.units._scan import compiled, word_class


def find(text: str) -> tuple[Extent, ...]:
    pattern = compiled("(?<![WORD&/{#])#([WORD]+)", word_class(text))
    return tuple(
        Extent(found.start(), found.end()) for found in pattern.finditer(text) if set(found[1]) - set("0123456789")
    )


def machine() -> CountingMachine:
    free, blocked, sign, digits, tag = range(5)
    apart = ((sign, 0), (blocked, 0), (blocked, 0), (blocked, 0), (free, 0))
    joined = ((blocked, 0), (blocked, 0), (blocked, 0), (blocked, 0), (free, 0))
    return CountingMachine(
        classes=(CharSet.of("#"), CharSet.of("&/{"), ASCII_DIGIT, word_characters().difference(ASCII_DIGIT)),
        step=(
            apart,
            joined,
            ((blocked, 0), (blocked, 0), (digits, 0), (tag, 1), (free, 0)),
            ((blocked, 0), (blocked, 0), (digits, 0), (tag, 1), (free, 0)),
            ((blocked, 0), (blocked, 0), (tag, 0), (tag, 0), (free, 0)),
        ),
        final=(0,) * 5,
    )


UNIT = Unit(
    summary="hashtags such as #harbour; #1 is none",
    find=find,
    machine=machine,
    examples=(UnitExample("#boats and #2day, C#, #7", 2), UnitExample("# Title\n##tag &#39; /page#top", 0)),
)
