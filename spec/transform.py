"""Builds the syntax tree while the parser reads: one method for each rule or alias of `grammar.lark`.

What the grammar lets pass only to say it better is reported here: `may not`, `never`, `must not A and B`, a weight on a
hard rule, curly quotes, reserved or dotted names, parts said twice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from types import MappingProxyType

from bylaw.spec import ast
from bylaw.spec.errors import Fix, Label
from bylaw.spec.lalr import Handler, Token
from bylaw.spec.source import Source, Span
from bylaw.spec.transform_limits import LimitBuilder
from bylaw.spec.transform_terms import (
    Children,
    Part,
    first,
    name_of,
    only,
    part,
    passed,
    several,
    single,
    words,
)

RESERVED_WORDS = words(
    "must MUST should SHOULD may MAY need NEED shall will can could might ought cannot never always not NOT "
    "and or every some first last any all none contain contains mention mentions match matches start starts "
    "end ends have has be is are do does express expresses quote quotes follow follows precede precedes occur "
    "occurs exactly between per of in to true false when unless where"
)

_MEANT = MappingProxyType(
    {
        "shall": ast.RuleWord.MUST,
        "will": ast.RuleWord.MUST,
        "always": ast.RuleWord.MUST,
        "ought to": ast.RuleWord.SHOULD,
        "ought not to": ast.RuleWord.SHOULD_NOT,
        "can": ast.RuleWord.MAY,
        "could": ast.RuleWord.MAY,
        "might": ast.RuleWord.MAY,
        "might not": ast.RuleWord.NEED_NOT,
    }
)
_NEGATIVE_WORDS = MappingProxyType(
    {
        ast.RuleWord.MUST_NOT: ("allowed", "forbidden"),
        ast.RuleWord.SHOULD_NOT: ("wanted", "unwanted"),
        ast.RuleWord.NEED_NOT: ("required", "optional"),
    }
)
_TRADED = frozenset({ast.RuleWord.SHOULD, ast.RuleWord.SHOULD_NOT})
_SOFTER = MappingProxyType({ast.RuleWord.MUST: "should", ast.RuleWord.MUST_NOT: "should not"})
_AND = re.compile(r"\band\b")


def folded(text: ast.Text) -> ast.Text:
    """Return prose with every run of white space as one blank."""
    return ast.Text(" ".join(text.value.split()), text.span)


def _prose(node: Callable[[ast.Text, Span], object]) -> Callable[[object, Children, Span], object]:
    def handler(self: object, children: Children, span: Span) -> object:
        return node(folded(children[0]), span)

    return handler


def _names(node: Callable[[tuple[ast.Name, ...], Span], object]) -> Callable[[object, Children, Span], object]:
    """Make the method of a clause that is a keyword and a list of names."""

    def handler(self: object, children: Children, span: Span) -> object:
        return node(tuple(name_of(token) for token in children if token.type == "NAME"), span)

    return handler


class TreeBuilder(LimitBuilder):
    """All methods; one builder for each parse of a file."""

    def __init__(self, source: Source) -> None:
        """Build nodes of this source."""
        super().__init__()
        self._source = source

    def handlers(self, names: Iterable[str]) -> dict[str, Handler]:
        """Return the method of each rule or alias."""
        return {name: getattr(self, name) for name in names}

    def _declared(self, token: Token, what: str) -> ast.Name:
        """Return the name of something declared here, having checked that it may be one."""
        if token.text in RESERVED_WORDS:
            message = f"`{token.text}` is a word of the language and cannot name a {what}"
            self.report("P007", message, Label(token.span), f"choose another name, such as `{token.text}_{what}`")
        elif "." in token.text:
            wanted = token.text.replace(".", "_")
            fix = Fix(f"write `{wanted}`", token.span, wanted)
            note = "only names of policies and facts, and names from imports, have dots"
            self.report("P014", f"the name of a {what} has no dots", Label(token.span), note, fix=fix)
        return name_of(token)

    # ------------------------------------------------------------------------------------------------- clauses

    when = single(ast.When)
    unless = single(ast.Unless)
    because = _prose(ast.Because)
    cited_source = _prose(ast.CitedSource)
    overrides = _names(ast.Overrides)
    waivable_by = _names(ast.WaivableBy)
    waivable_implicitly = several(lambda _, span: ast.WaivableImplicitly(span))
    not_waivable = several(lambda _, span: ast.NotWaivable(span))
    violation_message = passed("message")

    def on_violation(self, children: Children, span: Span) -> ast.OnViolation:
        return ast.OnViolation(name_of(children[1]), part(children, "message"), span)

    def weight(self, children: Children, span: Span) -> ast.Weight:
        return ast.Weight(children[0], span)

    def modality(self, children: Children, span: Span) -> ast.Modality:
        token = children[0]
        said = " ".join(token.text.lower().split())
        if token.type != "MODAL_TRAP":
            return ast.Modality(ast.RuleWord(said), span)
        if said == "may not":
            fix = Fix("write `must not` to forbid it, or `need not` to lift a duty")
            label = Label(span, "forbidden, or merely not required?")
            note = "RFC 2119 does not define `may not`; readers disagree about it"
            self.report("P201", "`may not` is ambiguous", label, note, fix=fix)
            return ast.Modality(ast.RuleWord.MUST_NOT, span)
        meant = _MEANT.get(said, ast.RuleWord.MUST_NOT)
        message = f"`{' '.join(token.text.split())}` is not one of the six rule words"
        note = "must, must not, should, should not, may, need not"
        self.report("P202", message, Label(span), note, fix=Fix(f"write `{meant}`", span, str(meant)))
        return ast.Modality(meant, span)

    def norm(self, children: Children, span: Span) -> ast.Norm:
        modality = first(children, ast.Modality)
        assert modality is not None
        at = children.index(modality)
        weight = first(children, ast.Weight)
        word, body = modality.word, children[at + 1]
        if weight is not None and word not in _TRADED:
            advice = f"remove this, or use `{_SOFTER[word]}`" if word in _SOFTER else "remove this"
            note = "must rules remove outputs altogether; only should and prefer are traded off"
            if word not in _SOFTER:
                note = "permissions are not traded off; only should and prefer are"
            fix = Fix("delete `weight ...`", weight.span, "")
            self.report("P204", f"a `{word}` rule has no weight", Label(weight.span, advice), note, fix=fix)
        if word in _NEGATIVE_WORDS:
            self._check_negative(word, body)
        return ast.Norm(children[0] if at else None, modality, body, weight, span)

    def _check_negative(self, word: ast.RuleWord, body: ast.VerbPhrase) -> None:
        """Report `and` after a negative rule word: neither, or not both?"""
        waiting = [body]
        while waiting:
            phrase = waiting.pop()
            if isinstance(phrase, ast.VerbAnd):
                self._report_negative_and(word, phrase)
            elif isinstance(phrase, ast.VerbOr):
                waiting.extend(phrase.operands)
            elif isinstance(phrase, ast.VerbNot):
                waiting.append(phrase.operand)

    def _report_negative_and(self, word: ast.RuleWord, phrase: ast.VerbAnd) -> None:
        text = self._source.text
        pieces = []
        last = phrase.span.start
        for left, right in zip(phrase.operands, phrase.operands[1:], strict=False):
            gap = Span(left.span.end, right.span.start)
            pieces += [text[last : gap.start], _AND.sub("or", self._source.slice(gap), count=1)]
            last = gap.end
        replacement = "".join(pieces) + text[last : phrase.span.end]
        self.report(
            "P203",
            f"`{word} ... and ...` can be read two ways",
            Label(phrase.span, "neither of these, or not both together?"),
            f"write `{word} A or B` when neither is {_NEGATIVE_WORDS[word][0]}",
            f"write two rules, or `when A` and `{word} B`, when only the combination is {_NEGATIVE_WORDS[word][1]}",
            fix=Fix("replace `and` by `or`", phrase.span, replacement),
        )

    def prefer_higher(self, children: Children, span: Span) -> ast.PreferHigher:
        return ast.PreferHigher(children[0], first(children, ast.Weight), span)

    def prefer_lower(self, children: Children, span: Span) -> ast.PreferLower:
        return ast.PreferLower(children[0], first(children, ast.Weight), span)

    def prefer_near(self, children: Children, span: Span) -> ast.PreferNear:
        return ast.PreferNear(children[0], children[1], first(children, ast.Weight), span)

    def prefer_order(self, children: Children, span: Span) -> ast.PreferOrder:
        alternatives = tuple(child for child in children if not isinstance(child, ast.Weight))
        return ast.PreferOrder(alternatives, first(children, ast.Weight), span)

    # -------------------------------------------------------------------------------------- examples and tests

    def note(self, children: Children, span: Span) -> Part:
        return Part("note", folded(children[0]))

    conversation = several(ast.Conversation)

    def example(self, children: Children, span: Span) -> ast.Example:
        return ast.Example(ast.ExpectedVerdict(children[0].text), children[1], part(children, "note"), span)

    def turn(self, children: Children, span: Span) -> ast.Turn:
        return ast.Turn(ast.Role(children[0].text), children[1], span)

    def tool_call_turn(self, children: Children, span: Span) -> ast.ToolCallTurn:
        return ast.ToolCallTurn(ast.Role(children[0].text), name_of(children[1]), tuple(children[2:]), span)

    tool_result_turn = single(ast.ToolResultTurn)
    given = single(ast.Given)

    def expect(self, children: Children, span: Span) -> ast.Expect:
        return ast.Expect(ast.ExpectedVerdict(children[0].text), tuple(map(name_of, children[1:])), span)

    # -------------------------------------------------------------------------------------------- declarations

    version = passed("version")
    annotation_text = passed("text")
    element = passed("element")
    level = passed("level")
    param_type = passed("type")
    param_default = passed("default")
    number_range = single(ast.NumberRange)
    choices = single(ast.Choices)
    lexicon_file = single(ast.LexiconFile)
    lexicon_union = single(ast.LexiconUnion)
    lexicon_difference = single(ast.LexiconDifference)
    distinct_from = _names(ast.DistinctFrom)
    cued_by = _names(ast.CuedBy)

    def alias(self, children: Children, span: Span) -> Part:
        return Part("alias", self._declared(children[0], "name"))

    def edition(self, children: Children, span: Span) -> Part:
        return Part("edition", self.number(children, children[0].span))

    def header(self, children: Children, span: Span) -> ast.Header:
        return ast.Header(name_of(children[0]), part(children, "version"), part(children, "edition"), span)

    def annotation(self, children: Children, span: Span) -> ast.Annotation:
        return ast.Annotation(name_of(children[0]), part(children, "text"), span)

    def binding(self, children: Children, span: Span) -> ast.Binding:
        return ast.Binding(name_of(children[0]), children[1], span)

    def import_with(self, children: Children, span: Span) -> Part:
        return Part("bindings", tuple(children))

    def import_decl(self, children: Children, span: Span) -> ast.ImportDecl:
        bindings = part(children, "bindings") or ()
        is_include = children[0].text == "include"
        version, alias = part(children, "version"), part(children, "alias")
        return ast.ImportDecl((), is_include, name_of(children[1]), version, alias, bindings, span)

    def ranked_level(self, children: Children, span: Span) -> tuple[ast.Name, ast.LevelPrice | None]:
        name, price = self._declared(children[0], "level"), part(children, "price")
        return name, None if price is None else ast.LevelPrice(name.text, price.value, price.span)

    def levels_decl(self, children: Children, span: Span) -> ast.LevelsDecl:
        ranked = only(children, tuple)
        prices = tuple(price for _, price in ranked if price is not None)
        return ast.LevelsDecl((), tuple(name for name, _ in ranked), prices, span)

    def type_ref(self, children: Children, span: Span) -> ast.TypeRef:
        return ast.TypeRef(name_of(children[0]), part(children, "element"), span)

    def param_decl(self, children: Children, span: Span) -> ast.ParamDecl:
        name, kind, default, *rest = children
        allowed = first(rest, ast.NumberRange) or first(rest, ast.Choices)
        description = first(rest, ast.Text)
        described = None if description is None else folded(description)
        return ast.ParamDecl((), self._declared(name, "parameter"), kind, default, allowed, described, span)

    def lexicon_decl(self, children: Children, span: Span) -> ast.LexiconDecl:
        name, *rest = children
        description = folded(rest[0]) if isinstance(rest[0], ast.Text) else None
        return ast.LexiconDecl((), self._declared(name, "lexicon"), description, rest[-1], span)

    suite_file = single(ast.SuiteFile)

    def suite_decl(self, children: Children, span: Span) -> ast.SuiteDecl:
        name, *rest = children
        description = folded(rest[0]) if isinstance(rest[0], ast.Text) else None
        return ast.SuiteDecl((), self._declared(name, "suite"), description, rest[-1], span)

    def like(self, children: Children, span: Span) -> ast.Like:
        return ast.Like(children[0], part(children, "note"), span)

    def unlike(self, children: Children, span: Span) -> ast.Unlike:
        return ast.Unlike(children[0], part(children, "note"), span)

    def scored_by(self, children: Children, span: Span) -> ast.ScoredBy:
        return ast.ScoredBy(name_of(children[0]), first(children, ast.Text), span)

    threshold = single(ast.Threshold)

    def concept_body(self, children: Children, span: Span) -> Part:
        for kind, word in ((ast.Threshold, "threshold"), (ast.ScoredBy, "scored by")):
            found = [child for child in children if isinstance(child, kind)]
            if len(found) > 1:
                self.report("P010", f"`{word}` is given twice", Label(found[1].span, "remove one of them"))
        return Part("clauses", tuple(children))

    def concept_decl(self, children: Children, span: Span) -> ast.ConceptDecl:
        kind, token, meaning = children[:3]
        name = self._declared(token, kind.text)
        clauses = part(children, "clauses") or ()
        return ast.ConceptDecl((), kind.text == "topic", name, folded(meaning), clauses, span)

    def param(self, children: Children, span: Span) -> ast.Parameter:
        name = self._declared(children[0], "parameter")
        return ast.Parameter(name, part(children, "type"), part(children, "default"), span)

    def params(self, children: Children, span: Span) -> Part:
        return Part("parameters", tuple(children))

    def define_decl(self, children: Children, span: Span) -> ast.DefineDecl:
        name = self._declared(children[0], "definition")
        return ast.DefineDecl((), name, part(children, "parameters"), children[-1], span)

    def rule_decl(self, children: Children, span: Span) -> ast.RuleDecl:
        name = self._declared(children[0], "rule")
        title, level, clauses = _head_and_clauses(children[1:])
        return ast.RuleDecl((), name, part(children, "parameters"), title, level, clauses, span)

    def exception_decl(self, children: Children, span: Span) -> ast.ExceptionDecl:
        name = self._declared(children[0], "exception")
        title, level, clauses = _head_and_clauses(children[2:])
        return ast.ExceptionDecl((), name, name_of(children[1]), title, level, clauses, span)

    def apply_decl(self, children: Children, span: Span) -> ast.ApplyDecl:
        alias, level = part(children, "alias"), part(children, "level")
        arguments = only(children, ast.Argument)
        return ast.ApplyDecl((), name_of(children[0]), arguments, alias, level, first(children, ast.Weight), span)

    def examples_decl(self, children: Children, span: Span) -> ast.ExamplesDecl:
        return ast.ExamplesDecl((), name_of(children[0]), tuple(children[1:]), span)

    def test_decl(self, children: Children, span: Span) -> ast.TestDecl:
        return ast.TestDecl((), children[0], tuple(children[1:]), span)

    def start(self, children: Children, span: Span) -> ast.Module:
        header = first(children, ast.Header)
        items: list[ast.Item] = []
        annotations: list[ast.Annotation] = []
        for child in children:
            if isinstance(child, ast.Annotation):
                annotations.append(child)
            elif not isinstance(child, ast.Header):
                items.append(child.changed(annotations=tuple(annotations)) if annotations else child)
                annotations.clear()
        return ast.Module(header, tuple(items), span)


def _head_and_clauses(
    children: Children,
) -> tuple[ast.Text | None, ast.Name | None, tuple[ast.Clause, ...]]:
    """Return the title, the level and the clauses of a rule or an exception."""
    clauses = tuple(child for child in children if not isinstance(child, ast.Text | Part))
    title = first(children, ast.Text)
    return None if title is None else folded(title), part(children, "level"), clauses
