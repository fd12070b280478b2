"""The processes that train together, by way of Accelerate where there are several: all do the same, shares of work
differ. What each adds is summed, so that any number of them takes the steps that one takes, up to rounding."""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bylaw.runtime.training.errors import TrainingError


@dataclass(frozen=True)
class Processes:
    """`rank` of `count`; the one of rank 0 writes files and speaks."""

    rank: int = 0
    count: int = 1
    tools: Any = None

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all processes of a tensor that each has."""
        if self.count == 1:
            return values
        found: Tensor = self.tools.reduce(values, reduction="sum")
        return found

    def sum_gradients(self, parameters: list[Tensor]) -> None:
        """Adds up the gradients of all processes, in place; a parameter without one has the gradient 0."""
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        if self.count == 1:
            return
        grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = self.sum(torch.cat([grad.reshape(-1) for grad in grads]))
        start = 0
        for grad in grads:
            grad.copy_(flat[start : start + grad.numel()].view_as(grad))
            start += grad.numel()

    def gather(self, values: list[Any]) -> list[Any]:
        """The lists of all processes behind each other, by rank."""
        if self.count == 1:
            return values
        found: list[Any] = self.tools.gather_object(values)
        return found

    def wait(self) -> None:
        """Until all are here."""
        if self.count > 1:
            self.tools.wait_for_everyone()


def started(device: str = "cpu") -> Processes:
    """The processes that this one was started with, as by `accelerate launch`. TrainingError without Accelerate."""
    if int(os.environ.get("WORLD_SIZE", "1")) <= 1:
        return Processes()
    try:
        accelerate = importlib.import_module("accelerate")
        tools = importlib.import_module("accelerate.utils")
    except ImportError:
        raise TrainingError(
            "several processes need the package accelerate: install bylaw with the extra `train`, as in "
            "pip install '.[train]'"
        ) from None
    state = accelerate.PartialState(cpu=device == "cpu")
    return Processes(int(state.process_index), int(state.num_processes), tools)
