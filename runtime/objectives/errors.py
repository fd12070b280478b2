"""What can be wrong with an objective or its batch; text fit for users."""

from __future__ import annotations

from collections.abc import Sequence


class ObjectiveError(Exception):
    """An objective cannot be computed from what it was given.

    ObjectiveError
    +-- NoAllowedSample   prompts of which every sample breaks a hard rule or has no weight
    """


class NoAllowedSample(ObjectiveError):
    """`prompts` are the numbers of the prompts of which no sample can be learnt from."""

    def __init__(self, prompts: Sequence[int], why: str) -> None:
        first = ", ".join(map(str, prompts[:5])) + (", ..." if len(prompts) > 5 else "")
        super().__init__(
            f"{why} for {len(prompts)} prompt{'s' if len(prompts) > 1 else ''} ({first}); draw more samples of them, "
            "draw from the regulated decoder, or leave these prompts out"
        )
        self.prompts = tuple(prompts)
