"""The search for a conversation that all monitors accept: breadth first, so the shortest one is found first.

Each statement about events is a small machine that reads one event after the other: what stood before, what is still
to come (guessed, and paid back: a guess that something comes after is only kept if it comes), counts up to the first
number that settles every comparison, and events by their place. Their product is explored; no accepting state means
that no conversation obeys all statements (Büchi, Elgot and Trakhtenbrot: such statements are finite automata).
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from bylaw.compiler.monitors.events import Event
from bylaw.compiler.monitors.model import Counted, Each, Here, Leaf, Model, Placed, Range
from bylaw.compiler.monitors.texts import FALSE, TRUE, UNKNOWN, NotDecided, Values
from bylaw.compiler.values import compared

Pick = tuple[bool, int, tuple[Values, ...]]
"""For an event by its place: whether it cannot be told, how many there were (up to the place), and their answers."""
OPEN: Range = (FALSE, TRUE)
NOTHING: Pick = (False, 0, ())


class State(NamedTuple):
    """What the monitors remember. `owed` is what has been guessed to come after, from the next event on; `counts` are
    (certain, at most) for each count, `texts` the states of the automata of the whole text, None before it begins.
    `settled` are the statements that nothing can change any more, so that what only they read is forgotten."""

    owed: Values
    before: Values
    eaches: Values
    counts: tuple[tuple[int, int], ...]
    picks: tuple[Pick, ...]
    texts: tuple[int | None, ...]
    guesses: Values
    settled: frozenset[int] = frozenset()


class Effect(NamedTuple):
    """What one event does to the monitors: is it meant (`paid` for what is owed, `seen` for what stands before), what
    is said of it, and what it answers where it is asked for by its place; `text` is itself where texts are read."""

    paid: Values
    seen: Values
    said: Values
    counted: Values
    placed: Values
    answers: tuple[Values, ...]
    text: str


@dataclass(slots=True)
class Search:
    """One search. With `is_generous`, what is not known exactly may be anything: finding nothing is then still a proof,
    and finding something is none."""

    model: Model
    events: Sequence[Event]
    limit: int
    is_generous: bool = False
    _meant: list[list[bool]] = field(default_factory=list)
    _effects: dict[tuple[Values, Values, Values], list[tuple[Effect, list[Event]]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._meant = [[event.may_be(selector) for selector in self.model.selectors] for event in self.events]

    def shortest(self, longest: float = math.inf) -> list[Event] | None:
        """The fewest events that all monitors accept; None where there are none, or none of up to `longest` events.
        Raises NotDecided past the limit."""
        before: dict[State, tuple[State, Event] | None] = {}
        length: dict[State, int] = {}
        waiting: deque[State] = deque()
        for start in self._starts():
            hopeful = self._hopeful(start)
            if hopeful is not None and hopeful not in before:
                before[hopeful], length[hopeful] = None, 0
                waiting.append(hopeful)
        met: set[State] = set()
        while waiting:
            state = waiting.popleft()
            if length[state] >= longest:
                return None
            for after, events in self._after(state):
                if not any(after.owed):
                    for event in events:
                        if event.is_answer and self._accepts(after, event):
                            return [*_path(before, state), event]
                if after in met:
                    continue
                met.add(after)
                hopeful = self._hopeful(after)
                if hopeful is not None and hopeful not in before:
                    if len(before) >= self.limit:
                        raise NotDecided("the search for a conversation grew too large")
                    before[hopeful], length[hopeful] = (state, events[0]), length[state] + 1
                    waiting.append(hopeful)
        return None

    def _starts(self) -> Iterator[State]:
        model = self.model
        may_be_unknown = any(UNKNOWN in event.values for event in self.events)
        sides = (FALSE, TRUE, UNKNOWN) if may_be_unknown or any(at >= 0 for at in model.guessed) else (FALSE, TRUE)
        guesses = [(FALSE, TRUE) if leaf < 0 else (FALSE, TRUE, UNKNOWN) for leaf in model.guessed]
        for guessed in itertools.product(*guesses):
            for owed in itertools.product(sides, repeat=len(model.afters)):
                yield State(
                    owed,
                    (FALSE,) * len(model.befores),
                    tuple(map(_at_first, model.eaches)),
                    ((0, 0),) * len(model.counts),
                    (NOTHING,) * len(model.places),
                    (None,) * len(model.wholes),
                    guessed,
                )

    # ------------------------------------------------------------------------------------------------------- one event
    def _after(self, state: State) -> Iterator[tuple[State, list[Event]]]:
        """What may be remembered after one more event, and the events that do this, told apart by their answers."""
        model = self.model
        sides = (FALSE, TRUE) if UNKNOWN not in state.owed else (FALSE, TRUE, UNKNOWN)
        # What is owed and does not come with this event comes later.
        for owed in itertools.product(*(sides if owed else (FALSE,) for owed in state.owed)):
            for effect, events in self._effects_of(state.before, owed, state.guesses):
                if tuple(map(max, effect.paid, owed)) != state.owed:
                    continue
                picks = tuple(map(_picked, model.places, state.picks, effect.placed, effect.answers))
                if not self.is_generous and any(
                    place.is_only and seen > 1 for place, (_, seen, _) in zip(model.places, picks, strict=True)
                ):
                    continue
                after = State(
                    owed,
                    tuple(map(max, state.before, effect.seen)),
                    tuple(map(_gathered, model.eaches, state.eaches, effect.said)),
                    tuple(map(_more, model.counts, state.counts, effect.counted)),
                    picks,
                    self._texts(state.texts, effect.text),
                    state.guesses,
                    state.settled,
                )
                yield after, events

    def _effects_of(self, before: Values, after: Values, guesses: Values) -> list[tuple[Effect, list[Event]]]:
        """What events can do in these surroundings, and which do it: one event, and answers that differ for the end."""
        key = (before, after, guesses)
        if key not in self._effects:
            found: dict[Effect, dict[Values | None, Event]] = {}
            asked = [leaf.at for leaf in self.model.leaves if leaf.kind == "answer"]
            for meant, event in zip(self._meant, self.events, strict=True):
                here = Here(event.values, before, after, guesses)
                answers = tuple(event.values[at] for at in asked) if event.is_answer else None
                found.setdefault(self._effect(event, meant, here), {}).setdefault(answers, event)
            self._effects[key] = [(effect, list(events.values())) for effect, events in found.items()]
        return self._effects[key]

    def _effect(self, event: Event, meant: list[bool], here: Here) -> Effect:
        model = self.model
        statuses = [
            FALSE if not may_be else TRUE if where is None else where(here)
            for may_be, where in zip(meant, model.wheres, strict=True)
        ]
        said = []
        for each in model.eaches:
            status = statuses[each.selector]
            if status == FALSE:
                said.append(_at_first(each))
            else:
                item = each.item(here)
                said.append(min(status, item) if each.is_some else max(2 - status, item))
        placed = tuple(statuses[place.selector] for place in model.places)
        return Effect(
            tuple(statuses[at] for at in model.afters),
            tuple(statuses[at] for at in model.befores),
            tuple(said),
            tuple(statuses[count.selector] for count in model.counts),
            placed,
            tuple(
                tuple(event.values[at] for at in place.questions) if status else ()
                for place, status in zip(model.places, placed, strict=True)
            ),
            event.message.content if model.wholes and event.message is not None else "",
        )

    def _texts(self, states: tuple[int | None, ...], text: str) -> tuple[int | None, ...]:
        """The automata of the whole text have read one more message, below those before it."""
        if self.is_generous or not states:
            return states
        found = []
        for dfa, state in zip(self.model.wholes, states, strict=True):
            here = dfa.start if state is None else state
            for label in dfa.alphabet.indices(text if state is None else "\n" + text):
                here = dfa.delta[here][label]
            found.append(here)
        return tuple(found)

    # ------------------------------------------------------------------------------------------------------- verdicts
    def _hopeful(self, state: State) -> State | None:
        """The state without what need not be remembered; None where nothing that comes can make all statements true."""
        verdicts = self._verdicts(state, None)
        if verdicts is None:
            return None
        settled = frozenset(at for at, (low, _) in enumerate(verdicts) if low == TRUE)
        if settled == state.settled:
            return state
        model = self.model
        eaches, counts, picks = list(state.eaches), list(state.counts), list(state.picks)
        kept = {leaf for at, leaf in enumerate(model.leaves) if at in model.guessed or model.readers[at] - settled}
        for leaf in model.leaves:
            if leaf in kept:
                continue
            if leaf.kind == "each":
                eaches[leaf.at] = _at_first(model.eaches[leaf.at])
            elif leaf.kind == "count":
                counts[leaf.at] = (0, 0)
            elif leaf.kind == "place" and not any(each.kind == "place" and each.at == leaf.at for each in kept):
                picks[leaf.at] = NOTHING
        return state._replace(eaches=tuple(eaches), counts=tuple(counts), picks=tuple(picks), settled=settled)

    def _accepts(self, state: State, answer: Event) -> bool:
        """Whether all statements are true of the conversation that ends here."""
        verdicts = self._verdicts(state, answer)
        return verdicts is not None and (self.is_generous or all(low == TRUE for low, _ in verdicts))

    def _verdicts(self, state: State, answer: Event | None) -> list[Range] | None:
        """What each statement can still become, or, with the answer, what it is; None where that is not true of all."""
        ranges = [self._range(leaf, state, answer) for leaf in self.model.leaves]
        for guess, leaf in zip(state.guesses, self.model.guessed, strict=True):
            if leaf >= 0:
                low, high = ranges[leaf]
                if not low <= guess <= high:
                    return None
                ranges[leaf] = guess, guess
        verdicts = []
        for at, statement in enumerate(self.model.statements):
            verdict = (TRUE, TRUE) if at in state.settled else statement(ranges)
            if verdict[1] != TRUE:
                return None
            verdicts.append(verdict)
        return verdicts

    def _range(self, leaf: Leaf, state: State, answer: Event | None) -> Range:
        """What a leaf can still become; when the conversation is over, what it is."""
        match leaf.kind:
            case "constant":
                return leaf.at, leaf.at
            case "guess":
                return state.guesses[leaf.at], state.guesses[leaf.at]
            case "each":
                value = state.eaches[leaf.at]
                if answer is not None:
                    return value, value
                return (value, TRUE) if self.model.eaches[leaf.at].is_some else (FALSE, value)
            case "count":
                return _compared(self.model.counts[leaf.at], state.counts[leaf.at], answer is not None)
        if answer is None:
            return OPEN
        if leaf.kind == "answer":
            value = answer.values[leaf.at]
        elif leaf.kind == "place":
            place = self.model.places[leaf.at]
            if place.is_only and self.is_generous and not self.is_single(place):
                return OPEN
            value = _at_place(place, state.picks[leaf.at], leaf.part)
        else:
            here = state.texts[leaf.at]
            if self.is_generous or here is None:
                return OPEN
            value = TRUE if self.model.wholes[leaf.at].accept[here] else FALSE
        return value, value

    def is_single(self, place: Placed) -> bool:
        """Whether one message of the role does as well as several: nothing else is asked of single ones."""
        model = self.model
        others = {each.selector for each in model.eaches} | {count.selector for count in model.counts}
        others |= {*model.befores, *model.afters, *(other.selector for other in model.places if not other.is_only)}
        selectors = list(model.selectors)
        role = selectors[place.selector].role
        return not model.wholes and not any(
            selectors[at].kind == "message" and selectors[at].role in (None, role) for at in others
        )

    def is_exact(self) -> bool:
        """Whether finding nothing is a proof even without generosity, as far as places and the whole text go."""
        return not self.model.wholes and all(self.is_single(place) for place in self.model.places if place.is_only)


def _path(before: dict[State, tuple[State, Event] | None], state: State) -> list[Event]:
    found = []
    while (step := before[state]) is not None:
        state, event = step
        found.append(event)
    return found[::-1]


def _at_first(each: Each) -> int:
    """What a quantifier says before any event."""
    return FALSE if each.is_some else TRUE


def _gathered(each: Each, so_far: int, said: int) -> int:
    return max(so_far, said) if each.is_some else min(so_far, said)


def _more(count: Counted, so_far: tuple[int, int], status: int) -> tuple[int, int]:
    certain, most = so_far
    return min(certain + (status == TRUE), count.cap), min(most + (status != FALSE), count.cap)


def _compared(count: Counted, so_far: tuple[int, int], is_over: bool) -> Range:
    """What the comparison can still become: more events may come, unless the conversation is over.

    A count that reached the cap is above the bound, by however much.
    """
    certain, most = so_far
    last = most if is_over else count.cap
    turns = (certain, last, math.floor(count.bound), math.ceil(count.bound))
    outcomes = {
        compared(count.operator, float(number), count.bound) is True for number in turns if certain <= number <= last
    }
    low = TRUE if outcomes == {True} else FALSE
    high = FALSE if outcomes == {False} else TRUE
    return (low, high) if low == high or not is_over else (UNKNOWN, UNKNOWN)


def _picked(place: Placed, so_far: Pick, status: int, answers: Values) -> Pick:
    """One more event: is it the one at this place, or may it be?"""
    is_unknown, seen, kept = so_far
    if status == FALSE or is_unknown:
        return so_far
    if status == UNKNOWN:
        return True, 0, ()
    if place.index > 0:
        if seen >= place.index:
            return so_far
        return False, seen + 1, (answers,) if seen + 1 == place.index else ()
    return False, min(seen + 1, max(-place.index, 2)), (*kept, answers)[place.index :]


def _at_place(place: Placed, pick: Pick, part: int) -> int:
    is_unknown, seen, kept = pick
    if is_unknown:
        return UNKNOWN
    if seen < abs(place.index):
        return place.missing[part]
    return kept[0][part]
