"""A mention of an account: `@` and word characters of any script, such as @harbour_desk.

The sign does not stand after a word character or one of `@ . + - /`, so that e-mail addresses are left out.
"""

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.charset import CharSet, word_characters
from bylaw.spec.expression import Extent
from bylaw.spec.machine import CountingMachine
from bylaw.spec.units._scan import compiled, extents_of, word_class


def find(text: str) -> tuple[Extent, ...]:
    return extents_of(compiled("(?<![WORD@.+/-])@[WORD]+", word_class(text)), text)


def machine() -> CountingMachine:
    free, blocked, sign, name = range(4)
    return CountingMachine(
        classes=(CharSet.of("@"), CharSet.of(".+-/"), word_characters()),
        step=(
            ((sign, 0), (blocked, 0), (blocked, 0), (free, 0)),
            ((blocked, 0), (blocked, 0), (blocked, 0), (free, 0)),
            ((blocked, 0), (blocked, 0), (name, 1), (free, 0)),
            ((blocked, 0), (blocked, 0), (name, 0), (free, 0)),
        ),
        final=(0,) * 4,
    )


UNIT = Unit(
    summary="names of accounts such as @harbour_desk",
    find=find,
    machine=machine,
    examples=(UnitExample("Ask @mara or (@jo).", 2), UnitExample("desk@harbour.example, @ noon, @@x", 0)),
)
