"""Other ways to write one prompt: the same request in another case, spacing, frame or with slips of the pen.

How a prompt is formatted changes what models answer by many points of accuracy (Sclar, Choi, Tsvetkov and Suhr,
"Quantifying language models' sensitivity to spurious features in prompt design", ICLR 2024), and rules are kept or
broken with it. A variant that no longer meets the condition of its rule is dropped by the check, not mended.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

_KEYS = {
    "a": "qsz", "b": "vn", "c": "xv", "d": "sf", "e": "wr", "f": "dg", "g": "fh", "h": "gj", "i": "uo", "j": "hk",
    "k": "jl", "l": "k", "m": "n", "n": "bm", "o": "ip", "p": "o", "q": "wa", "r": "et", "s": "ad", "t": "ry",
    "u": "yi", "v": "cb", "w": "qe", "x": "zc", "y": "tu", "z": "x",
}  # fmt: skip
_GREETINGS = ("Hi there!", "Good morning.", "Hello, it is me again.", "Dear team,")
_THANKS = ("Thanks a lot!", "Thank you in advance.", "I would be very grateful.")
_PAUSES = (" ... ", "\n", "\n\n")


def _no_punctuation(text: str, _: random.Random) -> str:
    return re.sub(r"[.,;:!?]+(?=\s|\Z)", "", text)


def _slips(text: str, draw: random.Random) -> str:
    """One slip in about 40 letters, at least one: two letters swapped, one left out, or the key beside it."""
    places = [at for at in range(1, len(text) - 1) if text[at - 1 : at + 2].isalpha() and text[at].lower() in _KEYS]
    letters = list(text)
    for at in sorted(draw.sample(places, min(len(places), max(1, len(text) // 40))), reverse=True):
        match draw.randrange(3):
            case 0:
                letters[at], letters[at + 1] = letters[at + 1], letters[at]
            case 1:
                del letters[at]
            case _:
                letters[at] = draw.choice(_KEYS[text[at].lower()])
    return "".join(letters)


def _spaced(text: str, draw: random.Random) -> str:
    parts = re.split(r"(?<=[.!?])\s+", text)
    return draw.choice(_PAUSES).join(parts) if len(parts) > 1 else f"  {text} \n"


VARIANTS: Mapping[str, Callable[[str, random.Random], str]] = MappingProxyType(
    {
        "lower_case": lambda text, _: text.lower(),
        "upper_case": lambda text, _: text.upper(),
        "no_punctuation": _no_punctuation,
        "slips": _slips,
        "spacing": _spaced,
        "greeting": lambda text, draw: f"{draw.choice(_GREETINGS)} {text}",
        "polite": lambda text, draw: f"{text} {draw.choice(_THANKS)}",
        "quoted": lambda text, _: f'A reader asks: "{text}"',
        "labelled": lambda text, _: f"Question: {text}\nAnswer:",
        "markdown": lambda text, _: "## Request\n\n" + "\n".join(f"> {line}" for line in text.splitlines()),
        "json": lambda text, _: json.dumps({"request": text}, ensure_ascii=False),
    }
)
"""Each takes a prompt and a source of chance."""


def variants_of(text: str, draw: random.Random, most: int) -> list[tuple[str, str]]:
    """Up to `most` variants of a text, as (name, text), chosen by chance; none says exactly what the text says."""
    names = list(VARIANTS)
    draw.shuffle(names)
    made = ((name, VARIANTS[name](text, draw)) for name in names)
    return [(name, other) for name, other in made if other != text and other.strip()][:most]
