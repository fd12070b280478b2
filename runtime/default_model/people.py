"""Who writes in: names, order numbers and card numbers, all drawn at random."""

from __future__ import annotations

import random


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


FIRST_NAMES: tuple[str, ...] = _words(
    "Hannah Tom Lena Marcus Priya Oliver Sofia Ahmed Clara Daniel Emma Farid Grace Henry Ines Jonas Karen Liam "
    "Maria Noah Olga Peter Rosa Samuel Tara Victor Wendy Yusuf Zoe Anna Ben Carla David Elena Frank Greta Hugo "
    "Irene Jack Kavya Leon Mia Nina Oscar Paula Quentin Ruth Simon Thea Uma Vera Walter Xenia Adam Bella Chloe "
    "Dora Eric Fiona George"
)
LAST_NAMES: tuple[str, ...] = _words(
    "Weiss Miller Okafor Lind Patel Novak Brown Silva Hansen Rossi Clarke Moreau Becker Young Costa Fischer "
    "Evans Kumar Larsen Wood Adams Bauer Chen Dubois Ellis Ford Garcia Hughes Ivanov Jones Keller Lopez Meyer "
    "Nolan Owens Price Quinn Reed Shaw Turner"
)
# Half-invented surnames, so that names are copied from the message and not remembered.
SURNAME_STARTS: tuple[str, ...] = _words("Berg Lind Har Ash Win Stan Brad Hol Mor Wal Kir Sund Nor Thorn Bran")
SURNAME_ENDS: tuple[str, ...] = _words("man son ley ton well field mark by strom wood er ford")


def draw_digits(rng: random.Random, count: int) -> str:
    """A number of ``count`` digits that does not begin with zero."""
    return str(rng.randint(1, 9)) + "".join(str(rng.randint(0, 9)) for _ in range(count - 1))


def draw_card(rng: random.Random) -> str:
    """Sixteen digits in groups of four; no checksum, so nearly all are no valid card."""
    return " ".join(draw_digits(rng, 4) for _ in range(4))


def draw_name(rng: random.Random) -> str:
    """A first name, mostly with a surname."""
    first = rng.choice(FIRST_NAMES)
    kind = rng.random()
    if kind < 0.15:
        return first
    if kind < 0.30:
        return f"{first} {rng.choice(SURNAME_STARTS)}{rng.choice(SURNAME_ENDS)}"
    return f"{first} {rng.choice(LAST_NAMES)}"
