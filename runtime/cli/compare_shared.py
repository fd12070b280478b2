"""What the verbs of `bylaw compare` share: options, refusals, and how answers are printed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from bylaw.runtime.cli.shared import UNUSABLE, fail, write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bylaw.runtime.report.price_page import Section

PICTURES = (".svg", ".png")

format_option = click.option(
    "--format",
    "output",
    type=click.Choice(["text", "json", "markdown"]),
    default="text",
    show_default=True,
    help="How to print the answer.",
)
plot_option = click.option("--plot", type=click.Path(dir_okay=False), help="Draw it into this .svg or .png file.")
seed_option = click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0), help="Of whatever is drawn at random."
)


@contextmanager
def unusable() -> Iterator[None]:
    """Files, models and settings that cannot be compared are one message and exit code 2."""
    from bylaw.runtime.audit.inputs import TranscriptError
    from bylaw.runtime.models.interface import ModelError

    try:
        yield
    except (TranscriptError, ModelError, ValueError) as error:
        from bylaw.spec.errors import visible

        fail(visible(str(error)), UNUSABLE)


def require_picture(path: str | None) -> None:
    """Before any work: the ending of a plot's name is known, and its folder is there."""
    from pathlib import Path

    if path is None:
        return
    if Path(path).suffix.lower() not in PICTURES:
        raise click.UsageError(f"--plot writes {' and '.join(PICTURES)} files, and `{path}` is neither")
    if not Path(path).parent.is_dir():
        fail(f"`{path}` cannot be written: there is no folder `{Path(path).parent}`", UNUSABLE)


def write_picture(path: str | None, name: str, figure: Callable[[], Figure]) -> None:
    """Draws a plot and writes it whole or not at all; nothing where none was asked for."""
    from pathlib import Path

    if path is None:
        return
    from bylaw.runtime.report.compare_plots import picture

    write_whole(path, picture(figure(), name, Path(path).suffix.lower()))


def print_answer(sections: tuple[Section, ...], data: dict[str, Any], output: str) -> None:
    """Sections as text or Markdown, or the data as JSON."""
    if output == "json":
        from bylaw.runtime.record import writable

        click.echo(json.dumps(writable(data), ensure_ascii=False, indent=2, allow_nan=False))
        return
    from bylaw.runtime.report.price_render import as_markdown, print_sections

    if output == "markdown":
        click.echo(as_markdown(sections), nl=False)
        return
    from bylaw.runtime.report.terminal import standard_output

    print_sections(tuple(map(_visible, sections)), standard_output())


def _visible(section: Section) -> Section:
    """Names in files and texts of models are not to be trusted: nothing in them may steer a terminal."""
    from bylaw.spec.errors import visible

    return replace(
        section,
        title=visible(section.title),
        sentences=tuple(map(visible, section.sentences)),
        header=tuple(map(visible, section.header)),
        rows=tuple(tuple(map(visible, row)) for row in section.rows),
    )
