"""What is known of every model: on this computer or to be had, its size, and what a plan says of it here.

Read from `dspark-local list --fit --json` in a process of its own: what counts tensors is not loaded into the chat.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from dspark_local.errors import DsparkError
from dspark_tui.model_commands import run_json

Verdict = Literal["fits", "tight", "does_not_fit"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Speed(_Frozen):
    """Tokens a second as the plan expects them, without and with drafts."""

    plain: float
    chat: float
    code: float
    has_draft: bool


class PlanFacts(_Frozen):
    """A plan in short; needs and lacking are bytes by tier, context is tokens, speed is None where it does not fit."""

    verdict: Verdict
    reasons: tuple[str, ...] = ()
    context: int
    needs: Mapping[str, int]
    lacking: Mapping[str, int]
    disk_needed: int
    speed: Speed | None = None


class Download(_Frozen):
    """Bytes of the files, None where nobody published them; is_whole is False for the target's alone."""

    bytes: int | None
    is_whole: bool


class Installed(_Frozen):
    """What of a model is on this computer, in bytes."""

    state: Literal["verified", "unverified", "incomplete"]
    present_bytes: int
    expected_bytes: int | None = None
    bytes: int
    path: str


class ModelFacts(_Frozen):
    """One model. runs: this version's engine runs it."""

    name: str
    title: str
    is_bundled: bool
    runs: bool
    licence: str
    note: str
    download: Download
    installed: Installed | None = None
    plan: PlanFacts | None = None
    plan_problem: str = ""

    @property
    def is_here(self) -> bool:
        """Whether all of it is on this computer."""
        return self.is_bundled or (self.installed is not None and self.installed.state != "incomplete")

    @property
    def missing_bytes(self) -> int:
        """What is still to be downloaded, as far as known."""
        if self.is_here:
            return 0
        present = self.installed.present_bytes if self.installed else 0
        whole = self.download.bytes or (self.installed and self.installed.expected_bytes) or 0
        return max(whole - present, 0)


class MachineFacts(_Frozen):
    """This computer; title is like `no card, 128 GiB of RAM`, amounts are bytes."""

    title: str
    ram: int
    ram_free: int
    disk_free: int | None = None
    cache: str


class AllFacts(_Frozen):
    """Everything that the command tells."""

    machine: MachineFacts
    models: tuple[ModelFacts, ...]
    engine_note: str
    no_engine_note: str

    def find(self, name: str) -> ModelFacts | None:
        """The model of this name, whatever its case."""
        return next((model for model in self.models if model.name.casefold() == name.casefold()), None)

    @property
    def has_no_model(self) -> bool:
        """Whether nothing but the bundled demo is on this computer, not even in part."""
        return not any(model.installed for model in self.models)

    def has_room(self, model: ModelFacts) -> bool:
        """Whether the disk takes what is missing."""
        free = self.machine.disk_free
        return free is None or model.missing_bytes <= free

    @property
    def recommended(self) -> ModelFacts | None:
        """The first that this version runs, that fits memory and disk, and that is no demo; None when none does."""
        ranks = {"fits": 0, "tight": 1}
        able = [
            model
            for model in self.models
            if model.runs and not model.is_bundled and model.plan and model.plan.verdict in ranks
        ]
        able = [model for model in able if self.has_room(model)]
        return min(able, key=lambda model: ranks[model.plan.verdict] if model.plan else 9, default=None)


async def read_facts(unloading: int | None = None) -> AllFacts:
    """Ask the command; `unloading` is a process whose memory counts as free. Raises DsparkError."""
    more = () if unloading is None else ("--unloading", str(unloading))
    answer = await run_json("list", "--fit", *more)
    try:
        return AllFacts.model_validate(answer)
    except ValidationError as error:
        raise DsparkError(f"dspark-local list --fit said what nobody expects: {error.errors()[0]['msg']}.") from error
