"""An emoji as people see one: a picture with its skin tone and everything joined to it, a flag, or a keycap.

Unicode Technical Standard 51 (emoji sequences), with its sets Emoji_Presentation and Emoji of Unicode 17. A character
that is a text sign unless told otherwise, such as U+00A9 or U+2764, counts only with U+FE0F or a skin tone behind it.
"""

from __future__ import annotations

import re
from functools import cache

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.charset import CharSet
from bylaw.spec.expression import Extent
from bylaw.spec.machine import CountingMachine
from bylaw.spec.units._scan import extents_of, inside

_PICTURES = (
    "231a-231b 23e9-23ec 23f0 23f3 25fd-25fe 2614-2615 2648-2653 267f 2693 26a1 26aa-26ab 26bd-26be 26c4-26c5 26ce "
    "26d4 26ea 26f2-26f3 26f5 26fa 26fd 2705 270a-270b 2728 274c 274e 2753-2755 2757 2795-2797 27b0 27bf 2b1b-2b1c "
    "2b50 2b55 1f004 1f0cf 1f18e 1f191-1f19a 1f201 1f21a 1f22f 1f232-1f236 1f238-1f23a 1f250-1f251 1f300-1f320 "
    "1f32d-1f335 1f337-1f37c 1f37e-1f393 1f3a0-1f3ca 1f3cf-1f3d3 1f3e0-1f3f0 1f3f4 1f3f8-1f3fa 1f400-1f43e 1f440 "
    "1f442-1f4fc 1f4ff-1f53d 1f54b-1f54e 1f550-1f567 1f57a 1f595-1f596 1f5a4 1f5fb-1f64f 1f680-1f6c5 1f6cc "
    "1f6d0-1f6d2 1f6d5-1f6d9 1f6dc-1f6df 1f6eb-1f6ec 1f6f4-1f6fc 1f7e0-1f7eb 1f7f0 1f90c-1f93a 1f93c-1f945 "
    "1f947-1f9ff 1fa70-1fa7c 1fa80-1fac6 1fac8 1facc-1fadd 1fadf-1faeb 1faef-1fafa"
)
_SIGNS = (
    "a9 ae 203c 2049 2122 2139 2194-2199 21a9-21aa 2328 23cf 23ed-23ef 23f1-23f2 23f8-23fa 24c2 25aa-25ab 25b6 25c0 "
    "25fb-25fc 2600-2604 260e 2611 2618 261d 2620 2622-2623 2626 262a 262e-262f 2638-263a 2640 2642 265f-2660 2663 "
    "2665-2666 2668 267b 267e 2692 2694-2697 2699 269b-269c 26a0 26a7 26b0-26b1 26c8 26cf 26d1 26d3 26e9 26f0-26f1 "
    "26f4 26f7-26f9 2702 2708-2709 270c-270d 270f 2712 2714 2716 271d 2721 2733-2734 2744 2747 2763-2764 27a1 "
    "2934-2935 2b05-2b07 3030 303d 3297 3299 1f170-1f171 1f17e-1f17f 1f202 1f237 1f321 1f324-1f32c 1f336 1f37d "
    "1f396-1f397 1f399-1f39b 1f39e-1f39f 1f3cb-1f3ce 1f3d4-1f3df 1f3f3 1f3f5 1f3f7 1f43f 1f441 1f4fd 1f549-1f54a "
    "1f56f-1f570 1f573-1f579 1f587 1f58a-1f58d 1f590 1f5a5 1f5a8 1f5b1-1f5b2 1f5bc 1f5c2-1f5c4 1f5d1-1f5d3 "
    "1f5dc-1f5de 1f5e1 1f5e3 1f5e8 1f5ef 1f5f3 1f5fa 1f6cb 1f6cd-1f6cf 1f6e0-1f6e5 1f6e9 1f6f0 1f6f3"
)
TONES = CharSet.of_ranges([(0x1F3FB, 0x1F3FF)])
TAGS = CharSet.of_ranges([(0xE0020, 0xE007F)])
FLAG_LETTERS = CharSet.of_ranges([(0x1F1E6, 0x1F1FF)])
KEYS = CharSet.of("0123456789#*")
AS_PICTURE, KEYCAP, JOINER = (CharSet.of(char) for char in "\ufe0f\u20e3\u200d")


def _set(table: str) -> CharSet:
    ends = (entry.partition("-") for entry in table.split())
    return CharSet.of_ranges((int(first, 16), int(last or first, 16)) for first, _, last in ends)


@cache
def _pattern() -> re.Pattern[str]:
    picture, sign, tone = inside(_set(_PICTURES).union(TONES)), inside(_set(_SIGNS)), inside(TONES)
    after = f"[\ufe0f{tone}{inside(TAGS)}]*"
    joined = f"(?:\u200d[{picture}{sign}]{after})*"
    flag = "[\U0001f1e6-\U0001f1ff]{2}"
    return re.compile(f"(?:[{picture}]|[{sign}][\ufe0f{tone}]){after}{joined}|{flag}|[0-9#*]\ufe0f?\u20e3")


def find(text: str) -> tuple[Extent, ...]:
    return () if text.isascii() else extents_of(_pattern(), text)


def machine() -> CountingMachine:
    outside, sign, emoji, joined, flag, key, key_picture = range(7)
    free = (
        *((emoji, 1), (sign, 0), (emoji, 1), (outside, 0), (flag, 0)),
        *((key, 0), (outside, 0), (outside, 0), (outside, 0), (outside, 0)),
    )

    def but(**cells: tuple[int, int]) -> tuple[tuple[int, int], ...]:
        order = ("picture", "sign", "tone", "tags", "flag", "key", "as_picture", "keycap", "joiner", "other")
        return tuple(cells.get(name, cell) for name, cell in zip(order, free, strict=True))

    stay, turn = (emoji, 0), (emoji, 1)
    return CountingMachine(
        classes=(_set(_PICTURES), _set(_SIGNS), TONES, TAGS, FLAG_LETTERS, KEYS, AS_PICTURE, KEYCAP, JOINER),
        step=(
            free,
            but(tone=turn, as_picture=turn),
            but(tone=stay, tags=stay, as_picture=stay, joiner=(joined, 0)),
            but(picture=stay, sign=stay, tone=stay),
            but(flag=(outside, 1)),
            but(as_picture=(key_picture, 0), keycap=(outside, 1)),
            but(keycap=(outside, 1)),
        ),
        final=(0,) * 7,
    )


UNIT = Unit(
    summary="emoji; one with a skin tone, a flag or a joined family counts once",
    find=find,
    machine=machine,
    examples=(
        UnitExample("Ahoy \u26f5\U0001f600!", 2),
        UnitExample(
            "\U0001f44d\U0001f3fd \U0001f469\u200d\U0001f680 \U0001f1f3\U0001f1f4 5\ufe0f\u20e3 \u2764\ufe0f", 5
        ),
        UnitExample("\u00a9 2 \u2764 :-)", 0),
    ),
    is_raw=True,
)
