"""Which sentences the dialogue grammar can write in reply to a given prompt: a strict test of clean English.

A reply of the trained model is split into sentences and each one is looked up among the sentences that the grammar
could have written for this very customer, product, problem and number. A slip in spelling, a wrong name or a wrong
digit makes a sentence fail, so the share that passes is a lower bound on the share that is clean.
"""

from __future__ import annotations

import re

from . import phrases
from .catalogue import CATEGORIES, SHOP
from .dialogues import Dialogue
from .flaws import FLAW_SENTENCES, PADDING

_NO_VALUE = "\x00"  # stands for a slot that this prompt leaves open, and matches no reply


def split_sentences(text: str) -> tuple[str, ...]:
    """Sentences, list items, greetings and sign-offs of a text."""
    lines = (line.strip().removeprefix("- ") for line in text.splitlines())
    return tuple(part for line in lines for part in re.split(r"(?<=[.!?:])\s+", line) if part)


def possible_sentences(dialogue: Dialogue) -> frozenset[str]:
    """Every sentence that the grammar can write in a reply to this prompt."""
    templates: set[str] = {
        *phrases.GREETINGS, *phrases.GREETINGS_NAMELESS, *phrases.THANKS, *phrases.ORDER_SENTENCES, *phrases.CLOSINGS,
        *phrases.HEALTH_CAREFUL, *phrases.MONEY_CAREFUL, *phrases.LEGAL_CAREFUL, *phrases.CARD_CAREFUL, *PADDING,
        *phrases.ANGER_CAREFUL, *phrases.HOWTO_LEADS, *phrases.HOWTO_ENDINGS, *phrases.REFUSAL_ENDINGS,
        *phrases.SIGN_OFFS,
    }  # fmt: skip
    for table in (phrases.OPENINGS, phrases.BODIES, FLAW_SENTENCES):
        templates.update(template for group in table.values() for template in group)
    templates.update(answer for _, answers in phrases.FOLLOW_UPS for answer in answers)
    templates.update(step for category in CATEGORIES for howto in category.howtos for step in howto.steps)
    names = [dialogue.name, dialogue.name.split()[0]] if dialogue.name else [_NO_VALUE]
    nouns = [noun for category in CATEGORIES for noun in category.nouns if dialogue.product.endswith(noun)]
    filled: set[str] = set()
    for name in names:
        for noun in nouns:
            slots = _slots(dialogue, name, noun)
            filled.update(_with_article(template, slots).format(**slots) for template in templates)
    return frozenset(sentence for text in filled if _NO_VALUE not in text for sentence in split_sentences(text))


def _with_article(template: str, slots: dict[str, str]) -> str:
    for slot, value in slots.items():
        if value[:1] in set("aeiou"):
            template = template.replace(f" a {{{slot}}}", f" an {{{slot}}}")
    return template


def _slots(dialogue: Dialogue, name: str, noun: str) -> dict[str, str]:
    swap = {"my": "your", "me": "you"}
    problem = " ".join(swap.get(word, word) for word in dialogue.problem.split()).format(p=dialogue.product)
    return {
        "p": dialogue.product,
        "n": noun,
        "shop": SHOP,
        "name": name,
        "fault": problem,
        "when": problem,
        "other": problem,
        "task": problem,
        "order": dialogue.order or _NO_VALUE,
        "card": dialogue.card or _NO_VALUE,
        "note": dialogue.note or _NO_VALUE,
    }
