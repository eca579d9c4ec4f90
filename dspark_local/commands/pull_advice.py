"""What a person should know before the first byte of a large download: whether it will run here, and how fast."""

from __future__ import annotations

from dspark_local.errors import DsparkError, OutOfMemoryError
from dspark_local.hub.events import Event, Listener, Notice, Planned

LARGE_BYTES = 4 * 10**9
"""A download from which on a plan is worth its seconds."""


def with_advice(listener: Listener, name: str, *, insist: bool) -> Listener:
    """`listener`, told in a Notice what the plan for this computer says as soon as a large download is planned.

    The first large repository is the target. Raises OutOfMemoryError through the pull, before its first byte, when the
    model does not fit and nobody insists; says nothing where nobody can tell.
    """
    is_open = True

    def take(event: Event) -> None:
        nonlocal is_open
        if isinstance(event, Planned) and is_open and event.total_bytes - event.present_bytes >= LARGE_BYTES:
            is_open = False
            line = _advice(name, insist=insist)
            if line:
                listener(Notice(line))
        listener(event)

    return take


def _advice(name: str, *, insist: bool) -> str:
    from dspark_local.hardware.probe import probe
    from dspark_local.hub.peek import peek
    from dspark_local.plan.machine import machine_from
    from dspark_local.plan.page import summary
    from dspark_local.plan.plan import make_plan
    from dspark_local.plan.source import find_source
    from dspark_local.store.locations import hub_cache_dir

    try:
        machine = machine_from(probe(hub_cache_dir()))
        source = find_source(name, dtype="auto", on_card=machine.card is not None, resolver=peek)
        plan = make_plan(source.facts, machine, source.context)
    except (DsparkError, OSError):
        return ""
    if plan.verdict == "does_not_fit" and not insist:
        raise OutOfMemoryError(
            summary(plan),
            hint=f"dspark-local plan {name} shows what would fit. pull --anyway downloads it all the same.",
        )
    return summary(plan)
