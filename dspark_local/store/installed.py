"""The models on this computer: what the hub's cache holds, joined with the folders that we write ourselves."""

from __future__ import annotations

from dataclasses import replace

from dspark_local.store.cached_models import cached_models
from dspark_local.store.models import InstalledModel
from dspark_local.store.own_models import own_folders, own_model
from dspark_local.store.snapshots import cached_repos
from dspark_local.store.verified import VerifiedFiles


def all_models() -> list[InstalledModel]:
    """Every item there is, by name: also repositories that are none of ours, and drafts of targets. Raises OSError."""
    verified = VerifiedFiles()
    repos = {repo.repo.casefold(): repo for repo in cached_repos()}
    models = [model for repo in repos.values() for model in cached_models(repo, repos, verified)]
    models += [own_model(folder, verified) for folder in own_folders()]
    return sorted(models, key=lambda model: (model.name, model.kind, model.commit))


def installed(*, everything: bool = False) -> list[InstalledModel]:
    """What a person has, by name: a target and its separate draft are one item. Raises OSError.

    `everything` adds the repositories in the cache that are no models of ours.
    """
    models = all_models()
    joined = {
        model.entry.draft.repo.casefold()
        for model in models
        if model.kind == "hub cache" and model.entry is not None and model.entry.draft is not None
    }
    shown = [
        model
        for model in models
        if (everything or model.role != "other") and not (model.entry is None and model.repo.casefold() in joined)
    ]
    drafts = {
        model: [other for other in shown if _only_serves(other, model)] for model in shown if model.kind == "draft"
    }
    serving = [other for others in drafts.values() for other in others]
    return [
        replace(model, nbytes=model.nbytes + sum(other.nbytes for other in drafts.get(model, ())))
        for model in shown
        if model not in serving
    ]


def _only_serves(model: InstalledModel, draft: InstalledModel) -> bool:
    """Whether all weights of an unfinished snapshot are there because a draft fetched alone links to them."""
    if model.kind != "hub cache" or model.state.kind != "incomplete" or not model.commit.startswith(draft.commit):
        return False
    linked = {file.path.resolve() for file in draft.files}
    return all(file.path.resolve() in linked for file in model.files if file.name.endswith(".safetensors"))
