"""The network that is trained: log-probabilities of whole responses in padded batches, under it and under the base.

The law of a response is that of `bylaw.runtime.models.interface`: tokens that have no text are impossible, the end is
one event whatever token says it, a response at the cap has no end. Rows are padded on the right, where causal attention
cannot see it, so no mask is needed. The network stays in evaluation mode: what is trained is the very law that samples.
"""

from __future__ import annotations

import copy
import importlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bylaw.runtime.models.huggingface import HuggingFaceModel
from bylaw.runtime.models.interface import ModelError, OutOfMemory
from bylaw.runtime.training.errors import TrainingError
from bylaw.runtime.training.processes import Processes
from bylaw.runtime.training.settings import Lora


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A prompt and a response in tokens; `ended` False where the cap cut the response."""

    prompt: tuple[int, ...]
    response: tuple[int, ...]
    ended: bool

    @property
    def places(self) -> int:
        """Places with a log-probability: the tokens, and the end where there is one."""
        return len(self.response) + self.ended


class PolicyNetwork:
    """The policy π that is trained and the base model p0 that it starts from.

    Without `lora` the policy is a copy of the base network, and all its weights are trained; with it the base network
    is used as it is and gets adapters, which are switched off for p0. Adapters are made from `seed`.
    Raises TrainingError where peft is missing or finds nothing to adapt.
    """

    def __init__(
        self, base: HuggingFaceModel, lora: Lora | None = None, precision: str = "fp32", seed: int = 0
    ) -> None:
        self.base = base
        self._precision = precision
        self._lora = lora
        self.module: Any = copy.deepcopy(base.network) if lora is None else _adapted(base.network, lora, seed)
        self.module.eval()
        for parameter in self.module.parameters() if lora is None else ():
            parameter.requires_grad_(True)
        vocabulary = base.vocabulary
        possible = torch.from_numpy(vocabulary.regular.copy())
        possible[torch.from_numpy(vocabulary.end_ids)] = True
        self._impossible = None if bool(possible.all()) else ~possible.to(self.device)
        self._ends = torch.from_numpy(vocabulary.end_ids).to(self.device)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        found: torch.device = next(self.module.parameters()).device
        return found

    def trained(self) -> dict[str, Tensor]:
        """The parameters that are trained, by name; tied ones once."""
        return {name: value for name, value in self.module.named_parameters() if value.requires_grad}

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Sets all trained parameters. Raises TrainingError where names or shapes differ."""
        own = self.trained()
        if set(own) != set(weights) or any(own[name].shape != value.shape for name, value in weights.items()):
            raise TrainingError("the weights of the checkpoint are not those of this network")
        with torch.no_grad():
            for name, value in weights.items():
                own[name].copy_(value)

    def policy(self) -> HuggingFaceModel:
        """π as a language model to sample from, with the weights of the moment."""
        return self._model(self.module, "policy")

    def reference(self) -> HuggingFaceModel:
        """p0 as a language model to sample from."""
        if self._lora is None:
            return self.base
        return self._model(_WithoutAdapter(self.module), self.base.name)

    def log_probs(self, rows: Sequence[TokenRow], width: int | None = None) -> Tensor:
        """[B, T] log π of each place of each row, with gradient, 0 behind it; T is `width` or the longest row's.

        Nats. Raises OutOfMemory, and ModelError for an empty prompt or a row longer than the model can read.
        """
        return self._of(self.module, rows, width or max(row.places for row in rows))

    def evaluated(
        self,
        rows: Sequence[TokenRow],
        micro_rows: int,
        processes: Processes,
        *,
        reference: bool = False,
        exact: bool = False,
    ) -> Tensor:
        """[N, T] log π (or log p0) of many rows without gradient, `micro_rows` at once, shared out to processes.

        `exact`: in 32 bits whatever the precision of training, as the sampler computes them.
        """
        width = max((row.places for row in rows), default=0)
        found = torch.zeros((len(rows), width))
        with torch.no_grad(), self._reference_weights(reference) as module:
            for number, chunk in enumerate(by_length(rows, micro_rows)):
                if number % processes.count == processes.rank:
                    found[chunk] = self._of(module, [rows[at] for at in chunk], width, exact).cpu()
        return processes.sum(found)

    def _model(self, module: Any, name: str) -> HuggingFaceModel:
        base = self.base
        return HuggingFaceModel(module, base.tokenizer, base.vocabulary, name, base.digest, base.temperature)

    @contextmanager
    def _reference_weights(self, wanted: bool) -> Iterator[Any]:
        if not wanted:
            yield self.module
        elif self._lora is None:
            yield self.base.network
        else:
            with self.module.disable_adapter():
                yield self.module

    def _of(self, module: Any, rows: Sequence[TokenRow], width: int, exact: bool = False) -> Tensor:
        """[B, T] of these rows; those that are the same are evaluated once."""
        # by identity, which is quick: whoever makes rows makes equal ones the same
        distinct = {id(row): row for row in rows}
        found = self._distinct(module, list(distinct.values()), width, exact)
        if len(distinct) == len(rows):
            return found
        place = {key: at for at, key in enumerate(distinct)}
        return found[torch.tensor([place[id(row)] for row in rows], device=self.device)]

    def _distinct(self, module: Any, rows: Sequence[TokenRow], width: int, exact: bool) -> Tensor:
        if any(not row.prompt for row in rows):
            raise ModelError("every prompt needs one token at least")
        first = min(len(row.prompt) for row in rows) - 1
        total = max(len(row.prompt) + row.places - 1 for row in rows)
        context = self.base.context
        if context is not None and total > context:
            raise ModelError(f"a row of {total} tokens exceeds the model's context of {context} tokens")
        # what stands behind a row does not matter; its own first token is no padding token that models warn of
        ids = torch.stack([_padded((*row.prompt, *row.response)[:total], total) for row in rows])
        owner, place = _places(rows)
        starts = torch.tensor([len(row.prompt) - 1 - first for row in rows])
        kept = total - first
        with _memory(len(rows)), self._autocast(exact):
            logits = module(input_ids=ids.to(self.device), use_cache=False, logits_to_keep=kept).logits
            if logits.shape[1] != kept:  # a network that does not know how to leave places out
                logits = logits[:, -kept:]
            at = logits[owner.to(self.device), (starts[owner] + place).to(self.device)]
            chosen = self._chosen(at.float(), rows)
            found = torch.zeros((len(rows), width), device=self.device)
            return found.index_put((owner.to(self.device), place.to(self.device)), chosen)

    def _chosen(self, logits: Tensor, rows: Sequence[TokenRow]) -> Tensor:
        """[places] log-probability of what stands at each place, from its logits [places, V]."""
        if self.base.temperature != 1.0:
            logits = logits / self.base.temperature
        if self._impossible is not None:
            logits = logits.masked_fill(self._impossible, -torch.inf)
        law = torch.log_softmax(logits, dim=1)
        end = int(self._ends[0])
        said = torch.tensor([t for row in rows for t in (*row.response, *((end,) if row.ended else ()))])
        found = law.gather(1, said.to(self.device)[:, None])[:, 0]
        if len(self._ends) > 1:
            is_end = torch.tensor([e for row in rows for e in (*[False] * len(row.response), *[True] * row.ended)])
            found = torch.where(is_end.to(self.device), torch.logsumexp(law[:, self._ends], dim=1), found)
        return found

    def _autocast(self, exact: bool) -> Any:
        if exact or self._precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)


class _WithoutAdapter:
    """A network with adapters as the one without."""

    def __init__(self, network: Any) -> None:
        self._network = network
        self.config, self.device = network.config, network.device

    def __call__(self, **given: Any) -> Any:
        with self._network.disable_adapter():
            return self._network(**given)


def _adapted(network: Any, lora: Lora, seed: int) -> Any:
    try:
        peft = importlib.import_module("peft")
    except ImportError:
        raise TrainingError(
            "adapters need the package peft: install bylaw with the extra `train`, as in pip install '.[train]'"
        ) from None
    chosen = peft.LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            return peft.get_peft_model(network, chosen)
        except ValueError as error:
            raise TrainingError(f"the model cannot be given adapters: {error}") from error


def merged(network: PolicyNetwork) -> Any:
    """The policy's network without adapters: a copy with these added to the weights, or the network itself."""
    module = network.module
    return copy.deepcopy(module).merge_and_unload() if hasattr(module, "merge_and_unload") else module


def by_length(rows: Sequence[TokenRow], size: int) -> list[list[int]]:
    """The places of the rows in chunks of `size`, rows of like length together; the same for the same rows."""
    if len(rows) <= size:
        return [list(range(len(rows)))] if rows else []
    order = sorted(range(len(rows)), key=lambda at: (len(rows[at].prompt) + rows[at].places, len(rows[at].prompt), at))
    return [order[first : first + size] for first in range(0, len(order), size)]


def mask_of(rows: Sequence[TokenRow], width: int) -> Tensor:
    """[N, T] bool: the places of each row."""
    lengths = torch.tensor([row.places for row in rows])
    return torch.arange(width)[None, :] < lengths[:, None]


def _padded(tokens: tuple[int, ...], width: int) -> Tensor:
    return torch.tensor([*tokens, *[tokens[0]] * (width - len(tokens))], dtype=torch.long)


def _places(rows: Sequence[TokenRow]) -> tuple[Tensor, Tensor]:
    """(row, place within it) of every place of all rows."""
    lengths = torch.tensor([row.places for row in rows])
    owner = torch.repeat_interleave(torch.arange(len(rows)), lengths)
    return owner, torch.arange(len(owner)) - (lengths.cumsum(0) - lengths)[owner]


@contextmanager
def _memory(rows: int) -> Iterator[None]:
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise OutOfMemory(
            f"{rows} rows do not fit into memory at once; train with fewer, as by --micro-rows {max(1, rows // 2)}"
        ) from error
    except RuntimeError as error:
        if "memory" not in str(error):
            raise
        raise OutOfMemory(
            f"{rows} rows do not fit into memory at once; train with fewer, as by --micro-rows {max(1, rows // 2)}"
        ) from error
