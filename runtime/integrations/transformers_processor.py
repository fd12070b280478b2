"""A logits processor for `transformers`: the token-level part of the law in `generate`, with exact weights afterwards.

    processor = LawProcessor(model, tasks, prompt_width=inputs["input_ids"].shape[1], max_tokens=100)
    sequences = network.generate(**inputs, logits_processor=[processor], **processor.sampling)
    samples = processor.weights(sequences)

What `generate` draws then is the proposal q, as in the decoders of bylaw; it follows the law only once it is weighed by
p0 · e^R / q, which `weights` tells (resample in proportion to exp(log_weight)). Rules without an automaton, and the
scorers of a task, act on these weights alone. Samplers behind the processor, such as top-k, change q in a way that it
cannot see: pass the generation configuration, and they are told of and their weights are refused.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import LogitsProcessor

from bylaw.runtime.decoders.interface import DecodeError, DecodeTask, RegulatedSample
from bylaw.runtime.integrations.prefixes import Mode, PrefixLaw, Tokens, split_response
from bylaw.runtime.models.huggingface import HuggingFaceModel
from bylaw.runtime.models.interface import FloatArray, collapse_end

_Key = tuple[int, Tokens]
"""(prompt, tokens of the response so far)."""


class LawChanged(UserWarning):
    """A generation configuration makes `generate` draw from another law than the proposal of the processor."""


@dataclass(eq=False)
class _Step:
    """The laws of one step. `row` of each beginning; `base`, `proposal` [n, V] log probabilities, ends collapsed;
    `log_p0`, `log_q` [n] of the beginnings themselves, NaN where they were not made here."""

    row: dict[_Key, int]
    base: FloatArray
    proposal: FloatArray
    log_p0: FloatArray
    log_q: FloatArray


class LawProcessor(LogitsProcessor):  # type: ignore[misc]  # transformers is not typed
    """Carries the rules of `tasks`, one for each prompt of the batch, in their order; one task serves all prompts.

    `model` is the network of `generate` as bylaw sees it (`bylaw.runtime.models.loaded.from_loaded`, or `load_model`);
    its temperature is part of the law, and `generate` must be given the same one. `prompt_width` [tokens] is the width
    of the prompts with their left padding; `max_tokens` the most new tokens, as `max_new_tokens`. With
    `num_return_sequences` the rows of one prompt follow each other, as `generate` has them. Rows are known by their
    tokens only, so they may be reordered and repeated. Mode `mask` only removes tokens (biased, its weights are exact).

    Raises DecodeError for tasks that do not fit. `generation_config`: see `check`.
    """

    supports_continuous_batching = False

    def __init__(
        self,
        model: HuggingFaceModel,
        tasks: Sequence[DecodeTask],
        *,
        prompt_width: int,
        max_tokens: int,
        mode: Mode = "twist",
        generation_config: Any = None,
    ) -> None:
        if not tasks:
            raise DecodeError("a logits processor needs the task of one prompt at least")
        self._vocabulary = model.vocabulary
        self._temperature = model.temperature
        self._width, self._cap = prompt_width, max_tokens
        laws = {id(task.law): PrefixLaw(task, model.vocabulary, max_tokens, mode) for task in tasks}
        self._laws = [laws[id(task.law)] for task in tasks]
        self._step: _Step | None = None
        self._finished: dict[_Key, tuple[float, float]] = {}
        self._remarks: tuple[str, ...] = ()
        if generation_config is not None:
            self.check(generation_config)

    @property
    def sampling(self) -> dict[str, Any]:
        """Arguments for `generate` under which it draws from the proposal itself."""
        plain = {"do_sample": True, "top_k": 0, "top_p": 1.0, "num_beams": 1}
        return {**plain, "temperature": self._temperature, "max_new_tokens": self._cap}

    @property
    def remarks(self) -> tuple[str, ...]:
        """What was found by `check` to change the law."""
        return self._remarks

    def check(self, generation_config: Any) -> tuple[str, ...]:
        """What in a generation configuration changes the law; a LawChanged warning where there is something.

        `weights` refuses to weigh afterwards. Arguments of `generate` win over the configuration that is given here.
        """
        self._remarks = changed_law(generation_config, self._temperature)
        if self._remarks:
            told = "; ".join(self._remarks)
            warnings.warn(f"responses will not follow the proposal of the rules: {told}", LawChanged, stacklevel=2)
        return self._remarks

    def __call__(self, input_ids: torch.LongTensor, scores: torch.Tensor) -> torch.Tensor:
        """[N, V] logits, divided by the temperature later on; see `LogitsProcessor`.

        Rows that have ended, or are as long as they may be, may only end. Raises DecodeError where no token is left
        that all rules allow.
        """
        if input_ids.shape[1] < self._width:
            raise DecodeError(f"prompts of {input_ids.shape[1]} tokens came where {self._width} were said to come")
        if input_ids.shape[1] == self._width:
            self._step, self._finished = None, {}
        logits = scores.detach().to("cpu", torch.float64).numpy()
        factors = np.full(logits.shape, -np.inf)
        factors[:, self._vocabulary.end_ids] = 0.0  # what has ended stays so
        going: dict[int, _Key] = {}
        for row, key, complete in self._rows(input_ids):
            if not complete:
                going[row] = key
            elif key not in self._finished:
                self._finished[key] = self._total(key, True)
        for law in {id(each): each for each in self._laws}.values():
            rows = [row for row, (prompt, _) in going.items() if self._laws[prompt] is law]
            if rows:
                factors[rows] = law.log_factors([going[row][1] for row in rows])
        self._step = self._next_step(going, logits, factors)
        total = torch.from_numpy(logits + self._temperature * factors)
        # not every device has numbers of 64 bits
        return total.to(scores.device, torch.float32 if scores.device.type == "mps" else torch.float64)

    def weights(self, sequences: torch.Tensor, generation_config: Any = None) -> list[RegulatedSample | None]:
        """The responses of finished rows [N, T] with their exact weights; None for one whose bytes are no text.

        It costs no pass: what was proposed is remembered until the next call of `generate`. Raises DecodeError for rows
        that this processor did not propose, or that something else cut, and where the law was changed.
        """
        if generation_config is not None:
            self.check(generation_config)
        if self._remarks:
            raise DecodeError(f"these responses have no exact weights: {'; '.join(self._remarks)}")
        samples = []
        for row, key, complete in self._rows(sequences):
            if not complete:
                raise DecodeError(f"row {row} ends neither with the end of text nor after {self._cap} tokens")
            log_p0, log_q = self._total(key, True)
            if not np.isfinite(log_q):
                raise DecodeError(f"row {row} was not proposed by this processor in the last call of `generate`")
            samples.append(self._laws[key[0]].finished(key[1], log_p0, log_q))
        return samples

    # --------------------------------------------------------------------------------------------------------- memory
    def _rows(self, sequences: torch.Tensor) -> list[tuple[int, _Key, bool]]:
        """(row, its prompt and response, whether that is complete: by the end of text or by its length)."""
        count = sequences.shape[0]
        if count % len(self._laws):
            raise DecodeError(f"{count} rows cannot belong to {len(self._laws)} prompts equally")
        each = count // len(self._laws)
        rows = []
        for row, tokens in enumerate(sequences[:, self._width :].tolist()):
            response, ended = split_response(tokens, self._vocabulary)
            rows.append((row, (row // each, response[: self._cap]), ended or len(response) >= self._cap))
        return rows

    def _next_step(self, going: Mapping[int, _Key], logits: FloatArray, factors: FloatArray) -> _Step:
        """What this step has to remember; raises DecodeError for rows that cannot go on."""
        distinct = {key: row for row, key in going.items()}
        rows = list(distinct.values())
        possible = self._vocabulary.regular.copy()
        possible[self._vocabulary.end_ids] = True
        base = np.where(possible, logits[rows] / self._temperature, -np.inf)
        _normalise(base)
        proposal = base + factors[rows]
        dead = np.flatnonzero(~np.isfinite(proposal.max(axis=1, initial=-np.inf)))
        if len(dead):
            raise DecodeError(f"row {rows[dead[0]]} has no token left that all rules allow")
        _normalise(proposal)
        for law in (base, proposal):
            collapse_end(law, self._vocabulary)
        sums = [self._total(key, False) for key in distinct]
        log_p0, log_q = (np.array([pair[i] for pair in sums], dtype=np.float64) for i in (0, 1))
        return _Step({key: place for place, key in enumerate(distinct)}, base, proposal, log_p0, log_q)

    def _total(self, key: _Key, complete: bool) -> tuple[float, float]:
        """(log p0, log q) of a beginning, or of a complete response; NaN where it was not made here."""
        prompt, tokens = key
        if complete and key in self._finished:
            return self._finished[key]
        ended = complete and len(tokens) < self._cap
        if not ended and not tokens:
            return 0.0, 0.0
        before = key if ended else (prompt, tokens[:-1])
        step = self._step
        if step is None or before not in step.row:
            return np.nan, np.nan
        at, token = step.row[before], int(self._vocabulary.end_ids[0]) if ended else tokens[-1]
        return float(step.log_p0[at] + step.base[at, token]), float(step.log_q[at] + step.proposal[at, token])


def _normalise(scores: FloatArray) -> None:
    """Log probabilities [n, V] from scores, in place."""
    scores -= scores.max(axis=1, keepdims=True, initial=-np.inf)
    scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))


# ------------------------------------------------------------------------------------------------- other samplers' part
def _is_set(value: Any) -> bool:
    return value not in (None, False, 0, 0.0) and value != []


def _is_below_one(value: Any) -> bool:
    return value is not None and value < 1.0


def _is_not_one(value: Any) -> bool:
    return value is not None and value != 1.0


_CHANGES: tuple[tuple[Callable[[Any], bool], tuple[str, ...]], ...] = (
    (_is_below_one, ("top_p", "typical_p")),
    (_is_not_one, ("repetition_penalty", "encoder_repetition_penalty", "guidance_scale", "num_beams")),
    (
        _is_set,
        (
            "top_k", "top_h", "min_p", "epsilon_cutoff", "eta_cutoff", "no_repeat_ngram_size",
            "encoder_no_repeat_ngram_size", "bad_words_ids", "sequence_bias", "forced_bos_token_id",
            "forced_eos_token_id", "min_length", "min_new_tokens", "suppress_tokens", "begin_suppress_tokens",
            "exponential_decay_length_penalty", "watermarking_config", "stop_strings", "max_time", "penalty_alpha",
            "dola_layers", "token_healing",
        ),
    ),
)  # fmt: skip
"""Options of `generate` by when they change what is drawn."""


def changed_law(generation_config: Any, temperature: float) -> tuple[str, ...]:
    """What in a generation configuration makes `generate` draw from another law; `temperature` is that of the model."""
    found = []
    if not getattr(generation_config, "do_sample", False):
        found.append("`do_sample` is off, so the likeliest tokens are taken and nothing is drawn")
    given = getattr(generation_config, "temperature", None)
    if (1.0 if given is None else given) != temperature:
        found.append(f"`temperature` is {given}, and the rules were compiled for {temperature}")
    for is_changing, names in _CHANGES:
        for name in names:
            value = getattr(generation_config, name, None)
            if is_changing(value):
                found.append(f"`{name}` is {value}")
    return tuple(found)
