"""The decoders of bylaw behind `generate` of a loaded `transformers` model.

    law = LawGeneration(network, tokenizer, Qrs(), tasks)
    sequences = network.generate(**inputs, custom_generate=law, do_sample=True, top_k=0, max_new_tokens=100)

`generate` prepares its inputs and calls the object in place of its own loop. The sequences have the form that it gives:
the padded prompt, the response, one end-of-text token, padding. `law.results` are the results of the last call, with
weights and diagnostics.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch

from bylaw.runtime.decoders.interface import DecodeError, Decoder, DecodeResult, DecodeTask
from bylaw.runtime.integrations.transformers_processor import changed_law
from bylaw.runtime.models.interface import LanguageModel
from bylaw.runtime.models.loaded import from_loaded
from bylaw.runtime.models.metering import Limits


class LawGeneration:
    """Runs `decoder` on the network of `generate` itself.

    `tasks` belong to prompts by their tokens (as `PromptPlan.tokens`), in any order. `temperature` is part of the law
    and must be that of `generate`. Without a `seed` each call draws one from torch's generator, so `torch.manual_seed`
    repeats it. `model` is the network as bylaw sees it, where it is known already. Raises ModelError, DecodeError.
    """

    def __init__(
        self,
        network: Any,
        tokenizer: Any,
        decoder: Decoder,
        tasks: Sequence[DecodeTask],
        *,
        temperature: float = 1.0,
        seed: int | None = None,
        limits: Limits | None = None,
        model: LanguageModel | None = None,
    ) -> None:
        self._network = network
        self._model = model or from_loaded(network, tokenizer, temperature=temperature)
        self._temperature = float(getattr(self._model, "temperature", temperature))
        self._decoder = decoder
        self._tasks = {task.prompt: task for task in tasks}
        self._seed, self._limits = seed, limits
        self.results: list[DecodeResult] = []

    def __call__(
        self,
        model: Any,
        input_ids: torch.Tensor,
        *,
        logits_processor: Any = None,
        stopping_criteria: Any = None,
        generation_config: Any = None,
        **model_kwargs: Any,
    ) -> Any:
        """[N, T] sequences, or a `GenerateDecoderOnlyOutput` of them; called by `generate`.

        Raises DecodeError for options that would change the law, for prompts without a task, and where the decoder
        found too few responses: a law is not made up for with responses that do not follow it.
        """
        self._refuse(model, logits_processor, generation_config, model_kwargs)
        prompts = _prompts(input_ids, model_kwargs.get("attention_mask"))
        unknown = next((row for row, prompt in enumerate(prompts) if prompt not in self._tasks), None)
        if unknown is not None:
            raise DecodeError(f"there is no task for the prompt of row {unknown}: its tokens are not those of any task")
        each = int(generation_config.num_return_sequences or 1)
        tasks = [self._tasks[prompt] for prompt in prompts[::each]]
        cap = int(generation_config.max_length) - input_ids.shape[1]
        seed = int(torch.randint(2**31 - 1, (1,)).item()) if self._seed is None else self._seed
        self.results = with_responses(self._decoder, each).decode(
            self._model, tasks, max_tokens=cap, seed=seed, limits=self._limits
        )
        for row, result in enumerate(self.results):
            if len(result.responses) < each:
                raise DecodeError(
                    f"prompt {row}: {len(result.responses)} of {each} responses were found with {result.particles} "
                    "proposals; give the decoder more of them"
                )
        found = [sample.tokens for result in self.results for sample in result.responses[:each]]
        sequences = self._sequences(input_ids, found, cap, generation_config)
        if not generation_config.return_dict_in_generate:
            return sequences
        from transformers.generation import GenerateDecoderOnlyOutput

        return GenerateDecoderOnlyOutput(sequences=sequences)

    def _refuse(self, model: Any, logits_processor: Any, generation_config: Any, model_kwargs: Any) -> None:
        if model is not self._network:
            raise DecodeError("`generate` was called on another network than the one that the rules were compiled for")
        if generation_config is None:
            raise DecodeError("this is called by `generate`, as `custom_generate`")
        changes = changed_law(generation_config, self._temperature)
        if changes:
            raise DecodeError(f"`generate` was asked for what changes the law: {'; '.join(changes)}")
        # a temperature is the only processor of its own that `generate` may bring along by now
        others = [type(each).__name__ for each in logits_processor or () if "Temperature" not in type(each).__name__]
        if others:
            raise DecodeError(f"logits processors besides the rules change the law: {', '.join(others)}")
        if model_kwargs.get("inputs_embeds") is not None:
            raise DecodeError("prompts must come as tokens, not as embeddings")

    def _sequences(
        self, input_ids: torch.Tensor, found: Sequence[tuple[int, ...]], cap: int, generation_config: Any
    ) -> torch.Tensor:
        end = int(self._model.vocabulary.end_ids[0]) if len(self._model.vocabulary.end_ids) else None
        configured = getattr(generation_config, "eos_token_id", None)
        if configured is not None:
            end = int(configured[0] if isinstance(configured, (list, tuple)) else configured)
        padding = generation_config.pad_token_id
        rows = [[*tokens, *([end] if end is not None and len(tokens) < cap else [])] for tokens in found]
        width = max(map(len, rows))
        filled = input_ids.new_full((len(rows), width), end or 0 if padding is None else int(padding))
        for row, tokens in enumerate(rows):
            filled[row, : len(tokens)] = torch.tensor(tokens, dtype=filled.dtype)
        return torch.cat([input_ids, filled], dim=1)


def _prompts(input_ids: torch.Tensor, attention_mask: torch.Tensor | None) -> list[tuple[int, ...]]:
    """The tokens of each row without its padding, which must be on the left."""
    if attention_mask is None:
        return [tuple(row) for row in input_ids.tolist()]
    masks = attention_mask.tolist()
    for row, mask in enumerate(masks):
        if sorted(mask) != mask:
            raise DecodeError(f"the prompt of row {row} is padded on the right: set padding_side='left'")
    pairs = zip(input_ids.tolist(), masks, strict=True)
    return [tuple(token for token, kept in zip(tokens, mask, strict=True) if kept) for tokens, mask in pairs]


def with_responses(decoder: Decoder, count: int) -> Decoder:
    """The decoder set to give `count` responses to each prompt. Raises DecodeError for one that cannot be set."""
    names: set[str] = {field.name for field in fields(decoder)} if is_dataclass(decoder) else set()
    # masking hands out all its particles
    name = "responses" if "responses" in names else "particles" if decoder.name == "mask" else None
    if name is None or not is_dataclass(decoder) or isinstance(decoder, type):
        raise DecodeError(f"the decoder `{decoder.name}` cannot be told how many responses to give")
    return replace(decoder, **{name: count})
