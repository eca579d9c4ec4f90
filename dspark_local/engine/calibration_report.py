"""What a calibration measured, for people (text) and for programs (plain data)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dspark_local.engine.calibration_file import regime_entry, regime_name
from dspark_local.engine.calibration_fit import FittedRegime, Form
from dspark_local.engine.reliability import Bin

_FORMS: dict[Form, str] = {
    "identity": "nothing helped beyond noise, confidences stay as they are",
    "temperatures": "temperatures help, biases add nothing beyond noise",
    "affine": "temperatures with biases help",
}


def regime_title(temperature: float) -> str:
    """How a regime is called."""
    return f"temperature {regime_name(temperature)}" + (" (greedy)" if temperature == 0.0 else "")


def regime_text(temperature: float, fitted: FittedRegime) -> str:
    """A heading, the figures by position, and the reliability table of all positions together."""
    rows = [
        ("position", [str(k + 1) for k in range(len(fitted.floors))]),
        ("error, raw", _percent(fitted.errors_before)),
        ("error, calibrated", _percent(fitted.errors_after)),
        ("noise floor", _percent(fitted.floors)),
        ("temperature", [f"{value:.2f}" for value in fitted.calibration.temperatures]),
        ("bias", [f"{value:+.2f}" for value in fitted.calibration.biases]),
    ]
    width = max(len(name) for name, _ in rows)
    lines = [
        f"{regime_title(temperature)}: {fitted.num_rounds:,} rounds of {fitted.num_prompts:,} prompts; "
        f"{_FORMS[fitted.form]}",
        *(f"  {name:<{width}}" + "".join(f"{value:>9}" for value in values) for name, values in rows),
        f"  {'survival, calibrated':<22}{'predicted':>10}{'observed':>10}{'drafts':>9}",
    ]
    lines += [f"  {'':<22}{row.predicted:>10.1%}{row.observed:>10.1%}{row.size:>9,}" for row in fitted.table_after]
    return "\n".join(lines)


def regime_object(fitted: FittedRegime) -> dict[str, Any]:
    """The same as plain data."""
    return {
        **regime_entry(fitted),
        "form": fitted.form,
        "log_loss_gains": list(fitted.gains),
        "num_prompts": fitted.num_prompts,
        "scaling_temperatures": list(fitted.scaling),
        "scaling_ece": list(fitted.scaling_errors),
        "reliability_before": _bins(fitted.table_before),
        "reliability_after": _bins(fitted.table_after),
    }


def _percent(values: Sequence[float]) -> list[str]:
    return [f"{value:.1%}" for value in values]


def _bins(table: Sequence[Bin]) -> list[dict[str, float]]:
    return [{"predicted": row.predicted, "observed": row.observed, "count": row.size} for row in table]
