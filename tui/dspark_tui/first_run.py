"""What a newcomer is told: what this computer is, which models it can run and how fast, and the two keys to begin."""

from __future__ import annotations

from rich.text import Text

from dspark_local.sizes import format_bytes
from dspark_tui.model_facts import AllFacts, ModelFacts
from dspark_tui.widgets.model_line import lacking, rate

_NAME_WIDTH = 25
_FIT_WIDTH = 31


def first_run_text(facts: AllFacts) -> Text:
    """At most ten lines of 76 columns."""
    free = facts.machine.disk_free
    room = f", {format_bytes(free)} of disk free" if free is not None else ""
    text = Text(f"This computer: {facts.machine.title}{room}\n", no_wrap=True, overflow="ellipsis")
    text.append(f"{'model':<{_NAME_WIDTH}}{'download':>9}  {'here it':<{_FIT_WIDTH}}{'tok/s':>7}\n", style="dim")
    for model in told(facts):
        text.append(_row(model, facts))
        text.append("\n")
    text.append(_advice(facts))
    return text


def told(facts: AllFacts) -> list[ModelFacts]:
    """The demo, the best large model, and one that this version only keeps."""
    demo = [model for model in facts.models if model.is_bundled]
    runs = [model for model in facts.models if model.runs and not model.is_bundled]
    best = facts.recommended or next(iter(runs), None)
    kept = [model for model in facts.models if not model.runs and model.plan and model.plan.verdict == "fits"]
    return [*demo[:1], *([best] if best else []), *kept[-1:]]


def _row(model: ModelFacts, facts: AllFacts) -> str:
    plan = model.plan
    size = "bundled" if model.is_bundled else format_bytes(model.download.bytes or 0)
    planned = plan.speed if plan is not None and model.runs and not model.is_bundled else None
    speed = rate(planned.chat) if planned is not None else ""
    return f"{model.name:<{_NAME_WIDTH}}{size:>9}  {_verdict(model, facts):<{_FIT_WIDTH}}{speed:>7}"


def _verdict(model: ModelFacts, facts: AllFacts) -> str:
    plan = model.plan
    if not model.runs:
        return "is kept, not run by this version"
    if model.is_bundled:
        return "answers now"
    if plan is None:
        return "is not planned for"
    if plan.verdict == "does_not_fit":
        return lacking(plan)[: _FIT_WIDTH - 1]
    words = "fits" if plan.verdict == "fits" else "is tight"
    if not facts.has_room(model) and facts.machine.disk_free is not None:
        return f"{words}, disk {format_bytes(model.missing_bytes - facts.machine.disk_free)} short"
    return words


def _advice(facts: AllFacts) -> str:
    best = facts.recommended
    if best is None:
        return "None of the large models fits memory and disk here: F5 shows each plan, and what would change it."
    return (
        f"F5, Enter: fetch {best.name} while the demo answers. Speeds are planned for an engine "
        "with tiers and fused kernels; this version is slower."
    )
