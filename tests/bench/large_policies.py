"""Large policies for benchmarks: many rules of the kinds that real policies have, from a fixed seed."""

from __future__ import annotations

import random

_SYLLABLES = [
    "ba",
    "be",
    "bi",
    "bo",
    "bu",
    "da",
    "de",
    "di",
    "do",
    "du",
    "fa",
    "fe",
    "ga",
    "go",
    "ka",
    "ke",
    "ki",
    "la",
    "le",
    "li",
    "lo",
    "ma",
    "me",
    "mi",
    "na",
    "ne",
    "no",
    "pa",
    "pe",
    "ra",
    "re",
    "ri",
    "ro",
    "sa",
    "se",
]
_KINDS = (
    ("must not mention {word}", 30),
    ("must not mention any of [{words}]", 12),
    ("must not contain {phrase}", 10),
    ("must not contain {pattern}", 8),
    ("must not start with {phrase}", 3),
    ("must not end with {word}", 2),
    ("must have at most {many} words", 4),
    ("must have at most {few} sentences", 2),
    ("must mention {word}", 8),
    ("must contain {phrase}", 4),
    ("must have at least {few} words", 2),
    ("should mention {word} weight {weight}", 6),
    ("should not mention any of [{words}] weight {weight}", 5),
    ("should have at most {many} words weight {weight}", 4),
)


def large_policy(rules: int, seed: int = 7, topics: int = 40) -> str:
    """The text of a policy with this many rules; about two thirds of them hold under a condition on the topic."""
    draw = random.Random(seed)
    kinds, shares = zip(*_KINDS, strict=True)
    parts = ["levels company > team > user\n"]
    for number in range(rules):
        level = draw.choice(("company", "team", "team", "user"))
        sentence = _sentence(draw, draw.choices(kinds, shares)[0])
        topic = f'  when meta.topic == "topic{draw.randrange(topics)}"\n'
        is_bound = any(part in sentence for part in ("must mention", "must contain", "at least"))
        condition = topic if is_bound or draw.random() < 0.6 else ""
        parts.append(f"rule r{number} at {level} {{\n{condition}  {sentence}\n}}\n")
    return "\n".join(parts)


def _sentence(draw: random.Random, kind: str) -> str:
    word = _word(draw)
    return kind.format(
        word=f'"{word}"',
        words=", ".join(f'"{_word(draw)}"' for _ in range(draw.randint(3, 12))),
        phrase=f'"{_word(draw)} {_word(draw)}"',
        pattern=draw.choice(
            (
                f"/{word}[0-9]{{{draw.randint(3, 8)}}}/",
                f"/\\b{word}(s|ed|ing)?\\b/i",
                f"/{word}[ -]?{_word(draw)}/i",
                f"/https?:\\/\\/{word}\\.[a-z]{{2,3}}/",
            )
        ),
        many=draw.randint(60, 300),
        few=draw.randint(2, 12),
        weight=draw.choice(("0.3", "0.5", "0.8", "1.2")),
    )


def _word(draw: random.Random) -> str:
    return "".join(draw.choice(_SYLLABLES) for _ in range(draw.randint(3, 5)))
