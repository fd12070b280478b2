"""What is left of a policy once facts are known, as policy text."""

from bylaw.compiler.residual.policy import (
    Residual,
    residual,
)

__all__ = (
    "Residual",
    "residual",
)
