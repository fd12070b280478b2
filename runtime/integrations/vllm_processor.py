"""A logits processor for vLLM (its v1 interface): the token-level part of the law, rules by request.

    class Rules(LawLogitsProcessor):            # in a module that vLLM's workers can import
        @classmethod
        def laws(cls, vllm_config):
            return Laws(vocabulary, {"support": task})

    llm = LLM(model=..., logits_processors=[Rules])
    params = SamplingParams(temperature=1.0, max_tokens=100, extra_args={"bylaw": "support"})

Requests without `extra_args["bylaw"]` are left alone. What comes out are draws from the proposal: `weigh` (in
`bylaw.runtime.integrations.weigh`) tells their weights, without which they do not follow the law.

NOT RUN AGAINST vLLM ITSELF. The class is written to the interface that vLLM documents for v1 logits processors
(`vllm/v1/sample/logits_processor/interface.py`: constructor, `validate_params`, `is_argmax_invariant`, `update_state`,
`apply`), and tested with a stand-in engine that follows that contract: requests are removed, added and moved in this
order, moves go one way or swap, and the lists of output tokens are references that grow. Where vLLM is installed, the
class is one of its logits processors; elsewhere it is a plain class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bylaw.runtime.decoders.interface import DecodeError, DecodeTask
from bylaw.runtime.integrations.prefixes import Mode, PrefixLaw, split_response
from bylaw.runtime.models.interface import Vocabulary

if TYPE_CHECKING:
    _Base = object
else:
    try:
        from vllm.v1.sample.logits_processor import LogitsProcessor as _Base
    except ImportError:
        _Base = object

KEY = "bylaw"
"""What a request names its law by, in `extra_args`."""


@dataclass(frozen=True, eq=False)
class Laws:
    """Laws by name. `vocabulary` is that of the model, whose columns the logits have."""

    vocabulary: Vocabulary
    tasks: Mapping[str, DecodeTask]
    mode: Mode = "twist"


@dataclass(eq=False)
class _Request:
    """One row of the batch: its law, its temperature, and vLLM's own growing list of its output tokens."""

    law: PrefixLaw
    temperature: float
    output: Sequence[int]


class LawLogitsProcessor(_Base):
    """Subclass it and say in `laws` which there are; `TEMPERATURE` is the one that they were compiled for.

    Raises DecodeError where a request names a law that there is not, or a law does not fit the request's `max_tokens`.
    """

    TEMPERATURE: float = 1.0

    @classmethod
    def laws(cls, vllm_config: Any) -> Laws:
        """The laws of this processor, made once in each worker."""
        raise NotImplementedError("subclass LawLogitsProcessor and say in `laws` which laws there are")

    @classmethod
    def validate_params(cls, sampling_params: Any) -> None:
        """Raises ValueError for a request under a law with options that would change the law."""
        name = _law_of(sampling_params)
        if name is None:
            return
        if not isinstance(name, str):
            raise ValueError(f"extra_args[{KEY!r}] has to be the name of a law, not {name!r}")
        if not sampling_params.max_tokens:
            raise ValueError("a law needs max_tokens: rules look ahead as far as a response may go")
        if sampling_params.temperature != cls.TEMPERATURE:
            raise ValueError(
                f"the rules were compiled for temperature {cls.TEMPERATURE}, not {sampling_params.temperature}"
            )
        for option, is_neutral in _NEUTRAL.items():
            value = getattr(sampling_params, option, None)
            if value is not None and not is_neutral(value):
                raise ValueError(f"`{option}` changes what is drawn, so the weights of the law would be wrong")

    def __init__(self, vllm_config: Any, device: Any, is_pin_memory: bool) -> None:
        self._laws = self.laws(vllm_config)
        self._prepared: dict[tuple[str, int], PrefixLaw] = {}
        self._requests: dict[int, _Request] = {}

    def is_argmax_invariant(self) -> bool:
        """False: rules change which token is the likeliest."""
        return False

    def needs_output_token_ids(self) -> bool:
        """True: the state of a row is that of its output."""
        return True

    def update_state(self, batch_update: Any) -> None:
        """Follows rows that were removed, added and moved, in this order; None where nothing changed."""
        if batch_update is None:
            return
        for index in batch_update.removed:
            self._requests.pop(index, None)
        for index, params, _, output in batch_update.added:
            request = self._request(params, output)
            if request is None:
                self._requests.pop(index, None)
            else:
                self._requests[index] = request
        for source, target, direction in batch_update.moved:
            moved, replaced = self._requests.pop(source, None), self._requests.pop(target, None)
            if moved is not None:
                self._requests[target] = moved
            # the enumeration of vLLM, told by its name so that vLLM need not be imported
            if direction.name == "SWAP" and replaced is not None:
                self._requests[source] = replaced

    def apply(self, logits: Any) -> Any:
        """[N, V] logits, changed in place for the rows under a law; vLLM divides them by the temperature afterwards."""
        import torch

        by_law: dict[int, list[tuple[int, tuple[int, ...]]]] = {}
        for row, request in self._requests.items():
            if len(request.output) and min(request.output) < 0:
                raise DecodeError(
                    "the engine asks for a token before it knows the ones before it: switch asynchronous scheduling off"
                )
            tokens, ended = split_response(request.output, self._laws.vocabulary)
            if not ended:
                by_law.setdefault(id(request.law), []).append((row, tokens))
        for members in by_law.values():
            rows = [row for row, _ in members]
            factors = self._requests[rows[0]].law.log_factors([tokens for _, tokens in members])
            heat = np.array([self._requests[row].temperature for row in rows])
            added = torch.from_numpy(heat[:, None] * factors)
            # an engine may pad its logits beyond the vocabulary; no rule allows what is there
            padding = logits.shape[1] - added.shape[1]
            added = torch.nn.functional.pad(added, (0, padding), value=-torch.inf)
            at = torch.tensor(rows, device=logits.device)
            logits[at] = logits[at] + added.to(logits.device, logits.dtype)
        return logits

    def _request(self, params: Any, output: Sequence[int]) -> _Request | None:
        name = _law_of(params)
        if name is None:
            return None
        if name not in self._laws.tasks:
            known = ", ".join(f"`{each}`" for each in self._laws.tasks)
            raise DecodeError(f"there is no law called `{name}`; there are {known or 'none'}")
        place = name, int(params.max_tokens)
        if place not in self._prepared:
            law = PrefixLaw(self._laws.tasks[name], self._laws.vocabulary, place[1], self._laws.mode)
            self._prepared[place] = law
        return _Request(self._prepared[place], float(params.temperature), output)


def _law_of(params: Any) -> Any:
    """What a request says in `extra_args`; requests to pooling models have no such thing."""
    given = getattr(params, "extra_args", None) or {}
    return given.get(KEY)


def _empty(value: Any) -> bool:
    return not value


_NEUTRAL: dict[str, Callable[[Any], bool]] = {
    "top_p": lambda value: value == 1.0,
    "top_k": lambda value: value in (0, -1),
    "repetition_penalty": lambda value: value == 1.0,
    "min_p": _empty,
    "presence_penalty": _empty,
    "frequency_penalty": _empty,
    "min_tokens": _empty,
    "stop": _empty,
    "stop_token_ids": _empty,
    "ignore_eos": _empty,
    "logit_bias": _empty,
    "allowed_token_ids": _empty,
    "bad_words": _empty,
    "structured_outputs": _empty,
}
"""Options of a request, and when they change nothing."""
