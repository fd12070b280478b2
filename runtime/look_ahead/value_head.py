"""A value head: a linear layer on the last hidden state of a network, read from a safetensors file.

`weight` [V, H] with `bias` [V] gives log V̂ of each beginning that a next token makes (a factor of the proposal);
`weight` [1, H] with `bias` [1] gives log V̂ of the beginning itself, which resampling uses (`value`) and the proposal
does not. Both are in nats. The head runs the network a second time beside the model that writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from bylaw.runtime.look_ahead._learned import FLOOR
from bylaw.runtime.look_ahead.interface import Tokens
from bylaw.runtime.models.interface import FloatArray, IntArray, ModelError, Session, Vocabulary


class HiddenSession(Session, Protocol):
    """A session that tells what the output layer sees."""

    def last_hidden(self) -> FloatArray:
        """[N, H]."""
        ...


class HiddenModel(Protocol):
    """A model whose sessions can tell their hidden states; `HuggingFaceModel` is one."""

    @property
    def name(self) -> str: ...

    @property
    def vocabulary(self) -> Vocabulary: ...

    def session(self, prompts: Sequence[Tokens], *, hidden: bool = False) -> HiddenSession: ...


@dataclass(frozen=True, eq=False)
class ValueHead:
    """log V̂ = weight·hidden + bias. `weight` [V, H] or [1, H], `bias` [V] or [1]; nats.

    Raises ModelError for shapes that do not fit the model's vocabulary and for numbers that are not finite.
    """

    model: HiddenModel
    weight: FloatArray
    bias: FloatArray
    source: str = "value head"

    def __post_init__(self) -> None:
        size = len(self.model.vocabulary)
        if self.weight.ndim != 2 or self.bias.shape != self.weight.shape[:1] or self.weight.shape[0] not in (1, size):
            raise ModelError(
                f"`{self.source}` holds a weight of shape {self.weight.shape} and a bias of shape {self.bias.shape}; "
                f"`{self.model.name}` needs [{size}, H] and [{size}], or [1, H] and [1]; H is its width"
            )
        if not (np.isfinite(self.weight).all() and np.isfinite(self.bias).all()):
            raise ModelError(f"`{self.source}` holds numbers that are not finite")

    @property
    def name(self) -> str:
        return f"value head {self.source}"

    def begin(self, prompts: Sequence[Tokens], begun: Sequence[Tokens]) -> ValueState:
        """N rows; nothing is evaluated before it is asked for."""
        return ValueState(self, [prompt + tokens for prompt, tokens in zip(prompts, begun, strict=True)])


def load_value_head(path: str | Path, model: HiddenModel) -> ValueHead:
    """The head in a safetensors file with the tensors `weight` and `bias` (float16, 32 or 64).

    Raises ModelError when the file is missing, is no such file, or does not fit the model.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        tensors = load_file(str(path))
    except (OSError, SafetensorError, TypeError, KeyError) as error:
        said = str(error) or type(error).__name__
        raise ModelError(
            f"the value head `{path}` cannot be read: {said} (it must be a safetensors file of float16, 32 or 64)"
        ) from error
    if set(tensors) != {"weight", "bias"}:
        held = ", ".join(f"`{name}`" for name in sorted(tensors)) or "nothing"
        raise ModelError(f"the value head `{path}` must hold `weight` and `bias`, and holds {held}")
    if any(tensor.dtype.kind != "f" for tensor in tensors.values()):
        raise ModelError(f"the value head `{path}` must hold floating-point numbers")
    return ValueHead(model, tensors["weight"].astype(np.float64), tensors["bias"].astype(np.float64), Path(path).name)


class ValueState:
    """See `LookAheadState`. The network is evaluated once for each token, and only where a value is asked for."""

    def __init__(self, head: ValueHead, starts: Sequence[Tokens]) -> None:
        self._head = head
        self._starts = list(starts)
        self._session: HiddenSession | None = None
        self._pending: IntArray | None = None
        self._outputs: FloatArray | None = None
        self._claimed = np.zeros(len(self._starts))

    @property
    def paid(self) -> FloatArray:
        return np.zeros(len(self._claimed))

    def look_ahead(self, left: IntArray) -> FloatArray:
        size = len(self._head.model.vocabulary)
        if len(self._head.bias) == 1:
            return np.zeros((len(self._claimed), size))
        # a factor within e^±60 forbids nothing, so that weights stay exact
        return np.clip(self._values(), -FLOOR, FLOOR)

    def value(self, left: IntArray) -> FloatArray:
        """A head with one output is asked here; one with an output for each token said it before (0 at the start)."""
        if len(self._head.bias) > 1:
            return self._claimed
        return np.where(left > 0, np.clip(self._values()[:, 0], -FLOOR, FLOOR), 0.0)

    def final(self) -> FloatArray:
        return np.zeros(len(self._claimed))

    def advance(self, tokens: IntArray) -> None:
        if len(self._head.bias) > 1:
            self._claimed = np.clip(self._values()[np.arange(len(tokens)), tokens], -FLOOR, FLOOR)
        else:
            self._settle()
        self._outputs, self._pending = None, tokens.copy()

    def select(self, indices: IntArray) -> None:
        self._claimed = self._claimed[indices]
        if self._session is None:
            self._starts = [self._starts[int(at)] for at in indices]
        else:
            self._session.select(indices)
        if self._outputs is not None:
            self._outputs = self._outputs[indices]
        if self._pending is not None:
            self._pending = self._pending[indices]

    def _settle(self) -> HiddenSession:
        """The session, at the last token."""
        if self._session is None:
            self._session = self._head.model.session(self._starts, hidden=True)
        elif self._pending is not None:
            self._session.advance(self._pending)
        self._pending = None
        return self._session

    def _values(self) -> FloatArray:
        if self._outputs is None:
            hidden = self._settle().last_hidden()
            if hidden.shape[1] != self._head.weight.shape[1]:
                raise ModelError(
                    f"`{self._head.source}` reads {self._head.weight.shape[1]} numbers, and the hidden states of "
                    f"`{self._head.model.name}` have {hidden.shape[1]}"
                )
            self._outputs = hidden @ self._head.weight.T + self._head.bias
            if not np.isfinite(self._outputs).all():
                raise ModelError(f"the hidden states of `{self._head.model.name}` are not numbers")
        return self._outputs
