"""Files of labels: every form that is read, and one clear message for each that cannot be."""

import json
from pathlib import Path

import pytest

from bylaw.runtime.audit.inputs import Limits, TranscriptError
from bylaw.runtime.concepts.label_tables import ACCEPTED
from bylaw.runtime.concepts.labels import LabelledText, joined, own_labels, read_labels
from bylaw.spec.expression import Concept

DATA = Path(__file__).parents[2] / "shared" / "data"
RUDE = Concept("rude", "Insults the reader.", like=("You fool.",), unlike=("Good morning.",))
HARM = Concept("std.safety.harm", "Helps to hurt somebody.")
NAMES = (RUDE.name, HARM.name)


def written(folder: Path, *lines: object, name: str = "labels.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines), "utf-8")
    return path


def said(*texts: str) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[number % 2], "content": text} for number, text in enumerate(texts)]


@pytest.mark.parametrize("key", ["text", "response", "completion"])
@pytest.mark.parametrize("labels", ["labels", "propositions"])
def test_a_line_is_a_text_with_labels(tmp_path: Path, key: str, labels: str) -> None:
    line = {"prompt": "Where is it?", key: "Find it yourself.", labels: {"rude": True, "harm": False, "kind": True}}
    found = read_labels(written(tmp_path, line), NAMES)
    (rude,), (harm,) = found.texts["rude"], found.texts["std.safety.harm"]
    assert (rude.text, rude.expresses, rude.prompt) == ("Find it yourself.", True, "Where is it?")
    assert (harm.text, harm.expresses, harm.place) == ("Find it yourself.", False, "labels.jsonl:1")
    assert rude.group == harm.group != ""
    assert found.warnings == ("labels.jsonl: no concept is called `kind`; left aside",)


def test_the_last_message_of_a_conversation_is_labelled_and_the_first_says_its_group(tmp_path: Path) -> None:
    lines = [
        {"messages": said("Hello", "Good day.", "Where is it?", "Over there."), "labels": {"rude": False}},
        {
            "prompt": said("Hello", "Good day.", "And now?"),
            "text": said("", "Look, fool.")[1:],
            "labels": {"rude": True},
        },
        {"text": "You again?", "labels": {"rude": True}},
        {"text": "On its own.", "labels": {"rude": False}},
        {"text": "Given.", "group": 7, "prompt": "Hello", "labels": {"rude": 1}},
    ]
    found = read_labels(written(tmp_path, *lines), NAMES).texts["rude"]
    assert [each.text for each in found] == ["Over there.", "Look, fool.", "You again?", "On its own.", "Given."]
    assert [each.prompt for each in found] == ["Where is it?", "And now?", "", "", "Hello"]
    assert [each.expresses for each in found] == [False, True, True, False, True]
    groups = [each.group for each in found]
    assert groups[0] == groups[1] != ""
    assert groups[2:] == ["", "", "group 7"]


def test_a_table_has_a_column_for_each_concept(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "text,prompt,group,rude,harm,id",
        '"You, fool.",Hello,,yes,FALSE,1',
        "Good day.,Hello,,0,,2",
        "Sure.,,g,1,no,3",
        "Odd.,,,perhaps,,4",
        "Short.,,",
        name="labels.csv",
    )
    found = read_labels(path, NAMES)
    assert [(each.text, each.expresses) for each in found.texts["rude"]] == [
        ("You, fool.", True), ("Good day.", False), ("Sure.", True)
    ]  # fmt: skip
    assert [(each.text, each.expresses) for each in found.texts["std.safety.harm"]] == [
        ("You, fool.", False), ("Sure.", False)
    ]  # fmt: skip
    assert found.texts["rude"][0].group == found.texts["rude"][1].group != found.texts["rude"][2].group
    assert [(problem.line, problem.message) for problem in found.problems] == [
        (5, f"the label `rude` is neither true nor false: {ACCEPTED}"),
        (6, "the row has 3 fields where there are 6 columns"),
    ]


def test_each_line_that_cannot_be_read_is_named_and_the_rest_is_read(tmp_path: Path) -> None:
    wrong = {
        "not json": "the line is not JSON: expecting value at column 1",
        "[1]": "the line is not a JSON object",
        '{"text": "a"}': "it has no `labels`",
        '{"text": "a", "label": {}}': "it has no `labels`, but `label`; did you mean `labels`?",
        '{"txt": "a", "labels": {}}': "it has no `text` and no `messages`, but `txt`; did you mean `text`?",
        '{"txt": "a"}': "it has no `labels`; it has no `text` and no `messages`, but `txt`; did you mean `text`?",
        '{"messages": [{"role": "user", "content": "Where?"}], "labels": {"rude": true}}': "the conversation has no "
        "answer: its last message is of `user`",
        '{"text": "a", "labels": {}, "propositions": {}}': "it has both `labels` and `propositions`",
        '{"text": "a", "labels": []}': '`labels` are not an object such as {"CONCEPT": true}',
        '{"labels": {"rude": true}}': "it has no `text` and no `messages`",
        '{"text": "a", "response": "b", "labels": {}}': "it has both `text` and `response`; a line is about one text",
        '{"text": 3, "labels": {"rude": true}}': "`text` is neither a text nor a list of messages",
        '{"text": "a", "prompt": 3, "labels": {}}': "`prompt` is neither a text nor a list of messages",
        '{"messages": [], "labels": {}}': "`messages`: `messages` is not a list of messages, or it is empty",
        '{"text": "a", "labels": {"rude": 0.5}}': f"the label `rude` is neither true nor false: {ACCEPTED}",
        '{"text": "a", "labels": {"rude": "yes"}}': f"the label `rude` is neither true nor false: {ACCEPTED}",
        '{"text": "a", "labels": {"harm": true, "std.safety.harm": false}}': "`std.safety.harm` is labelled twice, "
        "under two names",
        '{"text": "a", "group": [1], "labels": {}}': "`group` is neither a text nor a number",
        '{"text": "\\ud800", "labels": {}}': "`text` holds half a surrogate pair, which is no character",
    }
    path = written(tmp_path, *wrong, {"text": "Fool.", "labels": {"rude": True, "harm": None}})
    found = read_labels(path, NAMES)
    assert [problem.message for problem in found.problems] == list(wrong.values())
    assert [problem.line for problem in found.problems] == list(range(1, len(wrong) + 1))
    assert {name: len(texts) for name, texts in found.texts.items()} == {"rude": 1}


def test_problems_beyond_the_limit_are_counted(tmp_path: Path) -> None:
    path = written(tmp_path, *["no"] * 5, {"text": "Fool.", "labels": {"rude": True}})
    found = read_labels(path, NAMES, limits=Limits(problems=2))
    assert [problem.message for problem in found.problems[2:]] == ["3 more parts up to this line could not be read"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", "", "there is no labelled text to read in .*: it is empty"),
        ("a.jsonl", "no\n", "there is no labelled text to read in .*: line 1: the line is not JSON"),
        ("a.txt", "", "has an unknown ending; this reads `.jsonl`, `.ndjson`, `.csv`"),
        ("a.jsonl", '{"text": "a", "labels": {"rud": true}}\n', "says nothing of `rude`.*did you mean `rude`?"),
        ("a.jsonl", '{"text": "a", "labels": {}}\n', "says nothing of `rude`.*it has no labels"),
        ("a.csv", "texts,rude\na,1\n", "has no column `text`; its columns are `texts`, `rude`; did you mean `text`?"),
        ("a.csv", "text,response,rude\na,b,1\n", "has both a column `text` and a column `response`"),
        ("a.csv", "text,rude,rude\na,1,1\n", "has more than one column called `rude`"),
        ("a.csv", '"text\n', "does not start with column names: a quoted field starts"),
    ],
)
def test_a_file_that_is_of_no_use_is_one_message(tmp_path: Path, name: str, content: str, message: str) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    with pytest.raises(TranscriptError, match=message):
        read_labels(path, NAMES)


def test_a_file_that_is_not_there_or_too_large_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(TranscriptError, match="there is no file"):
        read_labels(tmp_path / "none.jsonl", NAMES)
    path = written(tmp_path, *[{"text": "Fool.", "labels": {"rude": True}}] * 9)
    with pytest.raises(TranscriptError, match="larger than 100 bytes"):
        read_labels(path, NAMES, limits=Limits(file_bytes=100))
    with pytest.raises(TranscriptError, match="the line is longer than 9 bytes"):
        read_labels(path, NAMES, limits=Limits(line_bytes=9))


def test_a_name_that_is_near_to_a_concept_is_told_apart_from_others(tmp_path: Path) -> None:
    line = {"text": "a", "labels": {"rude": True, "rudee": True, "weather": False, "colour": False}}
    assert read_labels(written(tmp_path, line), NAMES).warnings == (
        "labels.jsonl:1: no concept is called `rudee`; did you mean `rude`?",
        "labels.jsonl: no concept is called `weather`, `colour`; left aside",
    )


def test_a_short_name_that_two_concepts_have_means_neither(tmp_path: Path) -> None:
    path = written(tmp_path, {"text": "a", "labels": {"harm": True, "one.harm": False}})
    found = read_labels(path, ("one.harm", "two.harm"))
    assert {name: [each.expresses for each in texts] for name, texts in found.texts.items()} == {"one.harm": [False]}


def test_a_text_counts_once_and_not_at_all_when_it_is_labelled_both_ways(tmp_path: Path) -> None:
    first = written(
        tmp_path,
        {"text": "Fool.", "labels": {"rude": True}},
        {"text": " Fool. ", "labels": {"rude": True}},
        {"text": "Well.", "labels": {"rude": True}},
        {"text": "Well.", "prompt": "Is it well?", "labels": {"rude": False}},
        {"text": "Hm.", "labels": {"rude": True}},
        {"text": "You fool.", "labels": {"rude": True}},
        {"text": "Good morning.", "labels": {"rude": True}},
    )
    second = written(tmp_path, {"text": "Hm.", "labels": {"rude": False}}, name="more.jsonl")
    texts, warnings = joined([RUDE, HARM], [read_labels(path, NAMES) for path in (first, second)])
    assert [(each.text, each.prompt) for each in texts["rude"]] == [
        ("Fool.", ""), ("Well.", ""), ("Well.", "Is it well?")
    ]  # fmt: skip
    assert texts["std.safety.harm"] == ()
    again = "2 labelled texts repeat an earlier one or an example of the policy; each text counts once: "
    assert warnings == [
        "1 text is labelled both ways for `rude` and left out: labels.jsonl:5 and more.jsonl:1",
        "1 text is labelled otherwise than an example of `rude`, which counts: labels.jsonl:7",
        again + "labels.jsonl:2; labels.jsonl:6",
    ]


def test_empty_texts_that_are_labelled_are_told_and_counted(tmp_path: Path) -> None:
    lines = [{"text": text, "labels": {"rude": False}} for text in ("", " ", "Sure.")]
    found = read_labels(written(tmp_path, *lines, {"text": "", "labels": {}}), NAMES)
    assert [each.text for each in found.texts["rude"]] == ["", " ", "Sure."]
    assert found.warnings == ("labels.jsonl: 2 labelled texts are empty (models give empty answers, so they count)",)


def test_examples_of_a_policy_are_labels() -> None:
    assert own_labels(RUDE) == (
        LabelledText("You fool.", True, place="`like` of rude"),
        LabelledText("Good morning.", False, place="`unlike` of rude"),
    )


@pytest.mark.skipif(not DATA.is_dir(), reason="the public data lies in shared/data beside the checkout")
def test_the_gold_labels_of_rule_based_rewards_are_read() -> None:
    names = ("apology", "judgement", "third_person")
    found = read_labels(DATA / "openai_rbr" / "train.jsonl", names)
    assert {name: len(texts) for name, texts in found.texts.items()} == dict.fromkeys(names, 351)
    assert (found.problems, sum(not each.text for each in found.texts["apology"])) == ((), 7)
    assert len({each.group for each in found.texts["apology"]}) == 348
