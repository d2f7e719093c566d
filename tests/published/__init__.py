"""What README.md and docs/results state, each figure with the committed data it is made of.

To add a page: write a module here with a function decorated by `@page("docs/results/…/README.md")`
and import it in `all_pages.py`. Inside it:

- `p.says(form, *values)`: `form.format(*values)` stands on the page. Values come from files beside
  it (`data.py` has readers). Format specs round: `p.says("| latency | {:.3f} s |", run.latency_s)`.
- `p.rows(form, rows)`: the same for each row of a table.
- `p.given(text, …)`: configuration, dates and quotations: figures that nothing here measured.

The test fails where a claim does not stand on its page, and where a figure of the page (a decimal
number, one with a unit, any number in a table) is covered by no claim.
"""
