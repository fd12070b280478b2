"""From automata over plain texts to automata over texts as they are.

Matching looks at the plain form of a text (spec/normal.py), which replaces each character by itself. So a character
acts on an automaton as the characters of its plain form do, one after the other: the states stay, and the alphabet is
refined by what those characters do together.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain, repeat
from operator import sub
from typing import TypeVar

from bylaw.compiler.automata.alphabet import Alphabet
from bylaw.compiler.automata.dfa import Dfa
from bylaw.spec.charset import LAST
from bylaw.spec.machine import CountingMachine
from bylaw.spec.normal import forms

Action = TypeVar("Action", bound=Hashable)
"""What a character does to every state: for an automaton the next states, for a machine what is counted besides."""


def over_texts(dfa: Dfa) -> Dfa:
    """The minimal automaton of the texts whose plain form the given minimal one accepts."""
    actions = list(zip(*dfa.delta, strict=True))
    identity = tuple(range(dfa.size))
    alphabet, kept = _refined(dfa.alphabet, actions, identity, lambda one, two: tuple(map(two.__getitem__, one)))
    found = Dfa(alphabet, tuple(zip(*kept, strict=True)), dfa.start, dfa.accept)
    # Where every class has a character that stands for itself, what tells states apart still does.
    return found.canonical() if set(actions) <= set(kept) else found.minimise()


def machine_over_texts(machine: CountingMachine) -> CountingMachine:
    """The machine that counts in a text what the given one counts in its plain form."""
    alphabet = Alphabet.of(machine.classes)
    columns = list(zip(*machine.step, strict=True))
    actions = [columns[machine.class_of(char)] for char in alphabet.representatives]
    identity = tuple((state, 0) for state in range(len(machine.step)))
    refined, kept = _refined(alphabet, actions, identity, _counted)
    classes = refined.classes
    labels = sorted(range(len(classes)), key=lambda label: (len(classes[label].ranges), label))
    return CountingMachine(
        classes=tuple(classes[label] for label in labels[:-1]),
        step=tuple(zip(*(kept[label] for label in labels), strict=True)),
        final=machine.final,
    )


def _counted(one: tuple[tuple[int, int], ...], two: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
    return tuple((two[target][0], count + two[target][1]) for target, count in one)


def _refined(
    alphabet: Alphabet, actions: Sequence[Action], identity: Action, then: Callable[[Action, Action], Action]
) -> tuple[Alphabet, list[Action]]:
    """(the coarsest alphabet of texts, what each class of it does), given what the classes of plain texts do."""
    numbers: dict[Action, int] = {}
    own = [numbers.setdefault(action, len(numbers)) for action in actions]
    found = list(numbers)
    known: dict[tuple[int, ...], int] = {(): numbers.setdefault(identity, len(numbers))}
    if len(numbers) > len(found):
        found.append(identity)

    def number_of(key: tuple[int, ...]) -> int:
        if key not in known:
            action = found[key[0]] if len(key) == 1 else then(found[number_of(key[:-1])], found[key[-1]])
            known[key] = numbers.setdefault(action, len(numbers))
            if known[key] == len(found):
                found.append(action)
        return known[key]

    table = _plain_forms()
    labels = list(_at(alphabet, table.points, own))
    usual = Counter(labels).most_common(1)[0][0]
    special = {place: label for place, label in enumerate(labels) if label != usual}
    forms_of = {form for place in special for form in table.containing[place]}
    stretches = [(first, last, number_of((usual,) * length)) for first, last, length in table.lengths]
    starts, numbered = _overlaid(alphabet.starts, [own[label] for label in alphabet.labels], stretches)
    stretches = [
        (first, last, number_of(tuple([special.get(place, usual) for place in table.plains[form]])))
        for form in forms_of
        for first, last in table.ranges[form]
    ]
    starts, numbered = _overlaid(starts, numbered, sorted(stretches))
    order = list(dict.fromkeys(numbered))
    place_of = {number: label for label, number in enumerate(order)}
    return Alphabet(tuple(starts), tuple([place_of[number] for number in numbered])), [found[n] for n in order]


def _at(alphabet: Alphabet, points: Sequence[int], numbers: Sequence[int]) -> Iterator[int]:
    """The number of the class of each of the sorted code points."""
    places = [*(bisect_left(points, start) for start in alphabet.starts), len(points)]
    return chain.from_iterable(map(repeat, map(numbers.__getitem__, alphabet.labels), map(sub, places[1:], places)))


@dataclass(frozen=True, slots=True)
class _PlainForms:
    """The plain forms by number: `plains[form]` are places in `points`, the sorted code points of their characters,
    `ranges[form]` the code points that have this form, `containing[place]` the forms with a character. `lengths` are
    (first, last, length of the plain form) for neighbours of one length, in order."""

    points: tuple[int, ...]
    plains: tuple[tuple[int, ...], ...]
    ranges: tuple[tuple[tuple[int, int], ...], ...]
    containing: tuple[tuple[int, ...], ...]
    lengths: tuple[tuple[int, int, int], ...]


@cache
def _plain_forms() -> _PlainForms:
    characters = "".join(sorted({char for plain, _ in forms() for char in plain}))
    places = {char: place for place, char in enumerate(characters)}
    containing: list[list[int]] = [[] for _ in characters]
    by_length: dict[int, str] = {}
    for form, (plain, chars) in enumerate(forms()):
        by_length[len(plain)] = by_length.get(len(plain), "") + chars
        for char in set(plain):
            containing[places[char]].append(form)
    return _PlainForms(
        tuple(map(ord, characters)),
        tuple(tuple(places[char] for char in plain) for plain, _ in forms()),
        tuple(_ranges(chars) for _, chars in forms()),
        tuple(map(tuple, containing)),
        tuple(sorted((*pair, length) for length, chars in by_length.items() for pair in _ranges(chars))),
    )


def _ranges(chars: str) -> tuple[tuple[int, int], ...]:
    """The code points as ranges, in order."""
    ranges: list[tuple[int, int]] = []
    for point in sorted(map(ord, chars)):
        if ranges and ranges[-1][1] == point - 1:
            ranges[-1] = (ranges[-1][0], point)
        else:
            ranges.append((point, point))
    return tuple(ranges)


def _overlaid(
    starts: Sequence[int], numbers: Sequence[int], stretches: Iterable[tuple[int, int, int]]
) -> tuple[list[int], list[int]]:
    """(first code points, numbers) of stretches that cover everything, with others (first, last, number) over them."""
    bounds = (*starts, LAST + 1)
    out_starts: list[int] = []
    out_numbers: list[int] = []
    before, point, place = -1, 0, 0
    for first, last, number in (*stretches, (LAST + 1, LAST + 1, -1)):
        while point < first:
            while bounds[place + 1] <= point:
                place += 1
            if numbers[place] != before:
                before = numbers[place]
                out_starts.append(point)
                out_numbers.append(before)
            point = min(bounds[place + 1], first)
        if number != before and first <= LAST:
            before = number
            out_starts.append(first)
            out_numbers.append(number)
        point = last + 1
    return out_starts, out_numbers
