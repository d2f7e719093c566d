"""`SentRun`: all that a report of one run is made from, the HTML page as well as the Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from layerscope.joules.layer_energy import LayerEnergy
from layerscope.records import Account, CountedWork, RunRecord
from layerscope.records.finding import Finding, NotJudged, narrowest
from layerscope.report.use import Use, use_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """One figure of a run: its role ("phases", "window", …) and the text of its SVG file."""

    role: str
    svg: str


@dataclass(frozen=True, kw_only=True)
class SentRun:
    """One run as its folder holds it. What is None, or missing, has its reason in `absent`.

    Attributes:
        account: None when nothing was traced.
        findings: None when nothing was judged; empty when nothing was found.
        failures: rules of the account that do not hold, in words; empty when it adds up.
        layer_energy: of replayed layers; None where nobody asked for it.
        verified: whether the folder is as it was written, in a line; "" where nobody looked.
        absent: what the report would show and does not -> why.
    """

    record: RunRecord
    account: Account | None
    work: CountedWork | None
    findings: tuple[Finding, ...] | None
    not_judged: tuple[NotJudged, ...] = ()
    pictures: tuple[Picture, ...] = ()
    failures: tuple[str, ...] = ()
    absent: tuple[tuple[str, str], ...] = ()
    layer_energy: LayerEnergy | None = None
    verified: str = ""

    @property
    def use(self) -> Use | None:
        """How much of the device each phase used; None without counted work or ceilings."""
        if self.account is None or self.work is None:
            return None
        return use_of(self.account, self.work, self.record)

    @property
    def heading(self) -> str:
        """The run in a few words: model, batch, image size; a capture's model alone."""
        config = self.record.config
        model = Path(self.record.model.name).name or self.record.model.name
        if config is None:
            return f"{model}, captured"
        return f"{model}, batch {config.batch_size}, {config.size_words}"

    def places_of(self, finding: Finding) -> str:
        """All places with rows that a finding rests on, as JSON; "" without any."""
        if self.account is None:
            return ""
        places = [asdict(place) for place in narrowest(finding.rests_on)]
        return json.dumps(places) if places else ""

    def warnings(self) -> Iterator[str]:
        """What the record and the account warn of, each once."""
        of_table = self.account.table.warnings if self.account else ()
        yield from dict.fromkeys((*self.record.warnings, *of_table))
