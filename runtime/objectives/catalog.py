"""The objectives by name: the files of this folder, found without importing one (they import torch)."""

from __future__ import annotations

import importlib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

from bylaw.runtime.objectives.errors import ObjectiveError
from bylaw.spec import catalog as spec_catalog

if TYPE_CHECKING:
    from torch import Tensor

    from bylaw.runtime.objectives.interface import Batch, Loss, Source

_NOT_OBJECTIVES = frozenset(
    {"__init__", "interface", "catalog", "errors", "pairs", "policy_gradient", "dual_ascent", "endogenous", "votes"}
)


class ObjectiveKind(Protocol):
    """What a file of this folder has: its docstring says in the first line what the objective is.

    `NEEDS`: fields of `Batch` that must be there, beside `log_probs` and `mask`; `a|b` is either of two. Where more is
    needed with some settings, `also_needs(settings)` says what. `ROWS`: who writes the rows.
    `OPTIMUM`: what is reached with enough samples and a rich enough model. `Settings`: a frozen dataclass of options
    with defaults, which raises ObjectiveError for values that make no sense.
    """

    NEEDS: tuple[str, ...]
    ROWS: Source
    OPTIMUM: str
    Settings: type[Any]

    @staticmethod
    def prepare(batch: Batch, settings: Any) -> Batch:
        """What needs all rows of a prompt at once (baselines, normalised weights, selection), without gradient."""

    @staticmethod
    def loss(batch: Batch, settings: Any) -> Loss:
        """The loss of a batch or micro-batch that `prepare` has seen."""


@dataclass(frozen=True)
class Objective:
    """One objective with its settings, ready for a training loop.

    A step: write or read rows, `prepare` all of them at once (it may leave some out: `place` tells which are left), sum
    `counts` over micro-batches and processes, then for each micro-batch `take` its rows, `replace` their
    log-probabilities by those of a pass with gradient, and `loss(part).value(counts)` backwards; then one step of the
    optimiser.
    """

    name: str
    kind: ObjectiveKind
    settings: Any

    @property
    def needs(self) -> tuple[str, ...]:
        """Fields of a batch that must be there with these settings, beside `log_probs` and `mask`; `a|b` is either."""
        also = getattr(self.kind, "also_needs", None)
        return self.kind.NEEDS if also is None else (*self.kind.NEEDS, *also(self.settings))

    @property
    def rows(self) -> Source:
        """Who writes the rows: `data`, `law`, `policy`, or `any` of the last two."""
        return self.kind.ROWS

    def prepare(self, batch: Batch) -> Batch:
        """The whole batch with what its micro-batches need. Raises ObjectiveError for what is missing or unusable."""
        import torch

        if not batch.rows:
            raise ObjectiveError("the batch is empty: it has no rows to prepare")
        batch.need(*self.needs)
        with torch.no_grad():
            return self.kind.prepare(batch, self.settings)

    def loss(self, batch: Batch) -> Loss:
        """The loss of a prepared batch or of some of its rows. Raises ObjectiveError."""
        return self.kind.loss(batch, self.settings)

    def counts(self, batch: Batch) -> Mapping[str, Tensor]:
        """The count of each part of the loss, from a batch whose log-probabilities may be anything.

        Add them up over micro-batches and processes, and give the sums to `Loss.value`.
        """
        import torch

        given = {name: getattr(batch, name) for name in ("log_probs", "values", "score")}
        blank = {name: torch.zeros_like(value) for name, value in given.items() if value is not None}
        with torch.no_grad():
            parts = self.loss(replace(batch, **blank)).parts
        return {name: ratio.count for name, (_, ratio) in parts.items()}


def names() -> tuple[str, ...]:
    """The objectives that there are."""
    found = (path.stem for path in Path(__file__).parent.glob("*.py"))
    return tuple(sorted(name for name in found if name not in _NOT_OBJECTIVES and not name.startswith("_")))


def kind(name: str) -> ObjectiveKind:
    """One objective's file. Raises ObjectiveError for a name that there is not, with the nearest one."""
    if name not in names():
        nearest = spec_catalog.nearest(name, names())
        meant = f"; did you mean `{nearest}`?" if nearest is not None else "."
        raise ObjectiveError(f"there is no objective called `{name}`{meant} There are: {', '.join(names())}")
    return cast("ObjectiveKind", importlib.import_module(f"bylaw.runtime.objectives.{name}"))


def build(name: str, options: Mapping[str, object] = types.MappingProxyType({})) -> Objective:
    """An objective with options by the names of its settings; values may be text, as on a command line.

    Raises ObjectiveError for a name that there is not, an option that it does not have, a value that it cannot take.
    """
    found = kind(name)
    hints = typing.get_type_hints(found.Settings)
    given: dict[str, object] = {}
    for option, value in options.items():
        if option not in hints:
            nearest = spec_catalog.nearest(option, tuple(hints))
            meant = f"; did you mean `{nearest}`?" if nearest is not None else ""
            has = f"it has {', '.join(f'`{each}`' for each in hints)}" if hints else "it has none"
            raise ObjectiveError(f"the objective `{name}` has no option `{option}`{meant} ({has})")
        given[option] = _read(value, hints[option], f"option `{option}` of the objective `{name}`")
    return Objective(name, found, found.Settings(**given))


def _read(value: object, hint: Any, what: str) -> object:
    """A value as its type says: text is read, everything else must fit. Raises ObjectiveError."""
    choices = typing.get_args(hint)
    if typing.get_origin(hint) is Literal:
        if value in choices:
            return value
        raise ObjectiveError(f"{what} is `{value}`; it must be one of {', '.join(map(str, choices))}")
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        if value is None or value == "none":
            return None
        (hint,) = (each for each in choices if each is not type(None))
    if hint is bool:
        truth = {"true": True, "yes": True, "false": False, "no": False}.get(str(value).lower())
        if truth is None:
            raise ObjectiveError(f"{what} is `{value}`; it must be true or false")
        return truth
    try:
        number = float(cast("Any", value))
    except (TypeError, ValueError):
        number = float("nan")
    if isinstance(value, bool) or number != number or number in (float("inf"), -float("inf")):
        raise ObjectiveError(f"{what} is `{value}`, no number")
    if hint is int and number != int(number):
        raise ObjectiveError(f"{what} is `{value}`, no whole number")
    return int(number) if hint is int else number
