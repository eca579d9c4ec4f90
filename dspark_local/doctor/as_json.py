"""The report as one JSON value, for bug reports and scripts: stable keys, bytes and bytes a second, nothing private."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from dspark_local.doctor.findings import Finding
from dspark_local.doctor.privacy import private_scrubber
from dspark_local.doctor.report import Report


def report_object(report: Report, findings: tuple[Finding, ...]) -> dict[str, Any]:
    """What --json prints. A part that could not be looked at is null, and a finding says why."""
    found = report.survey
    value = {
        "system": asdict(report.system) if report.system else None,
        "gpus": [{**asdict(gpu), "is_used": index < found.usable_gpus} for index, gpu in enumerate(found.hardware.gpus)]
        if found
        else None,
        "nvidia_driver": found.driver if found else None,
        "cpu": asdict(found.hardware.cpu) if found else None,
        "memory": asdict(found.hardware.memory) if found else None,
        "disk": {**asdict(found.hardware.disk), "filesystem": report.filesystem} if found else None,
        "not_measured": found.remarks if found else {},
        "torch": asdict(report.torch) if report.torch else None,
        "extras": [asdict(extra) for extra in report.extras],
        "kernels": [asdict(kernel) for kernel in report.kernels],
        "hub": asdict(report.hub) if report.hub else None,
        "models": [asdict(model) for model in report.models],
        "findings": [asdict(finding) for finding in findings],
    }
    scrubbed: dict[str, Any] = private_scrubber()(value)
    return scrubbed
