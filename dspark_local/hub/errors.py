"""What went wrong at the hub, in words that help."""

from __future__ import annotations

import errno
import re
from http import HTTPStatus
from pathlib import Path

from dspark_local.errors import DiskFullError, DsparkError, HubAccessError, HubError, ModelNotFoundError
from dspark_local.sizes import format_bytes
from dspark_local.store.locations import hub_cache_dir

_NUMBER = re.compile(r"^\[Errno -?\d+\] ")
CONTINUE = "What was downloaded is kept; run the same command to continue."
_LOG_IN = "Log in with `hf auth login`, or set HF_TOKEN to a token from {endpoint}/settings/tokens."


def translate(error: Exception, repo: str, revision: str, path: str = "") -> DsparkError:
    """The error to show for what huggingface_hub or its HTTP client raised about a repository, or one file of it.

    An error of ours is handed back as it is; one that nobody foresaw becomes a HubError that quotes it.
    """
    import httpx2
    from huggingface_hub import constants
    from huggingface_hub import errors as hub

    endpoint = constants.ENDPOINT
    log_in = _LOG_IN.format(endpoint=endpoint)
    status = error.response.status_code if isinstance(error, hub.HfHubHTTPError) else 0
    what = f"{path} of {repo}" if path else repo
    if isinstance(error, DsparkError):
        return error
    if isinstance(error, hub.GatedRepoError):
        has_token = status == 403
        return HubAccessError(
            f"Access to {repo} has to be granted by its owner"
            + (", and your account does not have it yet." if has_token else ", and no valid token was sent."),
            hint=f"Ask for access on {endpoint}/{repo}." + ("" if has_token else f" {log_in}"),
        )
    if isinstance(error, hub.DisabledRepoError):
        return HubAccessError(f"The hub has disabled {repo}.", hint=f"{endpoint}/{repo} may say why.")
    if isinstance(error, hub.RevisionNotFoundError):
        return ModelNotFoundError(
            f"{repo} has no revision {revision!r}.", hint=f"{endpoint}/{repo}/tree/main lists its branches and tags."
        )
    if isinstance(error, hub.RepositoryNotFoundError):
        return ModelNotFoundError(
            f"The hub has no model {repo}, or it is private.",
            hint=f"Check the spelling, as owner/name. If it is private: {log_in}",
        )
    if isinstance(error, hub.HFValidationError):
        return ModelNotFoundError(f"{repo!r} cannot be a model's name: {error}", hint="Write it as owner/name.")
    if isinstance(error, hub.EntryNotFoundError) or status == 404:
        return ModelNotFoundError(
            f"The hub does not have {what} at revision {revision}.", hint=f"See {endpoint}/{repo}/tree/{revision}."
        )
    if status in (401, 403):
        return HubAccessError(
            f"The hub refuses {what} (status {status})."
            + (" The token is not valid." if status == 401 else " The token does not cover this model."),
            hint=f"{log_in} The model's page is {endpoint}/{repo}.",
        )
    if isinstance(error, hub.OfflineModeIsEnabled):
        return HubError(
            f"{what} is not complete on this disk, and HF_HUB_OFFLINE forbids asking the hub.",
            hint="Unset HF_HUB_OFFLINE, or copy the model into the cache from another computer.",
        )
    if status:
        return HubError(
            f"The hub answers with status {status}{_phrase(status)} for {what}.", hint=f"Try again later. {CONTINUE}"
        )
    if isinstance(error, httpx2.TransportError | OSError):
        return HubError(
            f"The hub at {endpoint} cannot be reached for {what}: {reason(error)}.",
            hint=f"Check the network, the proxy and HF_ENDPOINT. {CONTINUE}",
        )
    return HubError(f"Asking the hub for {what} failed: {type(error).__name__}: {error}", hint=CONTINUE)


def _phrase(status: int) -> str:
    try:
        return f" ({HTTPStatus(status).phrase})"
    except ValueError:
        return ""


def reason(error: BaseException) -> str:
    """A few words for a transport's failure, such as `the connection was cut`."""
    import httpx2

    if isinstance(error, httpx2.ReadTimeout):
        return "no data came"
    if isinstance(error, httpx2.TimeoutException):
        return "no answer came in time"
    if isinstance(error, httpx2.ConnectError):
        words = _NUMBER.sub("", str(error))
        return f"no connection ({words})" if words else "no connection"
    if isinstance(error, httpx2.RemoteProtocolError | httpx2.ReadError):
        return "the connection was cut"
    return str(error) or type(error).__name__


def is_disk_full(error: OSError) -> bool:
    """Whether the disk or the user's quota is exhausted."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def disk_full(folder: Path, needed: int, free: int, *, kept: int) -> DiskFullError:
    """needed bytes are still to be written into folder, free are there; kept are already on the disk."""
    short = max(needed - free, 1)
    return DiskFullError(
        f"{format_bytes(needed)} are still to be written to {folder}, {format_bytes(max(free, 0))} are free.",
        hint=f"Free at least {format_bytes(short)} (dspark-local list shows what models take), or set "
        f"{_variable(folder)} to a folder on a larger disk"
        + (f". {format_bytes(kept)} are kept; run the same command to continue." if kept else "."),
    )


def cannot_write(path: Path, error: OSError) -> HubError:
    """The disk refuses for another reason than being full."""
    return HubError(
        f"{path} cannot be written: {error.strerror or error}.",
        hint=f"Check the permissions of that folder, or set {_variable(path)} to another one.",
    )


def _variable(path: Path) -> str:
    """What moves the folder that `path` is in."""
    return "HF_HUB_CACHE" if path.is_relative_to(hub_cache_dir()) else "DSPARK_HOME"


def too_many_failures(what: str, attempts: int, last: str, kept: int) -> HubError:
    """The network was tried often enough."""
    return HubError(
        f"{what} could not be downloaded: {attempts} attempts in a row brought nothing, at last: {last}.",
        hint=f"{format_bytes(kept)} of it are kept; run the same command to continue when the network is better.",
    )
