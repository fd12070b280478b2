"""A decoder from words: its name, and options as they are typed."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bylaw.runtime.decoders.choose import decoder_class
from bylaw.runtime.decoders.interface import DecodeError, Decoder

_BURN_IN, _BETWEEN = 20, 10
"""Steps of a Markov chain before the first answer that is handed out, and from one to the next."""


class OptionError(DecodeError):
    """An option that a decoder does not have, or a value that it cannot take."""


@dataclass(frozen=True)
class Option:
    """One option of a decoder: its name, what it takes in words, and its default."""

    name: str
    takes: str
    default: str


def options_of(name: str) -> tuple[Option, ...]:
    """The options of a decoder that can be typed; how many responses there are to be is none of them.

    Raises DecodeError for an unknown decoder.
    """
    return tuple(
        Option(field.name, words, str(field.default))
        for field, takes in _typed(decoder_class(name))
        if (words := _words(takes)) and field.name != "responses"
    )


def make_decoder(name: str, responses: int, settings: Sequence[str] = (), **parts: object) -> Decoder:
    """The decoder with `settings` such as `particles=64`, for `responses` answers to a prompt.

    `parts` are fields that cannot be typed, such as a model.

    Raises OptionError; DecodeError for an unknown decoder.
    """
    kind = decoder_class(name)
    known = {field.name: takes for field, takes in _typed(kind) if _words(takes)}
    given: dict[str, Any] = {}
    for setting in settings:
        option, equals, value = setting.partition("=")
        option = option.strip().replace("-", "_")
        if not equals:
            raise OptionError(f"`{setting}` is no option: write NAME=VALUE")
        if option == "responses":
            raise OptionError("how many answers there are to be is no option of a decoder: use -n")
        if option not in known:
            names = [each for each in known if each != "responses"]
            near = difflib.get_close_matches(option, names, n=1)
            meant = f"; did you mean `{near[0]}`?" if near else f"; it has {', '.join(f'`{each}`' for each in names)}"
            raise OptionError(f"the decoder `{name}` has no option `{option}`{meant}")
        given[option] = _read(value.strip(), known[option], f"`{option}` of the decoder `{name}`")
    return typing.cast(Decoder, kind(**{**_for(name, known, responses), **given, **parts}))


def _for(name: str, known: Mapping[str, Any], responses: int) -> dict[str, Any]:
    """What makes a decoder give so many responses."""
    if "responses" in known:
        return {"responses": responses}
    if {"steps", "burn_in", "thin"} <= known.keys():
        return {"steps": _BURN_IN + _BETWEEN * responses, "burn_in": _BURN_IN, "thin": _BETWEEN}
    return {"particles": responses} if "particles" in known else {}


def _typed(kind: type) -> list[tuple[dataclasses.Field[Any], Any]]:
    hints = typing.get_type_hints(kind)
    return [(field, hints[field.name]) for field in dataclasses.fields(kind) if field.init]


def _kinds(takes: Any) -> list[Any]:
    """The alternatives of an annotation; a literal's are its values."""
    origin = typing.get_origin(takes)
    if origin in (typing.Union, types.UnionType):
        return [kind for part in typing.get_args(takes) for kind in _kinds(part)]
    return list(typing.get_args(takes)) if origin is typing.Literal else [takes]


_NAMES = types.MappingProxyType({int: "a whole number", float: "a number", str: "a text", bool: "yes or no"})


def _words(takes: Any) -> str:
    """What can be typed for an annotation; nothing where something cannot be."""
    kinds = [kind for kind in _kinds(takes) if kind is not type(None)]
    typed = [kind for kind in kinds if isinstance(kind, str) or kind in _NAMES]
    return " or ".join(f"`{kind}`" if isinstance(kind, str) else _NAMES[kind] for kind in typed)


def _read(value: str, takes: Any, what: str) -> Any:
    kinds = _kinds(takes)
    if type(None) in kinds and value.lower() in ("none", ""):
        return None
    if value in kinds:
        return value
    for kind in kinds:
        if kind is bool and value.lower() in ("yes", "no", "true", "false"):
            return value.lower() in ("yes", "true")
        if kind in (int, float) and bool not in kinds:
            try:
                return kind(value)
            except ValueError:
                continue
        if kind is str:
            return value
    raise OptionError(f"{what} takes {_words(takes)}, not `{value}`")


def rows_of(decoder: Decoder) -> int:
    """Sequences that a decoder grows at once for one prompt, roughly."""
    names = ("particles", "proposals", "draws", "chains", "responses", "n")
    return max((int(getattr(decoder, name, 1) or 1) for name in names), default=1)
