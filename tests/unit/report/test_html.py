"""The report as one page: it holds everything, fetches nothing and shows every name literally."""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerscope.records import LayerTable, RunRecord
from layerscope.records.finding import Finding, NotJudged, RestsOn, Saving
from layerscope.records.tables import Account
from layerscope.report.html import Picture, SentRun, report_html
from layerscope.report.html.headline import headlines
from layerscope.report.html.page_rows import json_in_html, rows_json
from layerscope.report.html.pictures import read_pictures
from layerscope.report.html.shares import groups, kinds, phases

EVIL = "<script>alert(1)</script>"
SVG = '<?xml version="1.0"?>\n<!DOCTYPE svg PUBLIC "a" "http://www.w3.org/x">\n<svg><g/></svg>'
FINDING = Finding(
    id="a",
    sentence=f"decode {EVIL} is slow.",
    rests_on=(RestsOn(source="run.json"), RestsOn(layer='a"b', phase="decode")),
    try_next="--batch 32",
    saving=Saving(saved_ns=250_000_000, whole_ns=1_000_000_000, of="latency", basis="the gaps"),
)
# Attributes through which a page can fetch, and elements that exist to.
FETCHING = {"src", "href", "xlink:href", "action", "formaction", "srcset", "data", "poster", "ping"}
OUTSIDE = {"link", "iframe", "object", "embed", "base"}


class Parsed(HTMLParser):
    """Every start tag with its attributes, and the text inside each script, style and heading."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag in ("script", "style", "h1", "li", "title"):
            self._open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        if self._open and self._open[-1] == tag:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        if self._open:
            self.texts[self._open[-1]][-1] += data

    def addresses(self) -> Iterator[str]:
        for _, attributes in self.tags:
            yield from (value for name, value in attributes.items() if name in FETCHING)


@pytest.fixture
def sent(gpu_record: RunRecord, gpu_account: Account) -> SentRun:
    return SentRun(
        record=gpu_record,
        account=gpu_account,
        work=None,
        findings=(FINDING,),
        not_judged=(NotJudged(rule="recompiles", reason="not counted"),),
        pictures=(Picture(role="phases", svg="<svg><g/></svg>"),),
        absent=(("figure window", "not drawn"),),
    )


def named(sent: SentRun, name: str) -> SentRun:
    """The run with this name wherever a model, a data set or a module can bring one."""
    assert sent.account is not None
    table = sent.account.table
    rows = tuple(
        replace(row, layer=row.layer.replace("vision_model", name), module=name, dtype=name)
        if not row.is_bucket
        else row
        for row in table.rows
    )
    record = sent.record
    return replace(
        sent,
        account=replace(sent.account, table=replace(table, rows=rows, notes=(name,))),
        record=replace(
            record,
            name=name,
            model=replace(record.model, name=name, weights=name),
            workload=replace(record.workload, dataset=name, source=name),
            environment=replace(record.environment, gpu_name=name, packages={name: name}),
            warnings=(name,),
        ),
    )


def test_the_page_fetches_nothing(sent: SentRun) -> None:
    page = report_html(sent)
    parsed = Parsed(page)
    assert [a for a in parsed.addresses() if not a.startswith("data:image/svg+xml;base64,")] == []
    assert not OUTSIDE & {tag for tag, _ in parsed.tags}
    style = "".join(parsed.texts["style"])
    assert "url(" not in style
    assert "@import" not in style
    script = parsed.texts["script"][-1]
    assert not re.search(
        r"fetch\(|XMLHttpRequest|WebSocket|import\(|^import ", script, re.MULTILINE
    )
    assert "http://" not in page
    assert "https://" not in page


def test_the_policy_allows_this_style_and_this_script_alone(sent: SentRun) -> None:
    page = report_html(sent)
    parsed = Parsed(page)
    policy = next(a["content"] for t, a in parsed.tags if a.get("http-equiv"))
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert "unsafe" not in policy
    for rule, text in (
        ("style-src", parsed.texts["style"][0]),
        ("script-src", parsed.texts["script"][-1]),
    ):
        digest = b64encode(sha256(text.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
    # Style attributes and handlers would be refused by that policy: there are none.
    names = {name for _, attributes in parsed.tags for name in attributes}
    assert not {name for name in names if name == "style" or name.startswith("on")}


def test_every_name_is_shown_literally(sent: SentRun) -> None:
    page = report_html(named(sent, EVIL))
    parsed = Parsed(page)
    assert EVIL not in page
    # The rows and the module, and no third script.
    assert [a.get("type") for t, a in parsed.tags if t == "script"] == [
        "application/json",
        "module",
    ]
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    rows = json.loads(parsed.texts["script"][0])
    assert EVIL in rows["texts"]["module"]
    assert EVIL in parsed.texts["li"][0]


def test_a_quote_cannot_leave_an_attribute(sent: SentRun) -> None:
    parsed = Parsed(report_html(sent))
    shown = [a for t, a in parsed.tags if t == "button" and a.get("class") == "show"]
    places = [json.loads(a["data-places"] or "") for a in shown]
    assert [[(p["layer"], p["phase"]) for p in one] for one in places] == [[('a"b', "decode")]]


@given(st.text() | st.sampled_from(["</script>", "<!--", "\u2028", "]]>"]))
def test_json_in_html_is_the_value_and_no_markup(text: str) -> None:
    held = json_in_html({text: [text, 1]})
    assert json.loads(held) == {text: [text, 1]}
    assert not set(held) & set("<>&\u2028\u2029")


def test_the_rows_sum_to_the_whole_exactly(gpu_table: LayerTable) -> None:
    held = json.loads(rows_json(gpu_table))
    at = held["columns"].index("gpu_self_ns")
    (table,) = held["tables"]
    assert sum(row[at] for row in table["rows"]) == 210_096_345
    assert all(len(row) == len(held["columns"]) for row in table["rows"])
    assert table["device"] is True
    # Nothing was counted in this table: no column claims zeros.
    assert not {"flops_self", "bytes_self", "energy_j"} & set(held["columns"])
    phase = held["columns"].index("phase")
    assert held["texts"]["phase"][table["rows"][3][phase]] == "decode"


def test_the_numbers_of_the_run_are_on_the_page(sent: SentRun) -> None:
    page = report_html(sent)
    for text in (
        "210,096.345",  # the device sum
        "33,881",  # device events
        "0.5 s per sample",  # 1.0 s per batch of 2
        "no NVML device",  # why there is no energy
        "the weights are not trained",  # why there is no WER
        "could save about 250.000 ms (25.0 % of latency)",
        "recompiles (not counted)",
        "1.50 times as long",  # 1.5 s profiled, 1.0 s not
        "3 mis-ended spans were clamped",
        "Example GPU",
        "figure window",
    ):
        assert text in page, text


def test_the_same_run_gives_the_same_page(sent: SentRun) -> None:
    assert report_html(sent) == report_html(sent)


def test_a_run_without_a_trace_says_so(sent: SentRun) -> None:
    page = report_html(
        replace(sent, account=None, findings=None, absent=(("account", "the run was not traced"),))
    )
    assert "the run was not traced" in page
    assert "Not judged: no account of the run" in page
    assert "<script" not in page
    assert "script-src &#39;none&#39;" in page


def test_a_failed_account_is_at_the_top(sent: SentRun) -> None:
    page = report_html(replace(sent, failures=("device time: rows minus trace = 3 ns",)))
    assert page.index("rows minus trace = 3 ns") < page.index("What ran, and where")


def test_shares_are_of_the_device_sum(gpu_table: LayerTable, gpu_account: Account) -> None:
    assert phases(gpu_table).shares == (
        pytest.approx(15_514_679 / 210_096_345),
        pytest.approx(194_581_666 / 210_096_345),
    )
    assert sum(share or 0 for share in groups(gpu_table).shares) == pytest.approx(1)
    held = kinds(gpu_account)
    assert held is not None
    assert [row[0] for row in held.grid.rows][:2] == ["language_model", "vision_model"]
    assert held.grid.footer is not None
    assert held.grid.footer[-3:] == ("0", "0.00 %", "")
    assert [row[-1] for row in held.grid.rows][-1] == "100.00 %"


def test_on_a_cpu_shares_are_of_the_window(cpu_table: LayerTable) -> None:
    shares = phases(cpu_table).shares
    assert shares[:2] == (pytest.approx(101 / 1015), pytest.approx(909 / 1015))
    assert shares[2] == pytest.approx(5 / 1015)  # the bucket outside the model


def test_a_headline_converts_only_what_its_unit_says(gpu_record: RunRecord) -> None:
    latency, energy, flops, wer = headlines(gpu_record)
    assert (latency.value, latency.of, latency.beside) == (
        "1 s",
        "per batch of 2",
        "0.5 s per sample",
    )
    assert (energy.value, energy.reason, energy.interval) == (None, "no NVML device", "")
    assert (flops.value, flops.beside) == ("2.5371 TFLOP", "1.2686 TFLOP per sample")
    assert wer.value is None
    report = replace(
        gpu_record.report, wer_value=replace(gpu_record.report.wer_value, value=0.25, reason=None)
    )
    wer = headlines(replace(gpu_record, report=report))[-1]
    assert (wer.value, wer.of, wer.beside) == ("0.25", "", "")


def test_only_figures_as_layerscope_draws_them_are_taken(tmp_path: Path) -> None:
    folder = tmp_path / "figures"
    folder.mkdir()
    (folder / "phases.svg").write_text(SVG)
    (folder / "window.svg").write_text("<svg><script>alert(1)</script></svg>")
    (folder / "roofline.svg").write_text('<svg><use xlink:href="http://a/b"/></svg>')
    secret = tmp_path / "secret"
    secret.write_text(SVG)
    (folder / "top_layers.svg").symlink_to(secret)
    pictures, absent = read_pictures(tmp_path)
    assert [(item.role, item.svg) for item in pictures] == [("phases", "<svg><g/></svg>")]
    assert dict(absent) == {
        "figure window": "figures/window.svg is not a figure as layerscope draws them",
        "figure roofline": "figures/roofline.svg is not a figure as layerscope draws them",
        "figure top_layers": "figures/top_layers.svg cannot be read (a link; "
        "files of a folder may not be links)",
    }
    assert len(read_pictures(tmp_path / "none")[1]) == 4


def test_a_picture_is_embedded_whole(sent: SentRun) -> None:
    image = next(a for t, a in Parsed(report_html(sent)).tags if t == "img")
    assert b64decode(image["src"].partition(",")[2]) == b"<svg><g/></svg>"
