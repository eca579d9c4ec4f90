"""One model in the list, and what is said of the one that is chosen."""

from __future__ import annotations

from textual.content import Content

from dspark_local.sizes import format_bytes, format_gib, format_tokens
from dspark_tui.model_facts import AllFacts, ModelFacts, PlanFacts

_NAME_WIDTH, _SIZE_WIDTH, _STATE_WIDTH = 27, 9, 17
_STYLES = {"fits": "$text-success", "tight": "$text-warning", "does_not_fit": "$text-error"}
_MUTED = "$foreground 70%"
_WIDE = 110


def model_line(model: ModelFacts, state: str, width: int) -> Content:
    """One line of `width` columns: name, size, where it stands, whether it fits and how fast."""
    name = model.name if len(model.name) <= _NAME_WIDTH else f"…{model.name[1 - _NAME_WIDTH :]}"
    is_busy = state not in ("ready", "not here", "in use")
    line = Content.assemble(
        (f"{name:<{_NAME_WIDTH}}", "bold" if model.is_here else ""),
        f" {_size(model):>{_SIZE_WIDTH}}  ",
        (f"{state:<{_STATE_WIDTH}}", "$text-warning" if is_busy else "$text-success" if state == "in use" else ""),
        " ",
        fit_text(model, is_short=width < _WIDE),
    )
    return line.truncate(width, ellipsis=True)


def fit_text(model: ModelFacts, *, is_short: bool) -> Content:
    """As `tight, 0.5 tok/s`."""
    plan = model.plan
    words = "unknown" if plan is None else plan.verdict.replace("_", " ").replace("does not fit", "too big")
    style = _STYLES.get(plan.verdict, "") if plan else _MUTED
    more = ""
    if not model.runs:
        more = ", kept only" if is_short else "; fetched and kept, but this version does not run it"
    elif plan is not None and plan.speed is not None and not model.is_bundled:
        more = f", {rate(plan.speed.chat)} tok/s"
        if not is_short and plan.speed.has_draft:
            more += f" with its draft, {rate(plan.speed.plain)} without; context {format_tokens(plan.context)}"
    elif plan is not None and plan.speed is None and not is_short:
        more = f": {lacking(plan)}"
    return Content.assemble((words, style), (more, "" if model.runs else _MUTED))


def about(model: ModelFacts, facts: AllFacts) -> str:
    """A few lines: what it is, what it needs and where, what stands against it."""
    lines = [" · ".join(part for part in (model.title, model.licence) if part)]
    plan = model.plan
    if plan is None:
        lines.append(f"{model.plan_problem} {model.note}".strip())
    else:
        places = {"vram": "on the card", "ram": "of RAM", "disk": "left on the disk"}
        needs = ", ".join(f"{format_gib(plan.needs[tier])} {places[tier]}" for tier in places if plan.needs.get(tier))
        verdict = {"fits": "Fits", "tight": "Tight", "does_not_fit": "Does not fit"}[plan.verdict]
        lines.append(" ".join([f"{verdict}: {needs} for {format_tokens(plan.context)} tokens.", *plan.reasons]))
    if not model.is_here and not facts.has_room(model) and facts.machine.disk_free is not None:
        short = model.missing_bytes - facts.machine.disk_free
        lines.append(f"The disk has {format_bytes(facts.machine.disk_free)} free, {format_bytes(short)} too few.")
    if not model.runs:
        lines.append("It can be fetched and kept; the engine of this version does not run it.")
    elif plan is not None and not model.is_bundled:
        lines.append(facts.engine_note)
    return "\n".join(lines)


def lacking(plan: PlanFacts) -> str:
    """As `3.21 GiB of RAM too few`."""
    names = {"vram": "of graphics memory", "ram": "of RAM"}
    parts = [f"{format_gib(plan.lacking[tier])} {names[tier]}" for tier in names if plan.lacking.get(tier)]
    return f"{' and '.join(parts)} too few" if parts else "it does not fit"


def rate(speed: float) -> str:
    """Tokens a second, as exact as an estimate is."""
    return f"{speed:,.0f}" if speed >= 20 else f"{speed:.1f}"


def _size(model: ModelFacts) -> str:
    nbytes = model.download.bytes or (model.installed.bytes if model.installed else None)
    if nbytes is None:
        return "?"
    return format_bytes(nbytes) if model.download.is_whole else f">{format_bytes(nbytes)}"
