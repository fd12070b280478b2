"""What a new version of a policy means, compared with an old one."""

from bylaw.compiler.changes.difference import (
    compare,
)

__all__ = ("compare",)
