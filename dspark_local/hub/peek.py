"""What a repository is, before anything of it is kept: its config.json and the bytes of its weights."""

from __future__ import annotations

import json

from dspark_local.errors import CheckpointError, IntegrityError
from dspark_local.hub.listing import list_files
from dspark_local.hub.patience import Patience
from dspark_local.hub.ranged import Source, patiently, read_range
from dspark_local.plan.source import RemoteModel
from dspark_local.store.digests import new_hasher

CONFIG_NAME = "config.json"
_LARGEST_CONFIG = 16 * 2**20


def peek(repo: str, revision: str) -> RemoteModel:
    """A plan.source.Resolver that asks the hub. Raises HubError and its kinds, ModelNotFoundError, CheckpointError."""
    listing = list_files(repo, revision)
    file = listing.find(CONFIG_NAME)
    if file is None or file.size > _LARGEST_CONFIG:
        raise CheckpointError(
            f"{repo} has no {CONFIG_NAME}, so nobody can tell what it is.",
            hint="Give a repository that holds a model in safetensors files.",
        )
    patience = Patience()
    source = Source.of(listing, file)
    content = patiently(lambda: read_range(source, 0, file.size, patience), f"{CONFIG_NAME} of {repo}", patience)
    hasher = new_hasher(file.digest.kind, file.size)
    hasher.update(content)
    if hasher.hexdigest() != file.digest.value:
        raise IntegrityError(f"{CONFIG_NAME} of {repo} is not what the hub recorded.", hint="Try again.")
    try:
        config = json.loads(content)
    except ValueError as error:
        raise CheckpointError(f"{CONFIG_NAME} of {repo} is no JSON: {error}.") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{CONFIG_NAME} of {repo} holds no JSON object.")
    weights = sum(each.size for each in listing.files if each.path.endswith(".safetensors"))
    return RemoteModel(config, weights or None)
