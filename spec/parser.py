"""Parses a policy: `parse(source)` returns its syntax tree and everything wrong with its syntax.

Each declaration is parsed alone (`spec/chunks.py`), so one run reports the mistakes of all of them. A declaration with
a syntax error is missing from the module; a module with any error is not to be loaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from bylaw.spec import ast, grammar_tables, syntax_errors
from bylaw.spec.chunks import MAXIMUM_DEPTH, Chunk, scan
from bylaw.spec.errors import Diagnostic, Fix, Label, PolicySyntaxError, Severity
from bylaw.spec.lalr import Failure, Parser, Token
from bylaw.spec.source import MAXIMUM_FILE_BYTES, Source, Span
from bylaw.spec.transform import TreeBuilder
from bylaw.spec.transform_terms import words

# Terminals that put one expression inside another; a chunk with few of them cannot be deep.
_NESTING = words("PLUS MINUS STAR SLASH PER NOT LPAR LSQB OF IN NUMBER_OF SCORE_OF AND OR")
_SHALLOW = 60


@dataclass(frozen=True, slots=True)
class ParseResult:
    """The syntax tree of what parsed, the diagnostics in the order of the text, and, if kept, its tokens."""

    source: Source
    module: ast.Module
    diagnostics: tuple[Diagnostic, ...]
    tokens: tuple[Token, ...] = ()

    @property
    def is_ok(self) -> bool:
        """Whether nothing is wrong; only then may the module be loaded."""
        return not any(diagnostic.is_error for diagnostic in self.diagnostics)

    def require(self) -> ast.Module:
        """Return the module.

        Raises:
            PolicySyntaxError: there is an error; it carries all diagnostics.
        """
        if not self.is_ok:
            raise PolicySyntaxError(self.diagnostics, self.source)
        return self.module


@dataclass(frozen=True, slots=True)
class _Language:
    """What every parse shares."""

    tables: grammar_tables.Tables
    parser: Parser
    handler_names: frozenset[str]


@cache
def _language() -> _Language:
    tables = grammar_tables.load()
    names = frozenset(rule.handler for rule in tables.rules if not rule.is_spliced and not rule.passes_single_child)
    return _Language(tables, Parser(tables), names)


def parse(source: Source, keeps_tokens: bool = False) -> ParseResult:
    """Parse a policy. Raises nothing for any text: what is wrong is in the diagnostics.

    The tokens are kept on demand only: they are many, and the garbage collector would look at each of them.
    """
    whole = source.whole
    if whole.end - whole.start > MAXIMUM_FILE_BYTES:
        return ParseResult(source, ast.Module(None, (), whole), (_too_large(),))
    chunks, lexical = scan(source)
    builder = TreeBuilder(source)
    parser = _language().parser
    handlers = parser.bind(builder.handlers(_language().handler_names))
    syntactic: list[Diagnostic] = []
    header: ast.Header | None = None
    items: list[ast.Item] = []
    tokens: list[Token] = []
    for number, chunk in enumerate(chunks):
        if not chunk.is_readable:
            continue
        outcome = parser.parse(handlers, source.text, chunk.start, chunk.end)
        if isinstance(outcome, Failure) or chunk.unclosed:
            syntactic.extend(_explain(outcome, chunk, chunks[number + 1 : number + 2], source))
            continue
        module: ast.Module = outcome.value
        tokens.extend(outcome.tokens if keeps_tokens else ())
        if module.header is not None and number:
            syntactic.append(syntax_errors.misplaced_header(module.header.span))
        elif module.header is not None:
            header = module.header
        if _nesting(outcome.tokens) > _SHALLOW and (deep := _deep_part(module)):
            syntactic.append(syntax_errors.too_deep(deep, MAXIMUM_DEPTH))
        else:
            items.extend(module.items)
    diagnostics = sorted([*lexical, *builder.diagnostics, *syntactic], key=lambda found: found.primary.span.start)
    return ParseResult(source, ast.Module(header, tuple(items), whole), tuple(diagnostics), tuple(tokens))


def _explain(outcome: object, chunk: Chunk, following: tuple[Chunk, ...], source: Source) -> list[Diagnostic]:
    """Return what is wrong with a chunk that did not parse or whose braces are not closed."""
    found: list[Diagnostic] = []
    if isinstance(outcome, Failure):
        reason = syntax_errors.explain(outcome, source, _language().tables)
        # behind an open brace only what cannot come from the brace itself is worth saying
        if not chunk.unclosed or reason.code != "P005":
            found.append(reason)
    if chunk.unclosed:
        start = syntax_errors.first_word(source, following[0].start) if following else None
        found.append(syntax_errors.unclosed_brace(chunk, source, start))
    return found


def _nesting(tokens: tuple[Token, ...]) -> int:
    return sum(1 for token in tokens if token.type in _NESTING)


def _deep_part(module: ast.Module) -> Span | None:
    """Return the span of the first node that stands too deep in the tree, found without recursion."""
    waiting: list[tuple[ast.Node, int]] = [(module, 0)]
    while waiting:
        node, depth = waiting.pop()
        if depth > MAXIMUM_DEPTH:
            return node.span
        waiting.extend((child, depth + 1) for child in ast.children(node))
    return None


def _too_large() -> Diagnostic:
    note = f"a policy holds at most {MAXIMUM_FILE_BYTES:,} characters; split it and `import` the parts"
    fix = Fix("split the file")
    return Diagnostic(
        "P006", Severity.ERROR, "this text is too large for a policy", Label(Span(0, 0)), (), (note,), fix
    )
