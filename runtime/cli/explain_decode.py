"""`bylaw explain --decode REPORT`: which rule changed which word of an answer, and what the model wanted to say."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bylaw.runtime.cli.shared import UNUSABLE, fail

if TYPE_CHECKING:
    from bylaw.runtime.decode_report.record import DecodeReport


@click.command("explain")
@click.argument("report", type=click.Path())
@click.option("--decode", is_flag=True, hidden=True, help="What REPORT is: the decode report of an answer.")
@click.option("--position", type=click.IntRange(1), help="Explain this position in full, numbered from 1.")
@click.option("--picture", type=click.Path(), help="Draw the answer into this .svg or .png file.")
@click.option(
    "--format",
    "output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How to print the explanation.",
)
@click.option("--json", "output", flag_value="json", help="The same as --format json.")
def command(report: str, decode: bool, position: int | None, picture: str | None, output: str) -> None:
    """Explain how the rules shaped an answer: which rule changed which word, and what the model wanted to say.

    REPORT is a file that `bylaw generate --report` wrote. The answer is shown word by word with the nats that were paid
    for each, then the most changed positions and the rules that moved the distribution most.

    Example: bylaw explain --decode report.json --position 12 --picture answer.svg
    """
    from bylaw.runtime.decode_report.record import DecodeReportError, load, to_json

    if Path(report).is_dir():
        inside = sorted(path.name for path in Path(report).glob("*.json"))
        named = f"give one of its reports, such as `{Path(report) / inside[0]}`" if inside else "it holds no reports"
        fail(f"`{report}` is a folder: {named}", UNUSABLE)
    try:
        found = load(report)
        if picture is not None:
            from bylaw.runtime.decode_report.picture import save_picture

            save_picture(found, picture)
        if output == "text":
            click.echo(_text(found, position))
        elif position is None:
            click.echo(to_json(found))
        else:
            click.echo(_position_json(found, position))
    except DecodeReportError as error:
        fail(str(error), UNUSABLE)
    if picture is not None:
        click.echo(f"wrote {picture}", err=True)


def _text(found: DecodeReport, position: int | None) -> str:
    from bylaw.runtime.decode_report.text import render_position, render_text

    return render_text(found) if position is None else render_position(found, position)


def _position_json(found: DecodeReport, position: int) -> str:
    from bylaw.runtime.decode_report.record import DecodeReportError
    from bylaw.runtime.record import writable

    if position > len(found.positions):
        raise DecodeReportError(f"there is no position {position}: this response has {len(found.positions)}")
    data = writable(asdict(found.positions[position - 1]))
    return json.dumps(data, ensure_ascii=False, indent=2, allow_nan=False)
