"""What can go wrong in a training run; text fit for users."""

from __future__ import annotations


class TrainingError(Exception):
    """A training run cannot begin or go on.

    TrainingError
    +-- Diverged          a loss or a gradient is no finite number
    +-- NothingToLearn    no row can be learnt from: none was given, or none keeps the hard rules
    +-- CheckpointError   a checkpoint cannot be written or read, or belongs to another run
    """


class Diverged(TrainingError):
    """A loss or a gradient is no finite number; nothing was changed by that step."""


class NothingToLearn(TrainingError):
    """No row can be learnt from. `terms` are the ids of the rules that every row breaks, where these are the reason."""

    def __init__(self, message: str, terms: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.terms = terms


class CheckpointError(TrainingError):
    """A checkpoint, or the folder of a run, cannot be written or read, or belongs to another run."""
