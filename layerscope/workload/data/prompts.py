"""Prompt templates: a question and what belongs to it go in, the text the model reads comes out.

The templates are those of arXiv 2305.06500 (appendix on instructions for zero-shot inference):
TextVQA "OCR tokens: {}. Question: {} Short answer:", here in the form without OCR tokens, because
the model alone is measured; ScienceQA "Context: {} Question: {} Options: {}. Answer:", the options as
"(a) … (b) …"; captions "A short image description:", which the paper uses for NoCaps and Flickr30k. A
ScienceQA row without a hint loses the words "Context: {}".
"""

from __future__ import annotations

from collections.abc import Sequence

CAPTION = "A short image description:"
SHORT_ANSWER = "Question: {question} Short answer:"
OPTIONS = "Context: {context} Question: {question} Options: {options}. Answer:"
OPTIONS_ONLY = "Question: {question} Options: {options}. Answer:"

DESCRIBE = "Describe this image."  # of the user's own images, which come without a question

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def short_answer(question: str) -> str:
    """The TextVQA prompt."""
    return SHORT_ANSWER.format(question=question)


def lettered(question: str, choices: Sequence[str], context: str = "") -> str:
    """The ScienceQA prompt; without a context the template's first part is left out."""
    options = " ".join(f"({LETTERS[i]}) {choice}" for i, choice in enumerate(choices))
    if not context:
        return OPTIONS_ONLY.format(question=question, options=options)
    return OPTIONS.format(context=context, question=question, options=options)
