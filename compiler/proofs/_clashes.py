"""What to say of limits that cannot be met together (P414), with the arithmetic in plain words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

from bylaw.compiler.proofs._limits import Limit, decimal, listed, mark, percent, quoted, reach, shortest
from bylaw.compiler.proofs._mixtures import Clash
from bylaw.compiler.proofs.interface import PolicyView
from bylaw.spec.errors import Diagnostic, Fix, Severity
from bylaw.spec.expression import BooleanExpression, Count
from bylaw.spec.logic import meaning, negate

MOST_SHOWN = 3
"""Answers in one message."""


def described(view: PolicyView, clash: Clash) -> Diagnostic:
    """The finding for a smallest set of limits that no mixture of answers meets."""
    names = [limit.name for limit in clash.limits]
    rules = [f"`{rule.term.id}`" for rule in clash.rules]
    under = f", with {listed(rules)}" if rules else ""
    if len(names) == 1:
        message = f"{names[0]} can never be met{under}"
    else:
        message = f"{listed(names)} can never {'both' if len(names) == 2 else 'all'} be met{under}"
    yielding = [limit.name for limit in clash.limits if limit.gives_way]
    if yielding:
        message += f"; {listed(yielding)} {'gives' if len(yielding) == 1 else 'give'} way, at no more than the price"
    first, *rest = clash.limits
    marks = [mark(limit.term.extent, f"... and this for {limit.asks}") for limit in rest]
    marks += [mark(rule.term.extent, "... while this holds for every answer") for rule in clash.rules]
    return Diagnostic(
        "P414",
        Severity.WARNING if yielding else Severity.ERROR,
        message,
        mark(first.term.extent, f"this asks for {first.asks} ..." if marks else f"this asks for {first.asks}"),
        tuple(marks),
        (arithmetic(clash), *_witnesses(view, clash), *reach(first, clash.rules)),
        Fix("change a bound, or what is counted, so that all of them can be met"),
    )


def arithmetic(clash: Clash) -> str:
    """Why no mixture meets the limits."""
    pairs = list(zip(clash.limits, clash.weights, strict=True))
    if any(limit.term.among is not None for limit in clash.limits):
        return _points(clash)
    if all(limit.term.holds is not None for limit, _ in pairs) and all(abs(weight) == 1 for _, weight in pairs):
        raised = [limit for limit, weight in pairs if weight > 0]
        lowered = [limit for limit, weight in pairs if weight < 0]
        if not lowered:
            return _too_much(raised, clash.most)
        if not raised:
            return _too_little(lowered, -clash.most)
        if len(raised) == 1 and clash.most == 0:
            return _inside(raised[0], lowered)
    if len(pairs) == 2 and [weight for _, weight in pairs] in ([1, -1], [-1, 1]):
        values = {meaning(limit.term.value) for limit, _ in pairs}
        if len(values) == 1 and all(limit.term.value is not None for limit, _ in pairs):
            asked = [f"{limit.term.sense} {decimal(limit.bound)}" for limit, _ in pairs]
            return f"both bound the same average: {listed(asked)}"
    return (_by_parts(pairs) if clash.most == 0 else None) or _points(clash)


def _by_parts(pairs: Sequence[tuple[Limit, int]]) -> str | None:
    """Where answers that count for one limit are alone too much for the average of another."""
    if len(pairs) != 2:
        return None
    (event, given), (average, taken) = sorted(pairs, key=lambda pair: pair[0].term.holds is None)
    if event.term.holds is None or average.term.holds is not None or given <= 0 or taken >= 0:
        return None
    each = Fraction(given, -taken)
    unit = f" {average.term.value.unit.replace('_', ' ')}" if isinstance(average.term.value, Count) else ""
    share = percent(event.bound)
    return (
        f"answers that count for {event.name} have at least {decimal(each)}{unit}; {share} of all answers "
        f"alone make that an average of at least {decimal(each * event.bound)}, more than {decimal(average.bound)}"
    )


def _too_much(limits: Sequence[Limit], most: Fraction) -> str:
    total = sum((limit.bound for limit in limits), Fraction(0))
    summed = " + ".join(percent(limit.bound) for limit in limits)
    names = listed([limit.name for limit in limits])
    what = "one" if most == 1 else str(most)
    return (
        f"no answer counts for more than {what} of {names}, but {summed} = {percent(total)} "
        f"is more than {percent(most)}"
    )


def _too_little(limits: Sequence[Limit], least: Fraction) -> str:
    total = sum((limit.bound for limit in limits), Fraction(0))
    summed = " + ".join(percent(limit.bound) for limit in limits)
    names = listed([limit.name for limit in limits])
    what = "one" if least == 1 else str(least)
    return (
        f"every answer counts for at least {what} of {names}, but {summed} = {percent(total)} "
        f"is less than {percent(least)}"
    )


def _inside(one: Limit, others: Sequence[Limit]) -> str:
    names = " or ".join(other.name for other in others)
    least = percent(one.bound)
    if len(others) == 1:
        other = others[0]
        if one.term.holds is not None and meaning(one.term.holds) == meaning(other.term.holds):
            return f"both count the same: {one.asks} and {other.asks} of the answers"
        return (
            f"every answer that counts for {one.name} counts for {other.name} too, "
            f"but {least} is more than {percent(other.bound)}"
        )
    total = sum((other.bound for other in others), Fraction(0))
    summed = " + ".join(percent(other.bound) for other in others)
    return (
        f"every answer that counts for {one.name} counts for {names} too, "
        f"but {least} is more than {summed} = {percent(total)}"
    )


def _points(clash: Clash) -> str:
    """The proof as it stands: points for answers, of which the limits ask for more than any answer has."""
    given: list[str] = []
    taken: list[str] = []
    for limit, weight in zip(clash.limits, clash.weights, strict=True):
        points = f"{abs(weight)} point{'' if abs(weight) == 1 else 's'}"
        what = "if it counts for" if limit.term.holds is not None else "for each unit of what is averaged by"
        elsewhere = ""
        if limit.term.among is not None:
            elsewhere = f" (or {decimal(abs(weight) * limit.bound)} if that is not about it)"
        (given if weight > 0 else taken).append(f"{points} {what} {limit.name}{elsewhere}")
    parts = [f"give an answer {listed(given)}"] if given else []
    parts += [f"take from it {listed(taken)}"] if taken else []
    return (
        f"{' and '.join(parts)}: no answer has more than {decimal(clash.most)}, "
        f"but the limits ask for {decimal(clash.asked)} on average"
    )


def _witnesses(view: PolicyView, clash: Clash) -> Iterator[str]:
    """Answers that do as much for the limits as any can: a short one of each kind."""
    counted = [limit for limit in clash.limits if limit.term.holds is not None]
    if any(limit.term.among is not None for limit in clash.limits):
        return  # whether an answer is one that a limit is about is a question of its own
    if len({meaning(limit.term.holds) for limit in counted}) < 2:
        return  # nothing to be shown by texts
    shown: list[str] = []
    for signs in dict.fromkeys(clash.best):
        statements: list[BooleanExpression] = [rule.obeyed for rule in clash.rules]
        for limit, counts in zip(clash.limits, signs, strict=True):
            if limit.term.holds is not None:
                statements.append(limit.term.holds if counts else negate(limit.term.holds))
        text = shortest(view, statements) if len(shown) < MOST_SHOWN else None
        if text is not None:
            does = [limit.name for limit, counts in zip(clash.limits, signs, strict=True) if counts]
            shown.append(f"{quoted(text)} (counts for {listed(does) if does else 'none of them'})")
    if shown:
        yield f"answers that do most for the limits: {', '.join(shown)}"
