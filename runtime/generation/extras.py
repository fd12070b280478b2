"""What a law may have besides the policy: black boxes that score texts, rules on beginnings, grammars."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bylaw.runtime.decoders.interface import DecodeError, DecodeTask, PromptLaw, Scorer
from bylaw.runtime.look_ahead.interface import LookAhead
from bylaw.runtime.models.interface import Vocabulary

_LONGEST_SHOWN = 60


class ExtraError(DecodeError):
    """Something that was to be added to the law cannot be."""


@dataclass(frozen=True)
class Extras:
    """Added to the law of every prompt.

    `scorers`, `prefix_rule`: see `PromptLaw`. `rewards`: nats for the finished text, such as those of the grammars
    among `look_ahead`, which are further factors of the proposal.
    """

    scorers: tuple[Scorer, ...] = ()
    prefix_rule: Callable[[str], bool] | None = None
    rewards: tuple[Callable[[str], float], ...] = ()
    look_ahead: tuple[LookAhead, ...] = ()

    def add_to(self, tasks: Sequence[DecodeTask]) -> list[DecodeTask]:
        """The tasks with all of it; those that share a law still do. Raises ExtraError as `law`."""
        laws = {id(task.law): self.law(task.law) for task in tasks}
        return [
            replace(task, law=laws[id(task.law)], look_ahead=(*task.look_ahead, *self.look_ahead)) for task in tasks
        ]

    def law(self, law: PromptLaw) -> PromptLaw:
        """The law with all of it. Raises ExtraError for a second rule on beginnings."""
        if self.prefix_rule is not None and law.prefix_rule is not None:
            raise ExtraError("a law can have one rule on beginnings only")
        return PromptLaw(
            law.groups,
            _together(law.residual, self.rewards),
            (*law.scorers, *self.scorers),
            self.prefix_rule or law.prefix_rule,
        )

    def require_start(self, tasks: Sequence[DecodeTask], vocabulary: Vocabulary, max_tokens: int) -> None:
        """Tells before the first token where a grammar and the rules of some prompt leave no token to begin with.

        Raises DecodeError.
        """
        if not any(hasattr(factor, "log_reward") for factor in self.look_ahead):
            return
        from bylaw.runtime.decoders.engine import factors_of
        from bylaw.runtime.look_ahead.grammar import Grammar, require_start

        seen: set[int] = set()
        for task in tasks:
            if id(task.twists) not in seen:
                seen.add(id(task.twists))
                factors = factors_of(task, vocabulary)
                for grammar in factors:
                    if isinstance(grammar, Grammar):
                        require_start(grammar, [factor for factor in factors if factor is not grammar], max_tokens)


def _together(
    residual: Callable[[str], float] | None, rewards: tuple[Callable[[str], float], ...]
) -> Callable[[str], float] | None:
    parts = rewards if residual is None else (*rewards, residual)

    def reward(text: str) -> float:
        total = 0.0
        for part in parts:
            total += part(text)
            if total == -math.inf:  # what is forbidden need not be looked at further
                break
        return total

    return reward if parts else None


def load_function(place: str) -> Callable[[str], Any]:
    """The function named by `FILE.py:NAME`. The file is run: it must be one's own. Raises ExtraError."""
    path, colon, name = place.rpartition(":")
    if not colon or not path or not name.isidentifier():
        raise ExtraError(f"`{place}` does not name a function: write FILE.py:NAME")
    file = Path(path)
    if not file.is_file():
        raise ExtraError(f"there is no file `{path}` with the function `{name}`")
    spec = importlib.util.spec_from_file_location(f"bylaw_extra_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise ExtraError(f"`{path}` is not a Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever the file does when it is run
        raise ExtraError(f"`{path}` cannot be run: {_words(error)}") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise ExtraError(f"`{path}` has no function `{name}`")
    found: Callable[[str], Any] = function
    return found


def scorer(place: str) -> Scorer:
    """A scorer from `FILE.py:NAME` or `FILE.py:NAME@sentence`; the function takes a text and returns nats.

    Raises ExtraError, also, when it is called, for what the function raises or returns instead of a number.
    """
    where, _, level = place.partition("@")
    if level not in ("", "response", "sentence"):
        raise ExtraError(f"`{place}`: a scorer reads each `response` or each `sentence`, not each `{level}`")
    function = load_function(where)

    def score(text: str) -> float:
        try:
            found = float(function(text))
        except Exception as error:  # whatever the function does
            raise ExtraError(f"the scorer `{where}` failed on {_shown(text)}: {_words(error)}") from error
        if math.isnan(found) or found == math.inf:
            raise ExtraError(
                f"the scorer `{where}` gave {found} for {_shown(text)}: it must return a number of nats, or -inf to "
                "forbid a text"
            )
        return found

    return Scorer(where, score, "sentence" if level == "sentence" else "response")


def prefix_rule(place: str) -> Callable[[str], bool]:
    """A rule on beginnings from `FILE.py:NAME`; the function takes a text and says whether it may still become legal.

    Raises ExtraError, also, when it is called, for what the function raises or returns instead of True or False.
    """
    function = load_function(place)

    def allows(text: str) -> bool:
        try:
            found = function(text)
        except Exception as error:  # whatever the function does
            raise ExtraError(f"the rule `{place}` failed on {_shown(text)}: {_words(error)}") from error
        if not isinstance(found, bool):
            raise ExtraError(f"the rule `{place}` must return True or False; for {_shown(text)} it gave {found!r}")
        return found

    return allows


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _shown(text: str) -> str:
    short = text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
    return f"the text {short!r}"
