"""The NVML energy counter against an independent integration of polled power, side by side.

A steady matmul runs for a window that starts and ends on the counter's own edges while another
process polls power. Printed: joules by counter, joules by trapezoid over the polled power, their
ratio, and how the windows repeat. Needs a CUDA device.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import click


@click.command()
@click.option("--seconds", default=10.0, show_default=True, help="Length of each window.")
@click.option("--repeats", default=3, show_default=True, type=click.IntRange(min=2))
@click.option("--side", default=8192, show_default=True, help="Side of the fp16 matrices.")
@click.option("--json", "json_file", type=click.Path(path_type=Path))
def main(seconds: float, repeats: int, side: int, json_file: Path | None) -> None:
    """Compare the two over steady windows."""
    import torch

    from layerscope.measure.energy import nvml
    from layerscope.measure.energy.power_line import PowerLine, integrate_j
    from layerscope.records import EnergyAbsent

    uuid = str(torch.cuda.get_device_properties(0).uuid)
    devices = nvml.open_devices([uuid])
    if isinstance(devices, EnergyAbsent):
        raise click.ClickException(devices.reason)
    (device,) = devices
    a = torch.randn(side, side, device="cuda", dtype=torch.float16)
    b, out = torch.randn_like(a), torch.empty_like(a)

    def work() -> None:
        for _ in range(8):
            torch.matmul(a, b, out=out)
        torch.cuda.synchronize()

    def edge() -> tuple[int, float]:
        """Work until the counter moves; its time and value then."""
        last = device.read_j()
        while True:
            work()
            now = device.read_j()
            if now > last:
                return time.monotonic_ns(), now

    warm = time.monotonic()
    while time.monotonic() - warm < 3:
        work()
    rows = []
    for _ in range(repeats):
        with PowerLine([uuid], period_s=0.02) as line:
            start_ns, start_j = edge()
            while time.monotonic_ns() - start_ns < seconds * 1e9:
                work()
            end_ns, end_j = edge()
        polled = integrate_j(line.samples, start_ns, end_ns)
        span_s = (end_ns - start_ns) / 1e9
        counted = end_j - start_j
        rows.append(
            {
                "span_s": span_s,
                "counter_j": counted,
                "counter_w": counted / span_s,
                "polled_j": polled,
                "polled_samples": len(line.samples),
                "ratio": counted / polled if polled else None,
            }
        )
    nvml.close(device.library)
    watts = [row["counter_w"] for row in rows]
    spread = (max(watts) - min(watts)) / min(watts)
    click.echo(f"{torch.cuda.get_device_name(0)}: fp16 matmul {side}, windows of {seconds:g} s")
    click.echo("  span s  counter J   polled J  counter/polled  counter W")
    for row in rows:
        click.echo(
            f"{row['span_s']:8.3f} {row['counter_j']:10.2f} {row['polled_j'] or 0:10.2f} "
            f"{row['ratio'] or 0:15.4f} {row['counter_w']:10.2f}"
        )
    click.echo(f"windows repeat within {spread:.2%} (mean power)")
    if json_file is not None:
        found = {"device": torch.cuda.get_device_name(0), "side": side, "windows": rows}
        json_file.write_text(json.dumps(found | {"spread": spread}, indent=1) + "\n")


if __name__ == "__main__":
    main()
