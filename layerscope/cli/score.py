"""`layerscope score`: the scores of a file of answers, with their intervals."""

from __future__ import annotations

from pathlib import Path

import click

from layerscope.cli.verb import verb


@verb(
    "score",
    "layerscope score traces/RUN/predictions.csv --normalisation vqa",
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--normalisation",
    help="none, lower-punct or vqa: the form in which words are compared. Default: none.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the scores for programs instead.")
def command(file: Path, normalisation: str | None, as_json: bool) -> None:
    """Score the answers in FILE: word error rates and accuracies, each with its 95 % interval.

    FILE is CSV, JSON lines or a JSON list; each row has prediction and references (a JSON list of
    texts, texts parted by |, or one text). predictions.csv of a run is such a file, and a run folder
    stands for its own. Accuracies are those of the VQA evaluation and of TextVQA (samples with ten
    references) and of ScienceQA (one letter as the only reference of every row, or a column
    letter_reference). No model, no torch.
    """
    from rich.console import Console

    from layerscope.report.scores import render_scores, scores_json, scores_of
    from layerscope.run.answers_file import read_answers
    from layerscope.scores.normalisation import DEFAULT, NORMALISATIONS
    from layerscope.scores.wer import score

    asked = normalisation or DEFAULT
    answers = read_answers(file)
    quality = score(answers, normalisation=asked)
    others = {n: score(answers, normalisation=n) for n in NORMALISATIONS if n != asked}
    scores = scores_of(quality, others)
    if as_json:
        click.echo(scores_json(quality, scores, str(file)))
    else:
        render_scores(quality, scores, str(file), Console())
