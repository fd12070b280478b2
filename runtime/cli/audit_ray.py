"""`bylaw audit --engine ray`: the options, and the audit on a cluster."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from bylaw.runtime.cli.shared import UNUSABLE, fail

if TYPE_CHECKING:
    from bylaw.compiler.pipeline import Compiled
    from bylaw.runtime.audit.audit import Audited
    from bylaw.runtime.audit.inputs import ColumnNames


@dataclass(frozen=True, slots=True)
class Engine:
    """The cluster that an audit runs on. `verdicts`: a folder to make, for tables of the verdicts."""

    address: str = "auto"
    verdicts: str | None = None


_OPTIONS = (
    click.option(
        "--engine", type=click.Choice(["local", "ray"]), default="local", show_default=True,
        help="Where to audit: `ray` is a Ray cluster whose machines all see TRANSCRIPTS under the same path. For rules "
        "that need no scorer of concepts.",
    ),
    click.option(
        "--ray-address", metavar="ADDRESS",
        help="The cluster: HOST:PORT; `auto`, the one of this machine, if not given; `local` starts Ray here alone.",
    ),
    click.option(
        "--verdicts-out", type=click.Path(), metavar="DIR",
        help="With --engine ray: write every verdict into this new folder as Parquet; all machines have to share it.",
    ),
)  # fmt: skip


def engine_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options about the engine; the command gets them as one argument `engine`: None for this process."""

    @wraps(command)
    def with_engine(*arguments: Any, **options: Any) -> Any:
        name, address, verdicts = (options.pop(key) for key in ("engine", "ray_address", "verdicts_out"))
        for option, value in (("--ray-address", address), ("--verdicts-out", verdicts)):
            if name != "ray" and value is not None:
                raise click.UsageError(f"{option} is of use with --engine ray only")
        engine = Engine(address or "auto", verdicts) if name == "ray" else None
        return command(*arguments, engine=engine, **options)

    wrapped: Callable[..., Any] = with_engine
    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped


def audited_or_exit(
    compiled: Compiled, transcripts: str, columns: ColumnNames, examples: int, engine: Engine
) -> Audited:
    """The audit on the cluster; what stands in its way is one message and exit code 2. Raises TranscriptError."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn

    from bylaw.runtime.audit.ray_engine import RayError, audit_on_ray

    with Progress(
        SpinnerColumn(),
        *Progress.get_default_columns(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    ) as bar:
        task = bar.add_task("auditing on Ray", total=None)
        try:
            found = audit_on_ray(
                compiled.require(), transcripts, policy=compiled.source, columns=columns, address=engine.address,
                max_findings=examples, verdicts=engine.verdicts,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )  # fmt: skip
        except RayError as error:
            fail(str(error), UNUSABLE)
    parts = "1 part" if found.parts == 1 else f"{found.parts:,} parts"
    machines = "1 machine" if found.machines == 1 else f"{found.machines:,} machines"
    click.echo(f"audited {parts} on {machines}", err=True)
    if found.lost:
        click.echo(f"warning: {found.lost:,} of these were lost; their parts were done again by the others", err=True)
    if engine.verdicts is not None:
        click.echo(f"wrote {engine.verdicts}", err=True)
    return found.audited
