"""What a name stands for."""

from __future__ import annotations

from pathlib import Path

import pytest

from dspark_local.catalog.catalog import entries
from dspark_local.catalog.schema import Entry
from dspark_local.errors import HubError, ModelNotFoundError, UsageError
from dspark_local.hub.events import Planned
from dspark_local.hub.pulling import orders
from tests.local.hub.conftest import Setting
from tests.local.hub.stand_in_hub import Faults, random_folder

FETCHED = [entry for entry in entries() if not entry.is_bundled]


@pytest.mark.parametrize("entry", FETCHED, ids=lambda entry: entry.name)
def test_every_entry_of_the_catalog_can_be_ordered(entry: Entry) -> None:
    target, *drafts = orders(entry.name)
    assert (target.role, target.repo, target.revision) == ("target", entry.target.repo, entry.target.revision)
    assert [draft.repo for draft in drafts] == ([entry.draft.repo] if entry.draft else [])
    assert orders(entry.name, with_draft=False) == (target,)
    if entry.draft is not None:
        assert [order.repo for order in orders(entry.name, draft_only=True)] == [entry.draft.repo]
    elif entry.draft_in_target and entry.format == "safetensors":
        assert orders(entry.name, draft_only=True)[0].only_draft
    else:
        with pytest.raises(UsageError):
            orders(entry.name, draft_only=True)


def test_a_repository_may_name_its_revision_either_way() -> None:
    assert orders("owner/model@v2")[0].revision == "v2"
    assert orders("owner/model", revision="v2")[0].revision == "v2"
    assert orders("owner/model")[0].revision == "main"


def test_what_needs_no_download_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a path on this computer"):
        orders(str(tmp_path))
    with pytest.raises(UsageError, match="part of this program"):
        orders(next(entry.name for entry in entries() if entry.is_bundled))
    with pytest.raises(ModelNotFoundError):
        orders("no-such-model")


def test_a_cache_that_cannot_be_written_is_said_so(setting: Setting) -> None:
    setting.hub.add("owner/model", random_folder(setting.root / "source", {"model.safetensors": 200_000}))
    setting.cache.write_text("a file where the folder should be")
    with pytest.raises(HubError, match="cannot be written"):
        setting.pull()


def test_the_plan_counts_what_an_earlier_try_left(setting: Setting) -> None:
    setting.hub.add("owner/model", random_folder(setting.root / "source", {"model.safetensors": 2_000_000}))
    # Each attempt brings less than what counts as worthwhile, so the third is the last.
    setting.hub.faults["model.safetensors"] = Faults(cut_after=200_000)
    with pytest.raises(HubError, match="3 attempts in a row"):
        setting.pull(connections=1)
    setting.hub.faults.clear()
    setting.events.clear()
    setting.pull()
    (planned,) = [event for event in setting.events if isinstance(event, Planned)]
    assert planned.present_bytes >= 600_000
    assert setting.progress[0].done == planned.present_bytes
