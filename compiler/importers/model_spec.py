"""A published specification of model behaviour in Markdown, as a literate policy for a person to complete.

The form is that of OpenAI's Model Spec: headings with `{#anchor authority=level}`, prose, and fenced blocks of example
conversations whose replies are marked GOOD, BAD or OK. The prose stays as it is; behind each section with a level
comes a block with one rule. What a section means needs a judge, so its rule rests on a concept:

* `concept breaks_<anchor>`: its meaning is the section's title and sentences with a rule word, `like` are the replies
  marked BAD, `unlike` those marked GOOD or OK;
* `rule <anchor> at <authority>` says that a response must not (at the strongest level) or should not express it, with
  the conversations as examples. Their replies are the texts of the concept, so they are decided without a judge.

A section without `authority` has the authority of the section around it. Where that has none either it has no rule:
giving it a level would be ours. A reply marked `BAD[#other]` counts for the section that is named.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from bylaw.compiler.importers import _writing as write
from bylaw.compiler.importers._dialogues import Message, Reply, replies
from bylaw.compiler.importers._markdown import Document, Section, Sentence, plain, read_document, sentences
from bylaw.compiler.importers.interface import AccountLine, Imported, Importer, ImportFailure, Naming, Outcome

_CHAIN = ("platform", "root", "system", "developer", "user", "guideline")
_LONE_RETURN = re.compile(r"\r(?!\n)")
_LITERATE = re.compile(r"^ {0,3}(?:`{3,}|~{3,})[ \t]*bylaw(?=[\s`]|\Z)", re.MULTILINE)


@dataclass(slots=True)
class _Proposal:
    """One rule in the making."""

    section: Section
    name: str
    level: str
    sentences: list[Sentence]
    good: list[Reply] = field(default_factory=list)
    bad: list[Reply] = field(default_factory=list)


@dataclass(slots=True)
class _Work:
    """A document on its way, and the account so far."""

    document: Document
    titles: dict[str, str]
    account: list[AccountLine] = field(default_factory=list)
    proposals: dict[str, _Proposal] = field(default_factory=dict)

    def say(self, line: int, what: str, outcome: Outcome, reason: str = "") -> None:
        self.account.append(AccountLine(f"line {line}", what, outcome, reason))


def read(text: str, naming: Naming) -> Imported:
    """The literate policy of a specification.

    Raises:
        ImportFailure: no heading has an anchor with an authority, or the text already holds policy blocks.
    """
    text = text.removeprefix("\ufeff")
    literate = _LITERATE.search(text)
    if literate:
        line = text.count("\n", 0, literate.start()) + 1
        raise ImportFailure(f"line {line}", "the file already holds `bylaw` blocks: it is a policy as it stands")
    lone = _LONE_RETURN.search(text)
    if lone:
        line = text.count("\n", 0, lone.start()) + 1
        text = _LONE_RETURN.sub("\n", text)
    document = read_document(text)
    titles = {section.id: section.title for section in document.sections if section.id}
    work = _Work(document, titles)
    if lone:
        work.say(line, "line ends", "changed", "carriage returns alone are line breaks now")
    for section, level in _levels(work):
        _propose(work, section, level)
    if not work.proposals:
        raise ImportFailure("", "no heading has the form `## Title {#anchor authority=level}`")
    for section in document.sections:
        _read_examples(work, section)
    _drop_ambiguous(work)
    woven = _woven(text, work, naming)
    order = {id(line): number for number, line in enumerate(work.account)}
    account = sorted(work.account, key=lambda line: (int(line.place.split()[1]), order[id(line)]))
    return Imported(write.laid_out(woven, ".bylaw.md"), tuple(account))


def _levels(work: _Work) -> Iterable[tuple[Section, str]]:
    """The sections that get a rule, with its level; the account says what becomes of every heading."""
    around: list[tuple[int, str | None]] = []
    for section in work.document.sections[1:]:
        around = [entry for entry in around if entry[0] < section.depth]
        inherited = around[-1][1] if around else None
        level = section.authority or inherited
        around.append((section.depth, level if level in _CHAIN else None))
        what = f"section `{section.id or section.title}`"
        if section.id is None:
            work.say(section.line, what, "skipped", "it has no anchor, so nothing can name its rule; its prose is kept")
        elif level is None:
            work.say(section.line, what, "skipped", "it has no authority; its prose is kept")
        elif level not in _CHAIN:
            work.say(section.line, what, "skipped", f"`{level}` is none of {', '.join(_CHAIN)}")
        elif section.id in work.proposals:
            work.say(section.line, what, "skipped", "this anchor stands twice")
        else:
            told = "" if section.authority else f"it has the authority of the section around it, `{level}`"
            work.say(section.line, what, "changed" if told else "proposed", told or f"rule at {level}")
            yield section, level


def _propose(work: _Work, section: Section, level: str) -> None:
    taken = {other.name for other in work.proposals.values()}
    name = write.unused(write.identifier(section.id or "", "section"), taken)
    proposal = _Proposal(section, name, level, sentences(section, work.titles))
    work.proposals[section.id or ""] = proposal
    for sentence in proposal.sentences:
        if sentence.is_permission:
            reason = "a permission; write an exception where a rule needs one"
            work.say(sentence.line, f"sentence with `{sentence.word}`", "skipped", reason)
        else:
            work.say(sentence.line, f"sentence with `{sentence.word}`", "proposed", f"part of breaks_{name}")
    for line in section.asides:
        work.say(line, "aside", "skipped", "a comment on the text, not an instruction; it stays in the prose")


def _read_examples(work: _Work, section: Section) -> None:
    """Sorts the marked replies of a section into the rules that they are about."""
    for block in section.blocks:
        if block.info != "xml":
            work.say(
                block.line, f"block `{block.info or 'plain'}`", "skipped", "not a conversation; it stays in the prose"
            )
            continue
        found = replies(block.lines, block.line + 1)
        if not found:
            work.say(block.line, "conversation", "skipped", "no reply of it is marked GOOD, BAD or OK")
        for reply in found:
            anchor = reply.target or section.id or ""
            reason = _unusable(reply) or (
                "" if anchor in work.proposals else f"it is about `{anchor}`, which has no rule"
            )
            if reason:
                work.say(reply.message.line, f"reply {reply.mark or 'without mark'}", "skipped", reason)
            else:
                proposal = work.proposals[anchor]
                (proposal.bad if reply.mark == "BAD" else proposal.good).append(reply)


def _unusable(reply: Reply) -> str:
    """Why a reply cannot be an example, or nothing."""
    if not reply.mark:
        return "it is not marked GOOD, BAD or OK"
    if reply.message.attribute("recipient"):
        return "it is a call of a tool, not a text"
    if not reply.message.text:
        return "it is empty"
    if any(_steps(message) is None for message in reply.context):
        return "a message before it calls a tool in a form of its own"
    return reply.gap


def _drop_ambiguous(work: _Work) -> None:
    """A text that is good in one conversation and bad in another says nothing about the text: neither is used."""
    for proposal in work.proposals.values():
        good = {reply.message.text for reply in proposal.good}
        both = good & {reply.message.text for reply in proposal.bad}
        for reply in sorted([*proposal.good, *proposal.bad], key=lambda reply: reply.message.line):
            what, line = f"reply {reply.mark}", reply.message.line
            if reply.message.text in both:
                work.say(line, what, "skipped", "the same text is good and bad for this rule, by its conversation")
                continue
            differs = ["OK counts as good"] if reply.mark == "OK" else []
            differs += [
                f"the remark on the message at line {message.line} is left out"
                for message in reply.context
                if message.attribute("comment")
            ]
            told = [f"counts for `{proposal.name}`, which its mark names", *differs] if reply.target else differs
            work.say(line, what, "changed" if differs else "imported", "; ".join(told))
        proposal.good = [reply for reply in proposal.good if reply.message.text not in both]
        proposal.bad = [reply for reply in proposal.bad if reply.message.text not in both]


# ---------------------------------------------------------------------------------------------------------- writing
def _woven(text: str, work: _Work, naming: Naming) -> str:
    """The document with a block at its top and one behind each section that has a rule."""
    newline = "\r\n" if text[: text.find("\n") + 1].endswith("\r\n") else "\n"
    lines = text.split("\n")
    used = {proposal.level for proposal in work.proposals.values()}
    chain = [level for level in _CHAIN if level in used or level not in ("platform", "root")]
    if len({"platform", "root"} & used) == 0:
        chain.insert(0, "root")
    out = _fenced([_opening(naming, chain)])
    for section in work.document.sections:
        end = min(section.end - 1, len(lines))
        out += [line.removesuffix("\r") for line in lines[max(section.line - 1, 0) : end]]
        proposal = work.proposals.get(section.id or "")
        is_last = section is work.document.sections[-1]
        if is_last and work.document.open_fence:
            out.append(work.document.open_fence)
            work.say(section.line, "fence", "changed", "a fence of this section was never closed; it is closed now")
        if proposal is not None and proposal.section is section:
            while out and not out[-1].strip():
                out.pop()
            out += ["", *_fenced(_rule(proposal, chain[0]))]
    return newline.join(out).rstrip() + newline


def _fenced(parts: list[str]) -> list[str]:
    return ["```bylaw", *"\n".join(parts).split("\n"), "```", ""]


def _opening(naming: Naming, chain: list[str]) -> str:
    return "\n".join(
        (
            "# Imported. The blocks between the sections are proposals: read each before you rely on it.",
            "# A rule of the strongest level says `must not`, the others `should not`; the document may differ.",
            write.header(naming.policy),
            f"levels {' > '.join(chain)}",
        )
    )


def _rule(proposal: _Proposal, strongest: str) -> list[str]:
    """The concept and the rule of one section."""
    title = plain(proposal.section.title, {})
    concept = f"breaks_{proposal.name}"
    asked = [sentence for sentence in proposal.sentences if not sentence.is_permission]
    allowed = sorted({sentence.line for sentence in proposal.sentences if sentence.is_permission})
    meaning = " ".join([f"Does not keep to: {title}.", *(sentence.text for sentence in asked)])
    out = [write.comment(f"Proposed from the section above; its concept gathers {_count(len(asked), 'sentence')}.")]
    if allowed:
        out.append(write.comment(f"Not part of it: what lines {', '.join(map(str, allowed))} of the document allow."))
    out.append(f"concept {concept} means {write.prose(meaning)} {{")
    for word, said in (("like", proposal.bad), ("unlike", proposal.good)):
        firsts = {reply.message.text: reply for reply in reversed(said)}
        out += [
            f"  {word} {write.quoted(text)}{f' note {write.prose(reply.remark)}' if reply.remark else ''}"
            for text, reply in reversed(firsts.items())
        ]
    modality = "must not" if proposal.level == strongest else "should not"
    out += ["}", "", f"rule {proposal.name} {write.prose(title)} at {proposal.level} {{"]
    out.append(f"  source {write.quoted('#' + (proposal.section.id or ''))}")
    out.append(f"  {modality} express {concept}")
    for reply in sorted([*proposal.good, *proposal.bad], key=lambda reply: reply.message.line):
        out += _example(reply)
    return [*out, "}"]


def _example(reply: Reply) -> list[str]:
    steps = [step for message in reply.context for step in _steps(message) or []]
    verdict = "violates" if reply.mark == "BAD" else "complies"
    said = f"    assistant {write.quoted(reply.message.text)}"
    return [f"  {verdict} {{", *(f"    {step}" for step in steps), said, "  }"]


def _steps(message: Message) -> list[str] | None:
    """A message as a line of a conversation; None where it calls a tool in a way that cannot be written."""
    recipient = message.attribute("recipient")
    if message.role == "tool":
        return [
            f"tool {write.identifier(message.attribute('name') or '', 'tool')} returns {write.quoted(message.text)}"
        ]
    if recipient is None:
        return [f"{message.role} {write.quoted(message.text)}"]
    try:
        arguments = json.loads(message.text)
    except ValueError:
        return None
    if not isinstance(arguments, dict) or not all(isinstance(value, str) for value in arguments.values()):
        return None
    if any(write.identifier(name, "x") != name for name in arguments):
        return None
    said = ", ".join(f"{name}: {write.quoted(value)}" for name, value in arguments.items())
    return [f"assistant calls {write.policy_name(recipient)}({said})"]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


IMPORTER = Importer(
    summary="a specification in Markdown: headings with {#anchor authority=level} and marked example conversations",
    suffix=".bylaw.md",
    read=read,
)
