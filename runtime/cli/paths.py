"""Arguments that name policy files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

SUFFIXES = (".bylaw", ".bylaw.md")


class PolicyPath(click.Path):
    """A path whose completion in a shell offers policy files where there are any, and otherwise whatever there is."""

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the policy files that begin like this; a folder that begins like this is left to the shell."""
        from click.shell_completion import CompletionItem

        folder, _, begun = incomplete.rpartition("/")
        where = Path(folder or ("/" if incomplete.startswith("/") else "."))
        try:
            near = [entry for entry in where.iterdir() if entry.name.startswith(begun)]
        except OSError:
            near = []
        files = sorted(entry.name for entry in near if entry.name.endswith(SUFFIXES) and entry.is_file())
        if not files or any(entry.is_dir() and not entry.name.startswith(".") for entry in near):
            return super().shell_complete(ctx, param, incomplete)
        prefix = incomplete[: len(incomplete) - len(begun)]
        return [CompletionItem(prefix + name) for name in files]
