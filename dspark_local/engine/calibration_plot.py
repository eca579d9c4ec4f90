"""The reliability diagram as SVG: one panel a regime, predicted survival against what came true.

On the diagonal a confidence means what it says. Hollow circles are raw confidences, filled ones calibrated; the area of
a circle is its share of the drafts. All positions of the block are pooled.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from dspark_local.engine.calibration_fit import FittedRegime
from dspark_local.engine.calibration_report import regime_title
from dspark_local.engine.reliability import Bin

SIDE = 220  # of a panel's square, in SVG units
LEFT, TOP, RIGHT, BOTTOM = 52, 40, 16, 64
LARGEST = 18.0  # radius of a circle that holds all drafts


def reliability_svg(fits: Mapping[float, FittedRegime]) -> str:
    """An SVG document; fits by sampling temperature, at least one."""
    panel_width = LEFT + SIDE + RIGHT
    width, height = panel_width * len(fits), TOP + SIDE + BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="11" fill="#333">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for index, (temperature, fitted) in enumerate(fits.items()):
        parts.append(f'<g transform="translate({index * panel_width + LEFT} {TOP})">')
        parts += _panel(regime_title(temperature), fitted)
        parts.append("</g>")
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(title: str, fitted: FittedRegime) -> list[str]:
    lines = [
        f'<text y="-14" font-size="13">{title}</text>',
        f'<rect width="{SIDE}" height="{SIDE}" fill="none" stroke="#999"/>',
        f'<line x1="0" y1="{SIDE}" x2="{SIDE}" y2="0" stroke="#999" stroke-dasharray="4 4"/>',
    ]
    for tick in (0.0, 0.5, 1.0):
        at = SIDE * tick
        lines.append(f'<text x="{at:g}" y="{SIDE + 14}" text-anchor="middle">{tick:.0%}</text>')
        lines.append(f'<text x="-6" y="{SIDE - at + 4:g}" text-anchor="end">{tick:.0%}</text>')
    lines.append(f'<text x="{SIDE / 2:g}" y="{SIDE + 30}" text-anchor="middle">predicted to be kept</text>')
    lines.append(f'<text transform="translate(-38 {SIDE / 2:g}) rotate(-90)" text-anchor="middle">kept</text>')
    before, after = (100 * sum(errors) / len(errors) for errors in (fitted.errors_before, fitted.errors_after))
    lines.append(
        f'<text x="{SIDE / 2:g}" y="{SIDE + 48}" text-anchor="middle">'
        f"error {before:.1f} % raw (hollow), {after:.1f} % calibrated</text>"
    )
    lines += _circles(fitted.table_before, 'fill="none" stroke="#c0392b" stroke-width="1.5"')
    lines += _circles(fitted.table_after, 'fill="#2471a3" fill-opacity="0.75"')
    return lines


def _circles(table: Sequence[Bin], style: str) -> list[str]:
    total = max(sum(row.size for row in table), 1)
    return [
        f'<circle cx="{SIDE * row.predicted:.1f}" cy="{SIDE * (1 - row.observed):.1f}" '
        f'r="{max(LARGEST * math.sqrt(row.size / total), 1.5):.1f}" {style}/>'
        for row in table
    ]
