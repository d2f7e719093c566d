"""`--prompt`: the published models' prompts reach the model, part by part."""

from __future__ import annotations

import pytest

from layerscope.core.errors import UsageError
from layerscope.records import RunConfig
from layerscope.workload.data import open_samples


def config(dataset: str, prompt: str | None = None) -> RunConfig:
    return RunConfig(
        model="tiny", device="cpu", dtype="fp32", dataset=dataset, prompt=prompt, batch_size=1
    )


def first(dataset: str, prompt: str | None = None) -> str:
    return next(iter(open_samples(config(dataset, prompt)).samples(1))).prompt


def test_lavis_s_caption_prompt_replaces_ours() -> None:
    assert first("synthetic-coco") == "A short image description:"
    assert first("synthetic-coco", "A short image caption.") == "A short image caption."
    source = open_samples(config("synthetic-coco", "A short image caption."))
    assert source.prompt == "A short image caption."
    assert source.synthetic
    assert not source.skipped


def test_a_question_is_put_into_the_template() -> None:
    own = first("synthetic-textvqa")
    question = own.removeprefix("Question: ").removesuffix(" Short answer:")
    assert first("synthetic-textvqa", "Q {question} {{A}}") == f"Q {question} {{A}}"


def test_options_and_context_are_put_into_the_template() -> None:
    own = first("synthetic-scienceqa")
    said = first("synthetic-scienceqa", "{context}|{question}|{options}")
    context, question, options = said.split("|")
    assert own == f"Context: {context} Question: {question} Options: {options}. Answer:"
    assert options.startswith("(a) ")


@pytest.mark.parametrize(
    ("dataset", "template"),
    [
        ("synthetic-coco", "Question: {question}"),
        ("synthetic-textvqa", "{ocr_tokens} {question}"),
        ("synthetic-textvqa", "{question"),
        ("synthetic-textvqa", "{}"),
        ("synthetic-textvqa", "{question.x}"),
        ("synthetic-textvqa", " "),
        ("synthetic-random", "hello"),
    ],
)
def test_a_template_that_cannot_be_filled_is_refused(dataset: str, template: str) -> None:
    with pytest.raises(UsageError, match="--prompt"):
        open_samples(config(dataset, template))
