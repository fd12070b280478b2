"""LANGUAGE.md and IR.md are kept true: every block is run, every table is compared with what it is about."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bylaw.compiler.pipeline import compile_file, compile_source
from bylaw.compiler.program import RewardProgram, RewardTerm, from_json, to_json
from bylaw.spec import ast, catalog
from bylaw.spec.errors import CODES, PROVED, render
from bylaw.spec.parser import parse
from bylaw.spec.source import Source

ROOT = Path(__file__).parents[1]
LANGUAGE = (ROOT / "spec" / "LANGUAGE.md").read_text(encoding="utf-8")
IR = (ROOT / "compiler" / "IR.md").read_text(encoding="utf-8")
DOCUMENTS = re.findall(
    r"^````markdown(?: (error|warning|note)=(P\d+))?\n(.*?)^````$", LANGUAGE, re.MULTILINE | re.DOTALL
)
BLOCKS = re.findall(r"^```bylaw(?: (error|warning|note)=(P\d+))?\n(.*?)^```$", LANGUAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    ("name", "severity", "code", "text"),
    [*(("LANGUAGE.bylaw", *block) for block in BLOCKS), *(("LANGUAGE.bylaw.md", *block) for block in DOCUMENTS)],
)
def test_block(name: str, severity: str, code: str, text: str) -> None:
    source = Source.of(name, text)
    compiled = compile_source(source, proofs=code in PROVED)
    shown = "\n".join(render(diagnostic, source) for diagnostic in compiled.diagnostics)
    found = {(diagnostic.severity.value, diagnostic.code) for diagnostic in compiled.diagnostics}
    assert found == ({(severity, code)} if code else set()), shown
    assert compiled.ok is (severity != "error")


def test_every_fence_is_run() -> None:
    assert LANGUAGE.count("```bylaw") == len(BLOCKS) > 40


def test_what_needs_other_files_works_beside_them(tmp_path: Path) -> None:
    files = {
        "house/base.bylaw": "rule no_cards at system { must not contain /[0-9]{16}/ }",
        "words/brands.txt": "# ours\nSeabreeze\n/Sea(gull)?s/i\n",
        "prompts.jsonl": '{"prompt": "When do you open?"}\n',
        "main.bylaw": "\n".join(re.findall(r"^```text\n(.*?)^```$", LANGUAGE, re.MULTILINE | re.DOTALL)),
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    compiled = compile_file(tmp_path / "main.bylaw")
    assert compiled.ok, [render(each, compiled.source) for each in compiled.diagnostics]
    assert [term.id for term in compiled.require().terms] == ["base.no_cards"]


def test_every_construct_is_shown() -> None:
    shown: set[type] = set()
    for text in re.findall(r"^```(?:bylaw[^\n]*|text)\n(.*?)^```$", LANGUAGE, re.MULTILINE | re.DOTALL):
        parsed = parse(Source.of("LANGUAGE.bylaw", text))
        if parsed.is_ok:
            shown |= {type(node) for node in ast.walk(parsed.module)}
    constructs = {each for each in vars(ast).values() if isinstance(each, type) and issubclass(each, ast.Node)}
    assert {each.__name__ for each in constructs - shown} == {"Node"}


def test_the_contents_name_every_section() -> None:
    sections = re.findall(r"^## (.+)$", LANGUAGE, re.MULTILINE)
    listed = re.findall(r"^- \[(.+)\]\(#(.+)\)$", LANGUAGE, re.MULTILINE)
    assert listed == [(title, anchor(title)) for title in sections if title != "Contents"]


def test_links_lead_somewhere() -> None:
    anchors = {anchor(title) for title in re.findall(r"^#+ (.+)$", LANGUAGE, re.MULTILINE)}
    prose = re.sub(r"`[^`\n]*`", "", TABLE.sub("", LANGUAGE))
    for path, place in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", prose):
        assert (ROOT / "spec" / path).exists(), path
        assert path or place in anchors, place


def anchor(title: str) -> str:
    """The anchor that a heading gets where Markdown is shown."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


TABLE = re.compile(r"(<!-- table: (\w+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
MORE = "More"
UNIT_GROUPS = {
    "Words and sentences": "words unique_words doubled_words stop_words all_caps_words palindromes "
    "mixed_script_words numbers dates sentences statements questions exclamations "
    "lines paragraphs quotations parentheses placeholders",
    "Characters": "characters letters capital_letters vowels consonants digits punctuation_marks "
    "full_stops commas colons semicolons question_marks exclamation_marks "
    "quotation_marks hyphens dashes asterisks line_breaks emoji "
    "non_ascii_characters invisible_characters",
    "Layout": "headings bullets sub_bullets numbered_items highlights tables dividers "
    "code_blocks inline_codes links images html_tags",
    "Addresses, personal data and secrets": "urls emails phone_numbers hashtags at_mentions card_numbers ibans "
    "social_security_numbers ip_addresses secrets",
}
FUNCTION_GROUPS = {
    "Parts of a text": "paragraph sentence line word word_range parts part different_parts text_before "
    "text_after code_block without_code trimmed lower reversed_text reversed_words "
    "word_initials sentence_initials line_initials",
    "Measures": "reading_grade reading_ease language syllables longest_sentence "
    "longest_paragraph longest_line longest_word average_sentence average_word "
    "unique_word_share most_repeated_word repeated_share longest_repetition "
    "longest_character_run longest_alliteration long_palindromes growing_sentences "
    "nesting_depth",
    "Words that are looked for": "phrases_found in_order words_before different_characters lines_starting",
    "Comparisons": "quoted_words overlap similarity edit_distance same_words",
    "Data and addresses": "json_matches json_field url_domains url_outside",
}


def rows(head: tuple[str, ...], lines: list[tuple[str, ...]]) -> str:
    """A Markdown table."""
    escaped = [tuple(cell.replace("|", "\\|") for cell in line) for line in lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in [head, *escaped]).replace(
        " |\n", " |\n" + "|---" * len(head) + "|\n", 1
    )


def grouped(groups: dict[str, str], names: tuple[str, ...], head: tuple[str, ...], row: Callable[[str], Any]) -> str:
    """One table a group; a name that no group has stands in the last one."""
    rest = sorted(set(names).difference(*(listed.split() for listed in groups.values())))
    tables = {title: [name for name in listed.split() if name in names] for title, listed in groups.items()}
    shown = {title: found for title, found in {**tables, MORE: rest}.items() if found}
    return "\n".join(f"**{title}**\n\n{rows(head, [row(name) for name in found])}" for title, found in shown.items())


def written(name: str) -> str:
    """How a predicate is written in a rule."""
    words = name.replace("_", " ")
    if not catalog.predicate(name).takes_matchers:
        return f"`be {name}`"
    return '`match /x/`, `be in ["x", "y"]`' if name == "match" else f'`{words} "x"`'


def call(name: str) -> tuple[str, str, str]:
    function = catalog.function(name)
    parameters = ", ".join(parameter.name for parameter in function.parameters)
    return f"`{name}({parameters})`", function.result, function.summary


def table(kind: str) -> str:
    """What stands between the marks of a table in LANGUAGE.md."""
    if kind == "codes":
        return rows(("code", "meaning"), [*CODES.items()])
    names = catalog.names(kind)
    if kind == "predicates":
        lines = [(f"`{name}`", written(name), catalog.predicate(name).summary) for name in names]
        return rows(("name", "written", "holds when"), lines)
    if kind == "units":
        return grouped(UNIT_GROUPS, names, ("unit", "what it is"), lambda n: (f"`{n}`", catalog.unit(n).summary))
    return grouped(FUNCTION_GROUPS, names, ("function", "gives", "what it is"), call)


def test_tables_are_those_of_the_catalog(request: pytest.FixtureRequest) -> None:
    page = ROOT / "spec" / "LANGUAGE.md"
    text = page.read_text(encoding="utf-8")
    wanted = TABLE.sub(lambda found: found[1] + table(found[2]) + found[4], text)
    if request.config.getoption("--update-golden"):
        page.write_text(wanted, encoding="utf-8")
        text = wanted
    assert sorted(found[2] for found in TABLE.finditer(text)) == ["codes", "functions", "predicates", "units"]
    assert text == wanted, "run `pytest tests/test_language_doc.py --update-golden` and look at what it writes"


def test_groups_name_each_entry_once() -> None:
    for kind, groups in (("units", UNIT_GROUPS), ("functions", FUNCTION_GROUPS)):
        listed = " ".join(groups.values()).split()
        assert len(listed) == len(set(listed))
        assert set(listed) <= set(catalog.names(kind))


def test_the_changelog_counts_the_catalog() -> None:
    changes = (ROOT / "spec" / "CHANGELOG.md").read_text(encoding="utf-8")
    counted = re.findall(r"^- (\d+) (things can be counted|things can be said|functions)", changes, re.MULTILINE)
    assert [int(number) for number, _ in counted] == [
        len(catalog.names(kind)) for kind in ("units", "predicates", "functions")
    ]


# --------------------------------------------------------------------------------------------------------------- IR
def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", IR, re.MULTILINE | re.DOTALL)


def test_the_program_in_ir_md_is_the_program_of_its_policy() -> None:
    (policy,), (program,) = blocks("bylaw"), blocks("json")
    compiled = compile_source(Source.of("IR.bylaw", policy)).require()
    assert json.loads(program) == json.loads(to_json(compiled))
    assert from_json(program) == compiled


@pytest.mark.parametrize("kind", [RewardProgram, RewardTerm])
def test_ir_md_describes_every_field(kind: type) -> None:
    for name in kind.__dataclass_fields__:  # type: ignore[attr-defined]
        assert f"| `{name}` |" in IR


def test_ir_md_names_every_operation() -> None:
    from bylaw.spec import expression

    operations = {
        node.__dataclass_fields__["op"].default
        for node in vars(expression).values()
        if isinstance(node, type) and "op" in getattr(node, "__dataclass_fields__", {})
    }
    assert operations - {name for name in operations if f"`{name}`" in IR} == set()
