"""Writing `dspark_calibration.json`: what a run measured, joined with what the file already held.

A regime that the file knows from more rounds stays, unless replacing is asked for; regimes that were not measured stay
in any case. The top level is for readers of SGLang's format, which has no biases: Sequential Temperature Scaling of the
default regime, with the errors that it alone leaves.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dspark_local import paths
from dspark_local.engine.calibration import CALIBRATION_FILE, calibration_path
from dspark_local.engine.calibration_fit import FittedRegime
from dspark_local.errors import DsparkError


def regime_name(temperature: float) -> str:
    """The key of a regime in the file: "0", "0.6", "1"."""
    return f"{temperature:g}"


def regime_entry(fitted: FittedRegime) -> dict[str, Any]:
    """What the file says of one regime."""
    return {
        "temperatures": _rounded(fitted.calibration.temperatures, 6),
        "biases": _rounded(fitted.calibration.biases, 6),
        "num_samples": fitted.num_rounds,
        "ece_before": _rounded(fitted.errors_before, 5),
        "ece_after": _rounded(fitted.errors_after, 5),
        "noise_floor": _rounded(fitted.floors, 5),
    }


def merged(
    old: Mapping[str, Any] | None, fits: Mapping[float, FittedRegime], *, default: float, dataset: str, replace: bool
) -> tuple[dict[str, Any], list[str]]:
    """(the new document, one line for everything that is written, replaced or kept).

    old is the present document, None without one. fits by sampling temperature, at least one. default is the sampling
    temperature that the model recommends. replace: fewer rounds may replace more.
    """
    old = old or {}
    regimes: dict[str, Any] = dict(old.get("regimes", {}))
    remarks = []
    for temperature, fitted in fits.items():
        name = regime_name(temperature)
        verdict, remark = _verdict(regimes.get(name), fitted.num_rounds, replace)
        remarks.append(f"temperature {name}: {remark}")
        if verdict:
            regimes[name] = regime_entry(fitted)
    known = {*fits, *map(float, regimes)}
    top = min(known, key=lambda temperature: abs(temperature - default))
    document: dict[str, Any] = {key: value for key, value in old.items() if key != "regimes"}
    present = old if "temperatures" in old else None
    if top not in fits and present is None:
        top = min(fits, key=lambda temperature: abs(temperature - default))
    if top in fits:
        fitted = fits[top]
        verdict, remark = _verdict(present, fitted.num_rounds, replace)
        remarks.append(f"default, for readers without regimes: {remark}")
        if verdict:
            document |= {
                "temperatures": _rounded(fitted.scaling, 6),
                "dataset": f"{dataset}, temperature {regime_name(top)}",
                "num_samples": fitted.num_rounds,
                "ece_before": _rounded(fitted.errors_before, 5),
                "ece_after": _rounded(fitted.scaling_errors, 5),
            }
    document["regimes"] = {name: regimes[name] for name in sorted(regimes, key=float)}
    return document, remarks


def write_document(document: Mapping[str, Any], directory: Path, fallback: Path | None) -> Path:
    """Write the file where the one in use lies, else beside the draft in `directory`, else into `fallback`.

    Returns its path. DsparkError when none of them can be written.
    """
    in_use = calibration_path(directory, fallback)
    homes = [directory] if fallback is None else [directory, fallback]
    if in_use is not None and in_use.parent == fallback:
        homes = [fallback]
    refusals = []
    for home in homes:
        path = home / CALIBRATION_FILE
        try:
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
            paths.write_atomically(path, as_text(document))
            os.chmod(path, 0o644)  # a model directory is shared; nothing in the file is private
        except OSError as error:
            refusals.append(f"{path} ({error.strerror or error})")
        else:
            return path
    raise DsparkError(
        f"The calibration cannot be written: {', '.join(refusals)}.",
        hint="Make one of these folders writable, or set DSPARK_HOME to one that is; --json keeps the figures.",
    )


def as_text(document: Mapping[str, Any]) -> str:
    """JSON with every list on one line."""
    text = json.dumps(document, indent=2)
    return re.sub(r"\[\s+([^\[\]]*?)\s+\]", lambda found: f"[{' '.join(found[1].split())}]", text) + "\n"


def _verdict(entry: Mapping[str, Any] | None, rounds: int, replace: bool) -> tuple[bool, str]:
    """(whether the new values are taken, why)."""
    if entry is None:
        return True, f"new, from {rounds:,} rounds"
    before = entry.get("num_samples")
    if not isinstance(before, int):
        return True, f"{rounds:,} rounds replace a calibration that does not say how many it has"
    if before > rounds and not replace:
        return False, f"the file's {before:,} rounds stay, {rounds:,} are fewer (--replace takes them all the same)"
    return True, f"{rounds:,} rounds replace {before:,}"


def _rounded(values: tuple[float, ...], digits: int) -> list[float]:
    return [round(value, digits) for value in values]
