"""Decision diagrams: a value for each way in which a number of yes-or-no events can turn out.

A diagram asks for events in the order of their numbers and ends in values. It is reduced: an event whose answer makes
no difference is not asked for, and equal parts stand once (Bryant 1986; with any values at the ends Bahar et al. 1993).
So a conjunction of 30 events has 30 nodes, not 2^30 ends, and an expected value is one pass over the nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from heapq import heappop, heappush
from typing import TypeAlias

from bylaw.compiler.values import Unknown

Value: TypeAlias = bool | float | Unknown
"""What a diagram ends in."""

MOST_NODES = 50_000
"""Nodes that one expression may add before it is given up."""
MOST_STEPS = 250_000
"""Pairs of nodes that may be put together for it; about a second."""
MOST_EVENTS = 200
"""Events of one trace; a diagram is as deep as it has events."""
_FULL = 1_000_000
"""Nodes and pairs after which a new table is begun, before the next expression."""
_END = -1
_TOO_MANY = "its concepts can turn out in too many ways to add up"


class DiagramTooLarge(Exception):
    """An expression hangs on too many events, or on too many ways in which they turn out; text fit for users."""


class Diagrams:
    """A table of nodes, numbered from 0; equal diagrams have the same number. What was combined once is remembered, so
    the same sentence about many texts is put together once."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._event: list[int] = []
        self._yes: list[int] = []
        self._no: list[int] = []
        self._value: list[Value] = []
        self._known: dict[Hashable, int] = {}
        self._combined: dict[Hashable, int] = {}
        self._most = MOST_NODES
        self._last = MOST_STEPS

    def begin(self) -> None:
        """Before each expression: counts its nodes from here on. Numbers from before it are no longer good for use."""
        if len(self._event) + len(self._combined) > _FULL:
            self._clear()
        self._most = len(self._event) + MOST_NODES
        self._last = len(self._combined) + MOST_STEPS

    def end(self, value: Value) -> int:
        """The diagram that is this value, however events turn out."""
        value = value + 0.0 if isinstance(value, float) else value  # never -0.0
        return self._node((type(value), value), _END, _END, _END, value)  # True and 1.0 are equal, but not the same

    def choice(self, event: int, yes: int, no: int) -> int:
        """`yes` where the event happens, else `no`; both ask only for events with larger numbers."""
        return yes if yes == no else self._node((event, yes, no), event, yes, no, False)

    def value(self, node: int) -> Value | None:
        """The value where it does not hang on any event, else None."""
        return self._value[node] if self._event[node] == _END else None

    def combined(self, name: Hashable, function: Callable[[Value, Value], Value], left: int, right: int) -> int:
        """The diagram of `function` of two values. `name` stands for the function: the same name, the same function.

        Raises DiagramTooLarge.
        """
        key = (name, left, right)
        found = self._combined.get(key)
        if found is None:
            first, second = self._event[left], self._event[right]
            if first == second == _END:
                found = self.end(function(self._value[left], self._value[right]))
            else:
                event = min(number for number in (first, second) if number != _END)
                ways = []
                for yes in (True, False):
                    one = self._after(left, event, yes)
                    other = self._after(right, event, yes)
                    ways.append(self.combined(name, function, one, other))
                found = self.choice(event, *ways)
            self._remember(key, found)
        return found

    def chosen(self, event: int, yes: int, no: int) -> int:
        """`yes` where the event happens, else `no`, whatever events they ask for. Raises DiagramTooLarge."""
        key = ("chosen", event, yes, no)
        found = self._combined.get(key)
        if found is None:
            first = min(number for number in (event, self._event[yes], self._event[no]) if number != _END)
            if first == event:
                found = self.choice(event, self._after(yes, event, True), self._after(no, event, False))
            else:
                ways = ((self._after(yes, first, way), self._after(no, first, way)) for way in (True, False))
                found = self.choice(first, *(self.chosen(event, *way) for way in ways))
            self._remember(key, found)
        return found

    def distribution(self, node: int, probabilities: Sequence[float]) -> tuple[tuple[Value, float], ...]:
        """Each value with its probability, when event i happens with `probabilities[i]`, independently of others."""
        mass = {node: 1.0}
        ends: list[int] = []
        waiting = [(self._event[node], node)]
        while waiting:  # in the order of the events, so a node comes after all those that lead to it
            event, here = heappop(waiting)
            if event == _END:
                ends.append(here)
                continue
            chance = probabilities[event]
            for way, share in ((self._yes[here], chance), (self._no[here], 1.0 - chance)):
                if way not in mass:
                    mass[way] = 0.0
                    heappush(waiting, (self._event[way], way))
                mass[way] += share * mass[here]
        return tuple((self._value[end], mass[end]) for end in ends)

    def expected(self, node: int, probabilities: Sequence[float]) -> float | Unknown:
        """The expected value (true is 1, false 0), or the first reason why one of its values cannot be told."""
        memory: dict[int, float | Unknown] = {}

        def of(here: int) -> float | Unknown:
            if here in memory:
                return memory[here]
            result: float | Unknown
            if self._event[here] == _END:
                value = self._value[here]
                result = value if isinstance(value, Unknown) else float(value)
            else:
                yes, no = of(self._yes[here]), of(self._no[here])
                chance = probabilities[self._event[here]]
                if isinstance(yes, Unknown) or isinstance(no, Unknown):
                    result = yes if isinstance(yes, Unknown) else no
                else:
                    result = chance * yes + (1.0 - chance) * no
            memory[here] = result
            return result

        return of(node)

    def events(self, node: int) -> frozenset[int]:
        """The numbers of the events that the value hangs on."""
        return frozenset(self._event[each] for each in self._below(node) if self._event[each] != _END)

    def ends(self, node: int) -> tuple[Value, ...]:
        """The values that it can have."""
        return tuple(self._value[each] for each in sorted(self._below(node)) if self._event[each] == _END)

    def _below(self, node: int) -> set[int]:
        """A node and all that it leads to."""
        seen: set[int] = set()
        waiting = [node]
        while waiting:
            here = waiting.pop()
            if here not in seen:
                seen.add(here)
                if self._event[here] != _END:
                    waiting += (self._yes[here], self._no[here])
        return seen

    def _remember(self, key: Hashable, node: int) -> None:
        if len(self._combined) >= self._last:
            raise DiagramTooLarge(_TOO_MANY)
        self._combined[key] = node

    def _after(self, node: int, event: int, yes: bool) -> int:
        """The diagram once this event is known; it asks for none with a smaller number."""
        if self._event[node] != event:
            return node
        return self._yes[node] if yes else self._no[node]

    def _node(self, key: Hashable, event: int, yes: int, no: int, value: Value) -> int:
        found = self._known.get(key)
        if found is None:
            found = len(self._event)
            if found >= self._most:
                raise DiagramTooLarge(_TOO_MANY)
            self._event.append(event)
            self._yes.append(yes)
            self._no.append(no)
            self._value.append(value)
            self._known[key] = found
        return found
