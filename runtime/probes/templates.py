"""Templates around prompts: built-in ones and a folder of the user's, in Jinja2 with nothing but text in reach.

The sandbox is a narrow one: no attribute whose name begins with an underscore, no call of anything, no global, no other
template, a few filters about text, no arithmetic that makes large texts. A variable that is not there is an error.

The first line of a template may say what it does: `{# lean: break; difficulty: 3 #}`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from bylaw.runtime.probes.probe import HARDEST, LONGEST, Lean, ProbeError

if TYPE_CHECKING:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

VARIABLES: Mapping[str, str] = {
    "text": "a prompt that meets the rule's condition",
    "rule": "the name of the rule",
    "title": "its title",
    "because": "its reason",
    "breaking": "an answer that breaks it",
    "keeping": "an answer that keeps it",
}
"""What a template may ask for. Where a rule has no such thing, the template is not used for it."""
SUFFIX = ".jinja"
_LEANS = ("neutral", "break", "keep")
_FILTERS = ("upper", "lower", "capitalize", "title", "trim", "first", "last", "length", "default", "tojson")
_HEADER = re.compile(r"\A\{#-?(.*?)-?#\}", re.DOTALL)
_LARGEST_FILE = 100_000


class TemplateProblem(ProbeError):
    """A template cannot be used: the message names the file, the line where it is known, and what to do."""


@dataclass(frozen=True, slots=True)
class Template:
    """One template. `needs`: the variables that it reads. `lean` and `difficulty` as of the probes that it makes."""

    name: str
    source: str
    needs: frozenset[str]
    lean: Lean = "neutral"
    difficulty: int = 1

    def render(self, values: Mapping[str, str]) -> str:
        """The prompt, without spaces at its ends. Raises TemplateProblem for what fails or grows too long."""
        from jinja2 import TemplateError

        given = {name: value for name, value in values.items() if name in self.needs}
        text, size = [], 0
        try:
            for piece in _environment().from_string(self.source).generate(given):
                text.append(piece)
                size += len(piece)
                if size > LONGEST:
                    raise TemplateProblem(f"template `{self.name}` makes more than {LONGEST:,} characters")
        except (TemplateError, TypeError, ValueError, ArithmeticError, RecursionError) as error:
            raise TemplateProblem(f"template `{self.name}` cannot be used: {error}") from None
        return "".join(text).strip()


def built_in() -> tuple[Template, ...]:
    """The templates of this package, in the order of their names."""
    return _of_folder(Path(__file__).parent, "ask_*")


def templates_in(folder: str | Path) -> tuple[Template, ...]:
    """The templates of a folder (`*.jinja`), in the order of their names. Raises TemplateProblem."""
    place = Path(folder)
    if not place.is_dir():
        raise TemplateProblem(f"`{place}` is not a folder; --templates names a folder with files that end in {SUFFIX}")
    found = _of_folder(place, "*")
    if not found:
        raise TemplateProblem(f"there is no template in `{place}`: their names end in {SUFFIX}")
    return found


def fitting(templates: Sequence[Template], values: Mapping[str, str]) -> Iterator[Template]:
    """Those templates of which every variable is there."""
    return (each for each in templates if each.needs <= values.keys())


def _of_folder(folder: Path, pattern: str) -> tuple[Template, ...]:
    return tuple(_read(path) for path in sorted(folder.glob(pattern + SUFFIX)) if path.is_file())


def _read(path: Path) -> Template:
    try:
        source = path.read_bytes()[: _LARGEST_FILE + 1].decode("utf-8")
    except OSError as error:
        raise TemplateProblem(f"template `{path}` cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise TemplateProblem(f"template `{path}` is not UTF-8 text") from None
    if len(source) > _LARGEST_FILE:
        raise TemplateProblem(f"template `{path}` has more than {_LARGEST_FILE:,} bytes")
    return template_of(path.stem.removeprefix("ask_"), source, str(path))


def template_of(name: str, source: str, place: str | None = None) -> Template:
    """A template from its text. `place` is what messages call it. Raises TemplateProblem."""
    from jinja2 import TemplateSyntaxError, meta, nodes

    called = place or name
    environment = _environment()
    try:
        tree = environment.parse(source)
        environment.from_string(source)  # unknown filters are found only by this
    except TemplateSyntaxError as error:
        raise TemplateProblem(f"template `{called}`, line {error.lineno}: {error.message}") from None
    for banned in tree.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends, nodes.Call)):
        what = "calls something" if isinstance(banned, nodes.Call) else "uses another template"
        raise TemplateProblem(f"template `{called}`, line {banned.lineno}: it {what}, which templates may not")
    needs = frozenset(meta.find_undeclared_variables(tree))
    for unknown in sorted(needs - VARIABLES.keys()):
        raise TemplateProblem(
            f"template `{called}` reads `{unknown}`, which there is not; there are {', '.join(VARIABLES)}"
        )
    lean, difficulty = _header(source, called)
    return Template(name, source, needs, lean, difficulty)


def _header(source: str, called: str) -> tuple[Lean, int]:
    """What the comment at the beginning says; without one, a neutral template of difficulty 1."""
    lean, difficulty = "neutral", 1
    found = _HEADER.match(source)
    for part in found[1].split(";") if found and ":" in found[1] else ():
        name, _, value = (each.strip() for each in part.partition(":"))
        if name == "lean" and value in _LEANS:
            lean = value
        elif name == "difficulty" and value.isdigit() and 1 <= int(value) <= HARDEST:
            difficulty = int(value)
        else:
            raise TemplateProblem(
                f"template `{called}`, line 1: `{part.strip()}` is neither `lean: {' | '.join(_LEANS)}` "
                f"nor `difficulty: 1` to `{HARDEST}`"
            )
    return cast("Lean", lean), difficulty


@cache
def _environment() -> ImmutableSandboxedEnvironment:
    from jinja2 import StrictUndefined
    from jinja2.exceptions import SecurityError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Narrow(ImmutableSandboxedEnvironment):
        intercepted_binops = frozenset(("*", "**", "%"))

        def is_safe_callable(self, obj: Any) -> bool:
            return False

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            raise SecurityError(f"`{operator}` could make a text of any size, so templates have none")

    # No HTML is made: prompts are plain text, so nothing is escaped.
    environment = Narrow(autoescape=False, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.globals.clear()
    filters = environment.filters
    environment.filters = {name: filters[name] for name in _FILTERS}
    return environment


def render_own(name: str, **values: Any) -> str:
    """A file of this package for a model that writes prompts, with its variables; trusted, so with full Jinja2.

    Raises TemplateProblem for a variable that is missing.
    """
    from jinja2 import FileSystemLoader, StrictUndefined, TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=False,  # no HTML: texts of the policy stand between marks
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    try:
        return environment.get_template(name).render(**values).strip() + "\n"
    except TemplateError as error:
        raise TemplateProblem(f"the template {name} cannot be used: {error}") from error
