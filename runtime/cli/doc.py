"""`bylaw doc`."""

from __future__ import annotations

from pathlib import Path

import click

from bylaw.runtime.cli.paths import PolicyPath
from bylaw.runtime.cli.shared import UNUSABLE, compile_or_exit, fail


@click.command("doc")
@click.argument("rules", type=PolicyPath())
@click.option(
    "--format",
    "output",
    type=click.Choice(["markdown", "html"]),
    help="What to write. Default: by the name of the file, else Markdown.",
)
@click.option("--out", type=click.Path(dir_okay=False), help="Write it there instead of printing it.")
@click.option("--force", is_flag=True, help="Write over a file that is there already; never over a policy.")
def command(rules: str, output: str | None, out: str | None, force: bool) -> None:
    """Write a policy as a document for people: rules by level, with reasons, exceptions and examples.

    Of a literate policy (.bylaw.md), Markdown keeps the prose, with the rules in place of its blocks. Exit code
    0, 1 when the policy is not sound, 2 when a file cannot be read or written.
    """
    from bylaw.runtime.report.constitution import constitution, to_html, to_markdown

    document = constitution(compile_or_exit(rules))
    chosen = output or ("html" if out is not None and Path(out).suffix in (".html", ".htm") else "markdown")
    text = to_html(document) if chosen == "html" else to_markdown(document)
    if out is None:
        click.echo(text.rstrip("\n"))
        return
    if out.endswith((".bylaw", ".bylaw.md")):
        fail(f"`{out}` is the name of a policy; a document is `.md` or `.html`", UNUSABLE)
    if Path(out).exists() and not force:
        fail(f"`{out}` is there already; `--force` writes over it", UNUSABLE)
    from bylaw.spec.fixes import write_atomically

    try:
        write_atomically(Path(out), text)
    except OSError as error:
        fail(f"`{out}` cannot be written: {error.strerror or error}", UNUSABLE)
    click.echo(f"wrote {out}", err=True)
