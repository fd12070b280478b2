"""What functions ask of their arguments: whole numbers, sizes."""

from __future__ import annotations

from collections.abc import Callable

from bylaw.spec.catalog import Argument, NoValue, Parameter

TEXT = Parameter("text", "text")
N = Parameter("n", "number")


def whole(number: float, name: str) -> int:
    """A number as an index: whole, not 0, negative ones counting from the end. Raises NoValue."""
    reason = _not_an_index(number, name)
    if reason:
        raise NoValue(reason)
    return int(number)


def size(number: float, name: str, most: int) -> int:
    """A number as a size: whole, from 1 to `most`. Raises NoValue."""
    reason = _not_a_size(number, name, most)
    if reason:
        raise NoValue(reason)
    return int(number)


def refuse_index(*places: int) -> Callable[[tuple[Argument | None, ...]], str | None]:
    """Refuses what is no index at these places of the arguments."""

    def refuse(arguments: tuple[Argument | None, ...]) -> str | None:
        return next(filter(None, (_not_an_index(arguments[place], "a place") for place in places)), None)

    return refuse


def refuse_size(place: int, most: int) -> Callable[[tuple[Argument | None, ...]], str | None]:
    """Refuses what is no size at this place of the arguments."""
    return lambda arguments: _not_a_size(arguments[place], "a length", most)


def refuse_empty(place: int, what: str) -> Callable[[tuple[Argument | None, ...]], str | None]:
    """Refuses an empty text at this place of the arguments."""
    return lambda arguments: f"{what} cannot be the empty text" if arguments[place] == "" else None


def not_longer(text: str, most: int) -> str:
    """The text itself. Raises NoValue when it is longer than what can be worked on."""
    if len(text) > most:
        raise NoValue(f"a text of {len(text):,} characters is too long for this (at most {most:,})")
    return text


def _not_an_index(number: Argument | None, name: str) -> str | None:
    if isinstance(number, (int, float)) and (number != number or number in (0, float("inf"), -float("inf"))):
        return f"{name} is a whole number, 1 for the first or -1 for the last, and not {_shown(number)}"
    if isinstance(number, float) and number != int(number):
        return f"{name} is a whole number, 1 for the first or -1 for the last, and not {_shown(number)}"
    return None


def _not_a_size(number: Argument | None, name: str, most: int) -> str | None:
    if isinstance(number, (int, float)) and not (1 <= number <= most and number == int(number)):
        return f"{name} is a whole number from 1 to {most}, and not {_shown(number)}"
    return None


def _shown(number: float) -> str:
    return f"{number:g}"
