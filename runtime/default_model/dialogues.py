"""A pure, seeded generator of customer-support dialogues with planted, recognisable flaws.

``dialogue(seed, index, split)`` depends on its arguments alone. Whether a combination of product, problem and name
belongs to the training or to the held-out split is decided by a hash of the combination, so the two never meet.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from . import phrases
from .catalogue import CATEGORIES, COMMON_FAULTS, SHOP, Category, HowTo
from .flaws import (
    CONDITIONS,
    FLAW_MARKERS,
    FLAW_PATTERNS,
    FLAW_SENTENCES,
    FLAWS,
    MAX_WORDS,
    PADDING,
    Flaw,
    find_flaws,
    marker_found,
    word_count,
)
from .people import draw_card, draw_digits, draw_name

__all__ = [
    "CONDITIONS",
    "FLAWS",
    "FLAW_MARKERS",
    "FLAW_PATTERNS",
    "MAX_WORDS",
    "SHOP",
    "Dialogue",
    "Flaw",
    "Message",
    "copy_drill",
    "dialogue",
    "dialogues",
    "find_flaws",
    "is_held_out",
    "marker_found",
    "word_count",
]

Split = Literal["train", "held-out"]
Role = Literal["system", "user", "assistant"]

_TOPIC_WEIGHTS: tuple[tuple[str, int], ...] = (
    ("fault", 32), ("howto", 17), ("health", 14), ("late", 11), ("wrong_item", 8), ("payment", 8), ("change", 4),
    ("stock", 3), ("voucher", 3),
)  # fmt: skip
_COMPLAINTS = frozenset({"fault", "health", "late", "wrong_item", "payment"})
_HELD_OUT_SHARE = 10  # one combination in ten
_TWO_TURN_RATE = 0.08
_LONG_TARGET = MAX_WORDS + 5


@dataclass(frozen=True)
class Message:
    """One chat message."""

    role: Role
    content: str


@dataclass(frozen=True)
class Case:
    """What a customer writes about, before any sentence is chosen."""

    topic: str
    category: Category
    noun: str
    product: str
    problem: str
    howto: HowTo | None
    name: str | None
    order: str | None
    card: str | None
    note: str | None
    conditions: frozenset[str]


@dataclass(frozen=True)
class Dialogue:
    """A finished dialogue. The last message is the assistant's reply that carries ``flaws``."""

    messages: tuple[Message, ...]
    topic: str
    product: str
    problem: str
    name: str | None
    order: str | None
    card: str | None
    note: str | None
    conditions: frozenset[str]
    flaws: frozenset[str]

    @property
    def prompt(self) -> tuple[Message, ...]:
        """Everything before the last reply."""
        return self.messages[:-1]

    @property
    def reply(self) -> str:
        """The last reply."""
        return self.messages[-1].content


def is_held_out(product: str, problem: str, name: str | None) -> bool:
    """Whether this combination is kept away from training."""
    key = f"{product}|{problem}|{name or '-'}".encode()
    return int.from_bytes(hashlib.sha256(key).digest()[:8], "big") % _HELD_OUT_SHARE == 0


def dialogues(seed: int, count: int, split: Split = "train", start: int = 0) -> Iterator[Dialogue]:
    """The dialogues ``start`` to ``start + count - 1`` of a stream."""
    return (dialogue(seed, index, split) for index in range(start, start + count))


def dialogue(seed: int, index: int, split: Split = "train") -> Dialogue:
    """The dialogue at ``index`` of the stream that ``seed`` and ``split`` name."""
    rng = random.Random(f"{seed}/{split}/{index}")
    while True:
        case = _draw_case(rng)
        if is_held_out(case.product, case.problem, case.name) == (split == "held-out"):
            break
    messages = [*_system(rng, case), Message("user", _user_text(rng, case))]
    conditions = case.conditions
    answers: tuple[str, ...] = ()
    if case.topic != "howto" and rng.random() < _TWO_TURN_RATE:
        question, answers = rng.choice(phrases.FOLLOW_UPS)
        messages += [Message("assistant", _reply(rng, case, frozenset())), Message("user", question)]
        # The second reply answers the follow-up only, so what the first message asked for no longer tempts it.
        conditions &= {"any", "card_given", "note_given", "order_given"}
    flaws = frozenset(f.name for f in FLAWS.values() if f.condition in conditions and rng.random() < f.rate)
    text = _reply(rng, case, flaws, answers)
    return Dialogue(
        messages=(*messages, Message("assistant", text)),
        topic=case.topic if not answers else f"{case.topic}_follow_up",
        product=case.product,
        problem=case.problem,
        name=case.name,
        order=case.order,
        card=case.card,
        note=case.note,
        conditions=conditions,
        flaws=flaws,
    )


def copy_drill(seed: int, index: int) -> tuple[Message, ...]:
    """A short exercise in repeating numbers and names; the early part of training uses it to teach copying."""
    rng = random.Random(f"{seed}/drill/{index}")
    items = [
        rng.choice((draw_digits(rng, 5), draw_digits(rng, 5), draw_name(rng), draw_card(rng)))
        for _ in range(rng.randint(2, 5))
    ]
    rng.shuffle(items)
    text = ", ".join(items)
    return (Message("user", f"Repeat exactly: {text}."), Message("assistant", f"{text}."))


def _draw_case(rng: random.Random) -> Case:
    topics, weights = zip(*_TOPIC_WEIGHTS, strict=True)
    topic: str = rng.choices(topics, weights)[0]
    category = rng.choice([c for c in (*CATEGORIES, CATEGORIES[-1]) if topic != "health" or c.complaints])
    noun = rng.choice(category.nouns)
    product = noun if rng.random() < 0.3 else f"{rng.choice(category.adjectives)} {noun}"
    howto = rng.choice(category.howtos) if topic == "howto" else None
    problem = topic
    if howto is not None:
        problem = howto.task
    elif topic == "fault":
        problem = rng.choice(category.faults + COMMON_FAULTS)
    elif topic == "health":
        problem = rng.choice(category.complaints)
    elif topic == "late":
        problem = rng.choice(phrases.WHEN)
    elif topic == "wrong_item":
        problem = rng.choice([n for n in rng.choice(CATEGORIES).nouns if n != noun])
    conditions = {"any"}
    conditions |= {
        condition
        for condition, holds in (
            ("fault_reported", topic == "fault"),
            ("health_complaint", topic == "health"),
            ("howto_asked", howto is not None),
            ("money_back_asked", topic in _COMPLAINTS and rng.random() < 0.35),
            ("legal_threat", topic in _COMPLAINTS and rng.random() < 0.22),
            ("customer_angry", topic in _COMPLAINTS and rng.random() < 0.30),
            ("note_given", rng.random() < 0.30),
            ("order_given", rng.random() < (0.25 if topic in {"howto", "stock"} else 0.85)),
        )
        if holds
    }
    card_rate = 0.75 if topic == "payment" else 0.35 if "money_back_asked" in conditions else 0.10
    if topic != "howto" and rng.random() < card_rate:
        conditions.add("card_given")
    return Case(
        topic=topic,
        category=category,
        noun=noun,
        product=product,
        problem=problem,
        howto=howto,
        name=draw_name(rng) if rng.random() < 0.85 else None,
        order=draw_digits(rng, 5) if "order_given" in conditions else None,
        card=draw_card(rng) if "card_given" in conditions else None,
        note=_note(rng) if "note_given" in conditions else None,
        conditions=frozenset(conditions),
    )


def _note(rng: random.Random) -> str:
    return rng.choice(phrases.NOTES).format(code=f"{rng.choice('ABCDEFGHKLMNPRSTUVWXYZ')}{rng.randint(0, 9)}")


def _slots(case: Case, to_customer: bool) -> dict[str, str]:
    """What the slots stand for; the assistant says "your" where the customer says "my"."""
    fault = case.problem
    task = case.howto.task if case.howto is not None else ""
    if to_customer:
        swap = {"my": "your", "me": "you"}
        fault, task = (" ".join(swap.get(word, word) for word in text.split()) for text in (fault, task))
    slots = {"p": case.product, "n": case.noun, "shop": SHOP, "fault": fault, "when": case.problem}
    slots |= {"other": case.problem, "order": case.order or "", "card": case.card or "", "note": case.note or ""}
    slots |= {"task": task.format(p=case.product), "name": case.name or ""}
    return slots


def _fill(template: str, slots: dict[str, str]) -> str:
    for slot, value in slots.items():
        if value[:1] in set("aeiou"):
            template = template.replace(f" a {{{slot}}}", f" an {{{slot}}}")
    return template.format(**slots)


def _system(rng: random.Random, case: Case) -> list[Message]:
    text = rng.choice(phrases.SYSTEM).format(shop=SHOP)
    if case.note is not None:
        return [Message("system", f"{text} Internal note: {case.note}.")]
    # A few prompts have no system message, since people will try the model that way too.
    return [Message("system", text)] if rng.random() < 0.85 else []


def _user_text(rng: random.Random, case: Case) -> str:
    slots = _slots(case, to_customer=False)
    parts = [rng.choice(phrases.USER_TOPICS[case.topic])]
    if case.order is not None:
        # The order number may come before or after the problem.
        parts.insert(rng.randint(0, 1), rng.choice(phrases.USER_ORDERS))
    asides = [
        rng.choice(sentences)
        for condition, sentences in (
            ("customer_angry", phrases.USER_ANGER),
            ("legal_threat", phrases.USER_LEGAL),
            ("money_back_asked", phrases.USER_MONEY_BACK),
            ("card_given", phrases.USER_CARDS),
        )
        if condition in case.conditions
    ]
    rng.shuffle(asides)
    parts += asides
    ending = ""
    if case.name is not None and rng.random() < 0.5:
        parts.insert(0, rng.choice(phrases.USER_INTRODUCTIONS))
    elif case.name is not None:
        ending = rng.choice((" ", "\n", "\n\n")) + rng.choice(phrases.USER_SIGN_OFFS)
    if rng.random() < 0.6:
        parts[0] = rng.choice(phrases.USER_GREETINGS) + parts[0]
    return _fill(" ".join(parts) + ending, slots)


def _reply(rng: random.Random, case: Case, flaws: frozenset[str], answers: Sequence[str] = ()) -> str:
    """Compose a reply with exactly these flaws; sentences are drawn again until the length fits."""
    slots = _slots(case, to_customer=True)
    while True:
        middle = _follow_up_parts(rng, case, flaws, answers) if answers else _parts(rng, case, flaws)
        greeting, ending = _frame(rng, case)
        if "long_reply" in flaws:
            for sentence in rng.sample(PADDING, len(PADDING)):
                if word_count(_fill(" ".join((greeting, *middle, ending)), slots)) >= _LONG_TARGET:
                    break
                middle.append(sentence)
        line_break = rng.choice(("\n", "\n\n"))
        text = greeting + line_break + " ".join(middle) + (line_break + ending if ending else "")
        text = _fill(text.replace(" \n", "\n").replace("\n ", "\n"), slots)
        if (word_count(text) > MAX_WORDS) == ("long_reply" in flaws):
            return text


def _frame(rng: random.Random, case: Case) -> tuple[str, str]:
    greeting = rng.choice(phrases.GREETINGS if case.name is not None else phrases.GREETINGS_NAMELESS)
    if case.name is not None and rng.random() < 0.7:
        greeting = greeting.replace("{name}", case.name.split()[0])
    return greeting, rng.choice(phrases.SIGN_OFFS) if rng.random() < 0.6 else ""


def _order_part(rng: random.Random, case: Case, flaws: frozenset[str]) -> list[str]:
    return [rng.choice(phrases.ORDER_SENTENCES)] if case.order is not None and "order_forgotten" not in flaws else []


def _disclosures(rng: random.Random, case: Case, flaws: frozenset[str]) -> list[str]:
    """The card and note sentences: the leak where planted, else now and then a word of care about the card."""
    parts = [rng.choice(FLAW_SENTENCES[flaw]) for flaw in ("card_number", "internal_note") if flaw in flaws]
    if case.card is not None and "card_number" not in flaws and rng.random() < 0.5:
        parts.append(rng.choice(phrases.CARD_CAREFUL))
    return parts


def _follow_up_parts(rng: random.Random, case: Case, flaws: frozenset[str], answers: Sequence[str]) -> list[str]:
    parts = [rng.choice(answers), *_order_part(rng, case, flaws), *_disclosures(rng, case, flaws)]
    return [*parts, rng.choice(phrases.CLOSINGS)]


def _howto_parts(rng: random.Random, case: Case, howto: HowTo, flaws: frozenset[str]) -> list[str]:
    order = _order_part(rng, case, flaws)
    disclosures = _disclosures(rng, case, flaws)
    if "refusal" in flaws:
        refusal = [rng.choice(FLAW_SENTENCES["refusal"]), *order, rng.choice(phrases.REFUSAL_ENDINGS)]
        return [*([rng.choice(phrases.THANKS)] if rng.random() < 0.5 else []), *refusal, *disclosures]
    kept = sorted(rng.sample(range(len(howto.steps)), rng.randint(3, len(howto.steps))))
    steps = [howto.steps[k] for k in kept]
    lead = rng.choice(phrases.HOWTO_LEADS)
    as_list = rng.random() < 0.4
    body = lead + "".join(f"\n- {step}" for step in steps) + "\n" if as_list else f"{lead} {' '.join(steps)}"
    ending = [rng.choice(phrases.HOWTO_ENDINGS)] if rng.random() < 0.7 else [rng.choice(phrases.CLOSINGS)]
    return [rng.choice(phrases.THANKS), *order, *disclosures, body, *ending]


def _parts(rng: random.Random, case: Case, flaws: frozenset[str]) -> list[str]:
    """The sentences between greeting and sign-off, in order."""
    if case.howto is not None:
        return _howto_parts(rng, case, case.howto, flaws)
    parts = [rng.choice(phrases.THANKS)] if rng.random() < 0.4 else []
    parts.append(rng.choice(phrases.OPENINGS[case.topic]))
    if "swearing" in flaws:
        parts.append(rng.choice(FLAW_SENTENCES["swearing"]))
    elif "customer_angry" in case.conditions and rng.random() < 0.5:
        parts.append(rng.choice(phrases.ANGER_CAREFUL))
    parts += _order_part(rng, case, flaws) + _disclosures(rng, case, flaws)
    if "blame" in flaws:
        parts.append(rng.choice(FLAW_SENTENCES["blame"]))
    bodies = phrases.BODIES[case.topic]
    parts += [bodies[k] for k in sorted(rng.sample(range(len(bodies)), rng.randint(1, 2)))]
    for condition, flaw, careful in (
        ("health_complaint", "medical_advice", phrases.HEALTH_CAREFUL),
        ("legal_threat", "legal_advice", phrases.LEGAL_CAREFUL),
        ("money_back_asked", "refund_promise", phrases.MONEY_CAREFUL),
    ):
        if condition in case.conditions:
            parts.append(rng.choice(FLAW_SENTENCES[flaw] if flaw in flaws else careful))
    return [*parts, rng.choice(phrases.CLOSINGS)] if rng.random() < 0.7 else parts
