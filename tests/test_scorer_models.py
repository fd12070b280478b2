"""Scorers that are networks: tiny ones, made here, against what the networks themselves say of one text at a time."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bylaw.runtime.concepts.labels import LabelledText
from bylaw.runtime.scorers import catalog
from bylaw.runtime.scorers.catalog import Making
from bylaw.runtime.scorers.interface import ConceptScorer, Question, Scored, ScorerError
from bylaw.spec.expression import Concept

torch = pytest.importorskip("torch", reason="networks need the extra `models`")
transformers = pytest.importorskip("transformers")

SENTENCE = "the shop ship harbour sends takes your my parcel fault late soon is was and not sorry you must read manual"
WORDS = SENTENCE.split()
BLAME = ("you must read the manual", "your fault and not my fault", "your parcel is late and your fault")
KIND = ("the shop sends the parcel soon", "sorry the parcel was late", "the harbour takes the ship soon")
WINDOW = 16


def labels(count: int) -> tuple[LabelledText, ...]:
    """`count` texts of each kind."""
    made = (
        (f"{texts[n % 3]} {WORDS[n % 20]} {WORDS[(n * 7) % 20]}", texts is BLAME)
        for n in range(count)
        for texts in (BLAME, KIND)
    )
    return tuple(
        LabelledText(text, expresses, place=f"labels.jsonl:{n}") for n, (text, expresses) in enumerate(made, 1)
    )


def save(folder: Path, kind: Any, configuration: Any = None, **configured: Any) -> Path:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    torch.manual_seed(3)
    vocabulary = {word: number for number, word in enumerate(("[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS))}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    marks = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=raw, model_max_length=WINDOW, **marks)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    usual = {"max_position_embeddings": WINDOW, "initializer_range": 0.3, **sizes}
    config = (configuration or transformers.BertConfig)(vocab_size=len(vocabulary), **{**usual, **configured})
    network = kind(config).eval()
    network.save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
    return folder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("models") / "encoder", transformers.BertModel)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    names = {0: "kind", 1: "Blames-User", 2: "other"}
    return save(
        tmp_path_factory.mktemp("models") / "classifier", transformers.BertForSequenceClassification, id2label=names
    )


def concept(scorer: str, argument: str | None, name: str = "desk.blames_user") -> Concept:
    like, unlike = ("your fault you must read the manual",), ("sorry the shop is late",)
    return Concept(name, "Blames the reader.", like=like, unlike=unlike, scorer=scorer, scorer_argument=argument)


def made(each: Concept, count: int = 0, base: Path = Path(), **options: Any) -> ConceptScorer:
    assert each.scorer is not None
    making = Making({each.name: labels(count)}, base, **options)
    return catalog.kind(each.scorer).make((each,), making)[each.name]


def ask(scorer: ConceptScorer, *texts: str) -> list[Scored]:
    counted: list[int] = []
    found = list(scorer.score([Question(concept("", None), text) for text in texts], counted.append))
    assert sum(counted) == len(texts)
    return found


# ------------------------------------------------------------------------------------------------------- embeddings
def test_an_embedding_is_the_mean_over_all_tokens_whatever_else_is_in_the_batch(encoder: Path) -> None:
    from bylaw.runtime.scorers._transformer import Reference, load
    from bylaw.runtime.scorers.embeddings import embed

    network = load(Reference.read(str(encoder), "embeddings", "c"), "encoder", Path())
    texts = ["", "sorry", "you must read the manual", *(" ".join(WORDS[:n]) for n in (13, 14))]
    found, is_read = embed(network, texts)
    assert is_read == [True] * len(texts)
    for text, embedding in zip(texts, found, strict=True):
        with torch.inference_mode():
            states = network.module(**network.tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(dim=0)
        assert embedding == pytest.approx((states / states.norm()).numpy(), abs=1e-5)
    # A text of two windows: the mean over the tokens of both.
    long = " ".join(WORDS[:20])
    parts = [network.tokenizer(part, return_tensors="pt") for part in (" ".join(WORDS[:14]), " ".join(WORDS[14:20]))]
    with torch.inference_mode():
        total = sum(network.module(**part).last_hidden_state[0].sum(dim=0) for part in parts)
    assert embed(network, [long])[0][0] == pytest.approx((total / total.norm()).numpy(), abs=1e-5)


def test_embeddings_learn_a_concept_from_labels_and_say_how_well(encoder: Path) -> None:
    scorer = made(concept("embeddings", str(encoder)), 20)
    calibration = scorer.calibrations["desk.blames_user"]  # type: ignore[attr-defined]
    assert (calibration.positives, calibration.negatives) == (21, 21)
    assert calibration.auc.low > 0.8
    fresh = labels(40)[40:]
    answers = ask(scorer, *(each.text for each in fresh))
    decided = [
        (each.expresses, answer) for each, answer in zip(fresh, answers, strict=True) if answer.score is not None
    ]
    assert len(decided) >= 25
    # Sets that miss a tenth of each class, and a few texts: deterministic, 4 wrong of 40 would still be expected.
    assert sum((answer.low > 0.5) != expresses for expresses, answer in decided) <= 4
    assert {answer.why for answer in answers if answer.score is None} <= {"cannot_tell"}
    assert answers[0].record["model"] == "encoder"
    assert answers[0].cost.seconds > 0


def test_scores_of_embeddings_without_enough_labels_count_only_when_asked_for(encoder: Path) -> None:
    few = concept("embeddings", str(encoder))
    (answer,) = ask(made(few, 3), "you must read")
    assert (answer.score, answer.why) == (None, "uncalibrated")
    assert "has 4 examples that do and 4 that do not; 9 of each are needed" in answer.reason
    (answer,) = ask(made(few, 3, is_rough_allowed=True), "you must read")
    assert (answer.low, answer.high, answer.record["rough"]) == (0.0, 1.0, True)
    # One example of each kind: nothing can be held back, so not even a rough score.
    (answer,) = ask(made(few, 0, is_rough_allowed=True), "you must read")
    assert (answer.score, answer.why) == (None, "uncalibrated")


def test_two_concepts_share_a_network_and_keep_their_own_examples(encoder: Path) -> None:
    first, second = concept("embeddings", str(encoder)), concept("embeddings", str(encoder), "opposite")
    turned = tuple(LabelledText(each.text, not each.expresses) for each in labels(20))
    making = Making({first.name: labels(20), "opposite": turned})
    second = Concept("opposite", "Does not.", scorer="embeddings", scorer_argument=str(encoder))
    found = catalog.kind("embeddings").make((first, second), making)
    (one,), (other,) = (ask(found[name], BLAME[0]) for name in (first.name, "opposite"))
    assert one.score is not None
    assert other.score is not None
    assert other.score < 0.5 < one.score


def test_a_text_beyond_the_most_windows_is_unscored(encoder: Path, classifier: Path) -> None:
    for each in (concept("embeddings", str(encoder)), concept("classifier", str(classifier))):
        fine, endless = ask(made(each, 20), "you must read", "sorry " * 64 * WINDOW)
        assert (endless.score, endless.why) == (None, "input")
        assert "longer than 64 windows of 16 tokens" in endless.reason
        assert fine.why in (None, "cannot_tell")


# ------------------------------------------------------------------------------------------------------ classifiers
def reference_odds(folder: Path, text: str, label: int) -> float:
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder))
    network = transformers.AutoModelForSequenceClassification.from_pretrained(str(folder)).eval()
    with torch.inference_mode():
        p = network(**tokenizer(text, return_tensors="pt")).logits[0].double().softmax(dim=0)[label]
    return float(torch.log(p) - torch.log1p(-p))


def test_the_raw_score_is_the_log_odds_of_the_label_that_is_called_like_the_concept(classifier: Path) -> None:
    texts = ["sorry", BLAME[0], KIND[2], " ".join(WORDS[:14])]
    own = ask(made(concept("classifier", str(classifier)), is_rough_allowed=True), *texts)
    named = ask(made(concept("classifier", f"{classifier}#kind", "c"), is_rough_allowed=True), *texts)
    for answers, label in ((own, 1), (named, 0)):
        for text, answer in zip(texts, answers, strict=True):
            assert answer.record["raw"] == pytest.approx(reference_odds(classifier, text, label), abs=1e-5)
            assert answer.record["label"] == label
    assert [answer.passages for answer in own] == [()] * 4


def test_of_a_long_text_the_window_with_the_highest_odds_counts_and_is_the_passage(classifier: Path) -> None:
    parts = [" ".join(WORDS[:14]), "your fault " * 7, "sorry soon"]
    text = " ".join(part.strip() for part in parts)
    odds = [reference_odds(classifier, part, 1) for part in parts]
    (answer,) = ask(made(concept("classifier", str(classifier)), is_rough_allowed=True), text)
    best = int(np.argmax(odds))
    assert answer.record["raw"] == pytest.approx(odds[best], abs=1e-5)
    ((start, end),) = answer.passages
    assert text[start:end] == parts[best].strip()


def test_a_window_that_gives_no_number_leaves_the_text_unscored(
    classifier: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever of its windows that is."""
    from bylaw.runtime.scorers import classifier as kind

    scorer = made(concept("classifier", str(classifier)), is_rough_allowed=True)
    whole = kind._odds
    text = " ".join(WORDS)
    for broken in range(2):

        def odds(logits: Any, label: int, config: Any, broken: int = broken) -> list[float]:
            return [math.nan if n == broken else value for n, value in enumerate(whole(logits, label, config))]

        with monkeypatch.context() as patch:
            patch.setattr(kind, "_odds", odds)
            (found,) = ask(scorer, text)
        assert (found.score, found.why) == (None, "input")
    (fine,) = ask(scorer, text)
    assert fine.score is not None


def test_labels_say_what_a_classifier_is_worth(classifier: Path) -> None:
    scorer = made(concept("classifier", str(classifier)), 20)
    calibration = scorer.calibrations["desk.blames_user"]  # type: ignore[attr-defined]
    raw = [reference_odds(classifier, each.text, 1) for each in labels(20)[:4]]
    assert (calibration.positives, calibration.negatives) == (21, 21)
    answers = ask(scorer, *(each.text for each in labels(20)[:4]))
    expected = calibration.score(raw)
    for answer, value, score in zip(answers, raw, expected, strict=True):
        assert answer.record["raw"] == pytest.approx(value, abs=1e-5)
        known = answer.score if answer.score is not None else answer.record.get("score", score)
        assert known == pytest.approx(score, abs=1e-5)


@pytest.mark.parametrize(("problem", "outputs"), [("multi_label_classification", 3), ("regression", 1)])
def test_labels_that_are_free_of_each_other_have_the_odds_of_their_own_logit(
    tmp_path: Path, problem: str, outputs: int
) -> None:
    names = {number: f"label {number}" for number in range(outputs)}
    folder = save(
        tmp_path / "free", transformers.BertForSequenceClassification, id2label=names, problem_type=problem
    )  # fmt: skip
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder))
    network = transformers.AutoModelForSequenceClassification.from_pretrained(str(folder)).eval()
    with torch.inference_mode():
        logit = float(network(**tokenizer(BLAME[0], return_tensors="pt")).logits[0][0])
    argument = str(folder) if outputs == 1 else f"{folder}#label 0"
    (answer,) = ask(made(concept("classifier", argument), is_rough_allowed=True), BLAME[0])
    assert answer.record["raw"] == pytest.approx(logit, abs=1e-5)
    assert answer.score == pytest.approx(1 / (1 + np.exp(-answer.record["raw"])), abs=0.5)


def test_networks_that_count_positions_or_find_the_end_of_a_text_in_other_ways(tmp_path: Path) -> None:
    """RoBERTa's positions begin after that of padding; a causal network judges by its last token."""
    names = {"id2label": {0: "kind", 1: "blames_user"}, "pad_token_id": 0}
    causal = {**names, "bos_token_id": 2, "eos_token_id": 3}
    llama = (transformers.LlamaForSequenceClassification, transformers.LlamaConfig)
    folders = (
        save(tmp_path / "1", transformers.RobertaForSequenceClassification, transformers.RobertaConfig, **names),
        save(tmp_path / "2", *llama, **causal),
        save(tmp_path / "3", *llama, **{**causal, "pad_token_id": None}),
    )
    texts = ["sorry", BLAME[0], " ".join(WORDS[:12])]
    for folder in folders:
        answers = ask(made(concept("classifier", str(folder)), is_rough_allowed=True), *texts, " ".join(WORDS * 3))
        for text, answer in zip(texts, answers, strict=False):
            assert answer.record["raw"] == pytest.approx(reference_odds(folder, text, 1), abs=1e-5)
        assert answers[3].passages


# ------------------------------------------------------------------------------------------------- what is refused
def test_a_pin_is_kept(encoder: Path, tmp_path: Path) -> None:
    from bylaw.runtime.scorers._transformer import digest

    pin = digest(encoder)
    folder = tmp_path / "copy"
    shutil.copytree(encoder, folder)
    first = made(concept("embeddings", f"copy#sha256={pin}"), 20, base=tmp_path)
    assert first.digest != made(concept("embeddings", "copy"), 20, base=tmp_path, alpha=0.2).digest
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"layer_norm_eps": 1e-3}), encoding="utf-8")
    with pytest.raises(ScorerError, match=f"is not what the policy names: its content is sha256={digest(folder)}"):
        made(concept("embeddings", f"copy#sha256={pin}"), 20, base=tmp_path)


def broken_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")


def pickled_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")


def half_the_weights(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    save_file(dict(list(weights.items())[:4]), folder / "model.safetensors", {"format": "pt"})


def no_number(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    save_file(
        {name: weight * float("nan") for name, weight in weights.items()},
        folder / "model.safetensors",
        {"format": "pt"},
    )


def foreign_code(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config", "AutoModel": "mine.Model"}}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "mine.py").write_text("raise AssertionError('was run')\n", encoding="utf-8")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (shutil.rmtree, "there is no model directory `.*model`, and no model of that name"),
        (pickled_weights, "holds no weights in safetensors files"),
        (broken_weights, "is not a usable encoder|lack .* tensors"),
        (half_the_weights, r"the weights in `model` lack \d+ tensors"),
        (no_number, "gives numbers that are not finite"),
        (foreign_code, "is not a usable encoder"),
        (lambda folder: (folder / "config.json").write_text("{"), "config.json of `model` is not valid JSON"),
        (lambda folder: (folder / "config.json").unlink(), "it has no config.json"),
        (lambda folder: (folder / "tokenizer.json").write_text("{}"), "is not a usable encoder|no tokenizer.json"),
    ],
)
def test_a_directory_that_cannot_be_used_is_one_message(
    encoder: Path, tmp_path: Path, damage: Callable[[Path], object], message: str
) -> None:
    shutil.copytree(encoder, tmp_path / "model")
    damage(tmp_path / "model")
    with pytest.raises(ScorerError, match=message) as caught:
        made(concept("embeddings", "model"), 12, base=tmp_path)
    assert "\n" not in str(caught.value)
    assert "was run" not in str(caught.value)


@pytest.mark.parametrize(
    ("scorer", "argument", "message"),
    [
        ("embeddings", None, 'needs a model: write `scored by embeddings "DIRECTORY"`'),
        ("classifier", "", 'needs a model: write `scored by classifier "DIRECTORY"`'),
        ("embeddings", "{encoder}#sha256=12", "`sha256=12` is no `sha256=` with 64 digits"),
        ("embeddings", "{encoder}#label", "embeddings have no label `label`"),
        ("classifier", "{encoder}", "holds a `BertModel`, which is not a classifier"),
        ("classifier", "{classifier}#rude", "has no label `rude`; its labels are `kind`, `Blames-User`, `other`"),
        ("classifier", "{classifier}#kind#other", "names more than one label"),
    ],
)
def test_an_argument_that_names_nothing_is_one_message(
    encoder: Path, classifier: Path, scorer: str, argument: str | None, message: str
) -> None:
    given = None if argument is None else argument.format(encoder=encoder, classifier=classifier)
    with pytest.raises(ScorerError, match=message):
        made(concept(scorer, given))


def test_a_concept_that_no_label_is_called_like_has_to_name_one(classifier: Path) -> None:
    with pytest.raises(ScorerError, match=r"no label called like `rudeness`.*Name one: `scored by classifier"):
        made(concept("classifier", str(classifier), "rudeness"))


def test_a_hub_id_means_what_was_fetched_before_and_has_to_be_pinned(
    encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    from bylaw.runtime.scorers._transformer import digest

    def fetched(place: str, *, allow_patterns: list[str], local_files_only: bool) -> str:
        assert (place, local_files_only, "*.bin" in allow_patterns) == ("somebody/encoder", True, False)
        return str(encoder)

    with monkeypatch.context() as patch:
        patch.setattr(huggingface_hub, "snapshot_download", fetched)
        with pytest.raises(
            ScorerError, match=f'name its content too: write `"somebody/encoder#sha256={digest(encoder)}"`'
        ):
            made(concept("embeddings", "somebody/encoder"), base=tmp_path)
        made(concept("embeddings", f"somebody/encoder#sha256={digest(encoder)}"), 12, base=tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    for place in ("somebody/encoder", "no such model", "../../etc"):
        with pytest.raises(ScorerError, match=r"no model directory .* fetched from the hub before"):
            made(concept("embeddings", place), base=tmp_path / "policies")
