"""Decoders by name, and the choice between SIR and SMC by what a pilot says.

A decoder is a module of this folder with a class of its name (`best_of_n`: `BestOfN`) that has `decode`. There is no
list to keep: whatever lies in the folder is found.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import pkgutil
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

import bylaw.runtime.decoders as folder
from bylaw.runtime.decoders.interface import DecodeError, Decoder, DecodeTask, Estimate
from bylaw.runtime.models.interface import LanguageModel
from bylaw.runtime.models.metering import Limits, Meter


def decoder_names() -> tuple[str, ...]:
    """The names of all decoders, in alphabetical order."""
    modules = sorted(module.name for module in pkgutil.iter_modules(folder.__path__))
    return tuple(name for name in modules if not name.startswith("_") and _class(name) is not None)


def decoder_named(name: str, **options: object) -> Decoder:
    """The decoder of that name with those options.

    Raises DecodeError for names and options that do not exist, with the nearest that does.
    """
    found = decoder_class(name)
    taken = decoder_options(name)
    for option in options:
        if option not in taken:
            raise DecodeError(
                f"the decoder `{name}` has no option `{option}`{_nearest(option, taken)}; it has {_listed(taken)}"
            )
    try:
        made: Decoder = found(**options)
    except TypeError as error:
        raise DecodeError(f"the decoder `{name}` cannot be made of these options: {error}") from error
    return made


def decoder_class(name: str) -> type:
    """The class of the decoder of that name. Raises DecodeError for a name that does not exist."""
    known = decoder_names()
    found = _class(name) if name in known else None
    if found is None:
        raise DecodeError(f"there is no decoder `{name}`{_nearest(name, known)}; there are {_listed(known)}")
    return found


def decoder_options(name: str) -> tuple[str, ...]:
    """The options of a decoder that exists, in their order."""
    found = _class(name)
    if found is None:
        raise DecodeError(f"there is no decoder `{name}`")
    return tuple(inspect.signature(found).parameters)


def _class(name: str) -> type | None:
    module = importlib.import_module(f"{folder.__name__}.{name}")
    wanted = name.replace("_", "")
    for each in vars(module).values():
        own = inspect.isclass(each) and each.__module__ == module.__name__
        if own and each.__name__.casefold() == wanted and hasattr(each, "decode"):
            found: type = each
            return found
    return None


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name.casefold(), known, n=1, cutoff=0.5)
    return f"; did you mean `{near[0]}`?" if near else ""


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "none"


# ----------------------------------------------------------------------------------------------------------- SIR or SMC
@dataclass(frozen=True)
class Chosen:
    """The decoder with the larger mean log Ẑ per prompt, and by how much (nats; above zero speaks for SMC).

    `passes`: what the pilot cost. `certain`: the interval of the difference does not hold zero.
    """

    decoder: Decoder
    advantage_of_smc: Estimate
    passes: int

    @property
    def certain(self) -> bool:
        return not self.advantage_of_smc.low <= 0 <= self.advantage_of_smc.high


def sir_or_smc(
    model: LanguageModel,
    tasks: Sequence[DecodeTask],
    *,
    max_tokens: int,
    seed: int,
    particles: int = 16,
    runs: int = 32,
    limits: Limits | None = None,
    **options: object,
) -> Chosen:
    """SIR or SMC with `particles` (and `options` that both have), by the mean log Ẑ of `runs` runs of each.

    log Z − E log Ẑ ≥ KL(law of a response ‖ p*), so the larger mean is the nearer one, whatever Z is. The runs are
    spread over the tasks, the same for both; their differences give the interval (95 %, normal). Equal prompts and
    seeds give equal choices. Where it is not certain the choice is the larger mean all the same; SIR, which has less to
    go wrong, where they are equal. An estimate of zero counts as 30 nats below the lowest other one. Raises DecodeError
    where the limits end the pilot.
    """
    if runs < 2 or not tasks:
        raise DecodeError("a choice between decoders needs two runs and one task at least")
    given = {"particles": particles, **options}
    decoders = [decoder_named(name, **given) for name in ("sir", "smc")]
    chosen = [tasks[i % len(tasks)] for i in range(runs)]
    # runs of one task stay together, so that they share batches
    chosen.sort(key=lambda task: next(i for i, each in enumerate(tasks) if each is task))
    meter = Meter(limits)
    means = []
    for decoder in decoders:
        results = decoder.decode(meter.watch(model), chosen, max_tokens=max_tokens, seed=seed, limits=None)
        if any(result.diagnostics.stopped is not None for result in results):
            raise DecodeError("a limit ended the pilot before it could tell sir from smc")
        means.append(np.array([result.log_z_estimate for result in results]))
    finite = np.concatenate(means)
    finite = finite[np.isfinite(finite)]
    lowest = (finite.min() if len(finite) else 0.0) - 30.0
    gaps = np.maximum(means[1], lowest) - np.maximum(means[0], lowest)
    middle, error = float(gaps.mean()), float(gaps.std(ddof=1) / np.sqrt(runs))
    estimate = Estimate(middle, middle - 1.96 * error, middle + 1.96 * error)
    return Chosen(decoders[1] if middle > 0 else decoders[0], estimate, meter.passes)
