"""Whatever goes wrong ends well, or in a clear message and a state from which the same call continues."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from dspark_local.errors import HubAccessError, HubError, IntegrityError, ModelNotFoundError
from dspark_local.store.digests import Digest
from dspark_local.store.verified import VerifiedFiles
from tests.local.hub.conftest import QUICK, Setting
from tests.local.hub.stand_in_hub import COMMIT, Faults, random_folder

BIG, SMALL = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
SIZES = {BIG: 6_000_000, SMALL: 2_500_001}


@pytest.fixture
def model(setting: Setting) -> Path:
    folder = random_folder(setting.root / "source", SIZES)
    setting.hub.add("owner/model", folder)
    return folder


def _assert_complete(setting: Setting, model: Path) -> None:
    snapshot = setting.cache / "models--owner--model" / "snapshots" / COMMIT
    for file in (path for path in model.rglob("*") if path.is_file()):
        assert (snapshot / file.relative_to(model)).read_bytes() == file.read_bytes()
    assert not setting.partial_files()
    assert not list(setting.cache.rglob("*.dspark-journal"))
    setting.assert_progress_never_falls()


def _assert_continues(setting: Setting, model: Path, *, at_most: int) -> None:
    """With the fault gone the same call completes, and asks for no more than what was missing."""
    setting.hub.faults.clear()
    before = setting.hub.served.total()
    setting.pull()
    _assert_complete(setting, model)
    assert setting.hub.served.total() - before <= at_most


def test_cut_connections_are_continued_where_they_broke(setting: Setting, model: Path) -> None:
    setting.hub.faults[BIG] = Faults(cut_after=400_000)
    setting.pull()
    _assert_complete(setting, model)
    # One cut answer may take a little of its last chunk with it.
    assert setting.hub.served[BIG] < 1.1 * SIZES[BIG]


def test_a_byte_flipped_once_is_fetched_again_and_said(setting: Setting, model: Path) -> None:
    setting.hub.faults[BIG] = Faults(flip_at=3_000_000, flips=1)
    setting.pull()
    _assert_complete(setting, model)
    assert setting.progress[-1].total == sum(SIZES.values()) + SIZES[BIG] + len('{"model_type": "stand-in"}')


def test_a_byte_flipped_every_time_is_refused_and_leaves_nothing_behind(setting: Setting, model: Path) -> None:
    setting.hub.faults[BIG] = Faults(flip_at=3_000_000)
    with pytest.raises(IntegrityError, match=f"{BIG} of owner/model arrived twice with sha256 "):
        setting.pull()
    assert not setting.partial_files()
    blobs = {path.name for path in (setting.cache / "models--owner--model" / "blobs").iterdir()}
    assert setting.hub.repos["owner/model"].etag(BIG) not in blobs
    assert not (setting.cache / "models--owner--model" / "refs").exists(), "an incomplete model must not look complete"
    setting.events.clear()  # the deleted file counts no more
    _assert_continues(setting, model, at_most=SIZES[BIG])


def test_a_file_that_the_hub_serves_too_short_is_refused(setting: Setting, model: Path) -> None:
    setting.hub.faults[BIG] = Faults(short_by=1000)
    with pytest.raises(IntegrityError, match=r"serves another .* 5999000 bytes, 6000000 were listed"):
        setting.pull()
    _assert_continues(setting, model, at_most=sum(SIZES.values()))


def test_a_hash_that_differs_from_the_listing_is_refused_before_a_byte_is_stored(setting: Setting, model: Path) -> None:
    setting.hub.faults[BIG] = Faults(wrong_etag=True)
    with pytest.raises(IntegrityError, match="the hub now names ffffffffffff"):
        setting.pull()
    assert not any(file.done for event in setting.progress for file in event.active if file.path == BIG)
    _assert_continues(setting, model, at_most=sum(SIZES.values()))


def test_busy_answers_are_waited_out(setting: Setting, model: Path) -> None:
    setting.hub.faults[BIG] = Faults(statuses=[(503, {}), (500, {}), (408, {})])
    setting.pull()
    _assert_complete(setting, model)


def test_a_hub_that_stays_busy_ends_in_a_message_that_says_what_is_kept(setting: Setting, model: Path) -> None:
    setting.hub.faults[BIG] = Faults(statuses=[(503, {})] * 100)
    with pytest.raises(HubError, match="attempts in a row brought nothing, at last: the server answered 503") as caught:
        setting.pull()
    assert "run the same command to continue" in caught.value.hint
    _assert_continues(setting, model, at_most=sum(SIZES.values()))


def test_retry_after_is_respected(setting: Setting, model: Path) -> None:
    setting.hub.faults[SMALL] = Faults(statuses=[(429, {"Retry-After": "1"})])
    start = time.monotonic()
    setting.pull(connections=1)
    assert time.monotonic() - start >= 1.0
    assert any("429, retry in 1 s" in note for note in setting.notes())
    _assert_complete(setting, model)


def test_a_retry_after_longer_than_bearable_ends_in_a_message(setting: Setting, model: Path) -> None:
    setting.hub.faults[SMALL] = Faults(statuses=[(429, {"Retry-After": "3600"})] * 20)
    with pytest.raises(HubError, match="left alone for 3600 s"):
        setting.pull()
    _assert_continues(setting, model, at_most=sum(SIZES.values()))


def test_a_listing_that_is_limited_is_asked_for_again(setting: Setting, model: Path) -> None:
    setting.hub.listing_statuses = [(429, {"Retry-After": "1"}), (503, {})]
    setting.pull()
    _assert_complete(setting, model)


def test_a_stalled_connection_is_given_up_and_replaced(setting: Setting, model: Path) -> None:
    setting.hub.faults[BIG] = Faults(stall_after=300_000, stalls=2)
    setting.patience = replace(QUICK, first_wait=1.0, longest_wait=1.0)
    setting.pull()
    assert any("no data came" in note for note in setting.notes())
    _assert_complete(setting, model)


def test_a_server_that_ignores_ranges_still_delivers_each_byte_once(setting: Setting, model: Path) -> None:
    setting.hub.faults[BIG] = Faults(ignores_ranges=True)
    setting.hub.bytes_per_second = 60e6
    setting.pull()
    _assert_complete(setting, model)
    # The other connections hang up as soon as they see it; what was in their buffers is lost.
    assert setting.hub.served[BIG] < 1.4 * SIZES[BIG]


def test_expired_addresses_of_content_servers_are_renewed(setting: Setting, model: Path) -> None:
    setting.hub.faults[BIG] = Faults(expired_cdn=2)
    setting.pull()
    _assert_complete(setting, model)


def test_no_access_names_the_page_and_the_login(setting: Setting, model: Path) -> None:
    setting.hub.repos["owner/model"].needs_token = "hf_good"
    with pytest.raises(HubAccessError) as caught:
        setting.pull()
    assert "/owner/model" in caught.value.hint
    assert "hf auth login" in caught.value.hint
    with pytest.raises(HubAccessError, match="account does not have it yet"):
        setting.pull(token="hf_other")
    setting.pull(token="hf_good")
    _assert_complete(setting, model)


def test_the_token_goes_to_the_hub_and_not_to_its_content_servers(setting: Setting, model: Path) -> None:
    setting.hub.repos["owner/model"].needs_token = "hf_good"
    setting.pull(token="hf_good")
    with_token = {path.split("/")[1] for _, path, headers in setting.hub.requests if "authorization" in headers}
    without = {path.split("/")[1] for _, path, headers in setting.hub.requests if "authorization" not in headers}
    assert with_token == {"api", "owner"}
    assert without == {"content"}


@pytest.mark.parametrize("status", [401, 403])
def test_a_bare_refusal_is_an_access_error(setting: Setting, model: Path, status: int) -> None:
    setting.hub.repos["owner/model"].error = (status, {})
    with pytest.raises(HubAccessError, match=f"status {status}"):
        setting.pull()


def test_unknown_names_revisions_and_files_say_which(setting: Setting, model: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="no model owner/other, or it is private"):
        setting.pull("owner/other")
    with pytest.raises(ModelNotFoundError, match="no revision 'v9'"):
        setting.pull("owner/model@v9")
    setting.hub.faults[BIG] = Faults(statuses=[(404, {"X-Error-Code": "EntryNotFound"})] * 8)
    with pytest.raises(ModelNotFoundError, match=f"does not have {BIG} of owner/model"):
        setting.pull()
    _assert_continues(setting, model, at_most=sum(SIZES.values()))


def test_a_hub_that_is_not_there_is_said_so(setting: Setting, model: Path) -> None:
    setting.hub.server.shutdown()
    setting.hub.server.server_close()
    with pytest.raises(HubError, match="cannot be reached"):
        setting.pull()


def test_what_is_complete_needs_no_network(setting: Setting, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setting.pull()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert setting.pull().moved_bytes == 0
    (setting.cache / "models--owner--model" / "blobs" / setting.hub.repos["owner/model"].etag(BIG)).unlink()
    with pytest.raises(HubError, match="HF_HUB_OFFLINE forbids"):
        setting.pull()


def test_a_model_never_asked_for_cannot_be_pulled_offline(
    setting: Setting, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="HF_HUB_OFFLINE forbids"):
        setting.pull()
    assert not setting.hub.requests


def test_a_damaged_file_of_somebody_elses_download_is_noticed_and_replaced(setting: Setting, model: Path) -> None:
    setting.pull()
    etag = setting.hub.repos["owner/model"].etag(BIG)
    blob = setting.cache / "models--owner--model" / "blobs" / etag
    content = bytearray(blob.read_bytes())
    content[1234] ^= 1
    blob.write_bytes(content)
    assert not VerifiedFiles().holds(blob, Digest("sha256", etag))
    before = setting.hub.served.total()
    setting.pull()
    assert any(f"{BIG} in the cache is damaged" in notice for notice in setting.notices)
    assert setting.hub.served.total() - before == SIZES[BIG]
    assert blob.read_bytes() == (model / BIG).read_bytes()


def test_only_verified_files_are_handed_on(setting: Setting, model: Path) -> None:
    handed: dict[str, bytes] = {}
    setting.hub.faults[BIG] = Faults(flip_at=3_000_000)

    def on_file(path: str, place: Path) -> None:
        assert VerifiedFiles().holds(place)
        handed[path] = place.read_bytes()

    with pytest.raises(IntegrityError):
        setting.pull(on_file=on_file)
    assert set(handed) == {"config.json", SMALL}
    assert handed[SMALL] == (model / SMALL).read_bytes()


def test_connections_are_shared_over_all_files(setting: Setting, model: Path) -> None:
    setting.hub.bytes_per_second = 20e6
    setting.pull(connections=3, segment_bytes=500_000)
    assert setting.hub.most_open_answers == 3
    _assert_complete(setting, model)
