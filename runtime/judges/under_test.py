"""Whether the model that judges is the one whose answers are judged: models favour what they wrote themselves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bylaw.runtime.judges.judge import require_other_model
from bylaw.spec.trace import Trace

FACTS = ("meta.sample.model", "meta.inspect.model", "model.name", "meta.model")
"""Where transcripts name the model that answered: those of `bylaw sample`, logs of Inspect, a key `model`."""
_NOBODY = frozenset({"", "none", "none/none"})


def models_that_answered(traces: Iterable[Trace]) -> tuple[str, ...]:
    """The names (or digests of files) of the models that transcripts name, each once, in order of appearance."""
    told = (trace.facts.get(fact) for trace in traces for fact in FACTS)
    return tuple(dict.fromkeys(each for each in told if isinstance(each, str) and each.strip() not in _NOBODY))


def models_that_judge(scorers: Iterable[Any]) -> tuple[str, ...]:
    """What the models behind scorers are known by, where they may not judge themselves."""
    found = (name for scorer in scorers for name in getattr(scorer, "judging_models", ()))
    return tuple(dict.fromkeys(found))


def require_other_models(judging: Iterable[str], answered: Iterable[str]) -> None:
    """Raises JudgeError where one model is on both sides; see `require_other_model`."""
    known = tuple(answered)
    for judge in judging:
        for model in known:
            require_other_model(judge, model)
