"""Taking files into the hub's cache: those already there are checked, the others fetched, all of them linked.

Nothing is linked, recorded or handed on before its hash was compared.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from dspark_local.hub.cache import RepoCache
from dspark_local.hub.errors import cannot_write, translate
from dspark_local.hub.events import FileProgress, Listener, Notice, Progress
from dspark_local.hub.fleet import Fleet
from dspark_local.hub.listing import HubFile, Listing
from dspark_local.hub.part import whole_file
from dspark_local.hub.patience import Patience
from dspark_local.hub.ranged import Source
from dspark_local.hub.space import check_room
from dspark_local.hub.wanted import Wanted
from dspark_local.store.digests import Digest
from dspark_local.store.verified import VerifiedFiles

SEGMENT_BYTES = 64 * 2**20
"""One request's worth: few enough requests for the hub's limits (2,500 for V4-Flash), small enough to share out."""

DEFAULT_CONNECTIONS = 4

OnFile = Callable[[str, Path], None]
"""(path in the repository, verified file on this disk). Called for one file at a time, while others still arrive."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How to fetch. reserve_bytes are to stay free beyond the download, for whoever works on its files meanwhile."""

    listener: Listener
    on_file: OnFile | None = None
    connections: int = DEFAULT_CONNECTIONS
    patience: Patience = field(default_factory=Patience)
    segment_bytes: int = SEGMENT_BYTES
    reserve_bytes: int = 0
    token: str | None = None
    endpoint: str | None = None


class Intake:
    """Collects what is wanted with `add` and `add_wanted`, then `run` gets what is missing."""

    def __init__(self, root: Path, settings: Settings) -> None:
        self.root = root
        self.settings = settings
        self.present_bytes = 0
        self.moved_bytes = 0
        self.verified = VerifiedFiles()
        self._done = 0
        self._total = 0
        self._queue: dict[Path, Wanted] = {}
        self._arrived: dict[Path, list[Callable[[str], None]]] = {}
        self._settling = threading.Lock()

    def add(self, listing: Listing, files: Iterable[HubFile], on_file: OnFile | None = None) -> int:
        """Want these files of a repository. Content that is there and not known to be right is hashed now.

        on_file is told of each instead of the settings' one. Returns how many of their bytes are here, those of half
        finished files included. Raises OSError.
        """
        on_file = on_file or self.settings.on_file
        cache = RepoCache(self.root, listing.repo)
        unknown: list[tuple[HubFile, Path]] = []
        here = 0
        for file in files:
            place = cache.find(listing.commit, file)
            self._total += file.size
            if place is None:
                here += self._want(cache, listing, file, on_file)
            elif self.verified.holds(place, file.digest):
                here += self._is_present(cache, listing, file, on_file)
            else:
                unknown.append((file, place))
        for file, place in unknown:
            is_right = self._check(file, place)
            take = self._is_present if is_right else self._want
            here += take(cache, listing, file, on_file)
        return here

    def count_present(self, nbytes: int) -> None:
        """Let bytes that earlier runs fetched, and that need no file of the cache any more, show in the progress."""
        self._done += nbytes
        self._total += nbytes
        self.present_bytes += nbytes

    def tell(self, *active: FileProgress) -> None:
        """Show work between downloads, beside what is here so far."""
        self.settings.listener(Progress(self._done, self._total, self.moved_bytes, active))

    def add_wanted(self, wanted: Wanted, arrived: Callable[[str], None]) -> None:
        """Want a file made of parts of another. arrived(sha256) is called when it is complete."""
        self._total += wanted.nbytes
        self._queue[wanted.target] = wanted
        self._arrived[wanted.target] = [arrived]

    def run(self) -> None:
        """Fetch. Raises what Fleet.run raises, and DiskFullError before the first byte."""
        queue, self._queue = list(self._queue.values()), {}
        if not queue:
            self.tell()
            return
        _refuse_offline(queue[0])
        kept = sum(wanted.kept_bytes() for wanted in queue)
        self.present_bytes += kept
        needed = {self.root: self.settings.reserve_bytes}
        for wanted in queue:
            folder = wanted.target.parent
            needed[folder] = needed.get(folder, 0) + wanted.nbytes - wanted.kept_bytes()
        check_room(needed, kept=self._done + kept)
        fleet = Fleet(
            queue,
            connections=self.settings.connections,
            patience=self.settings.patience,
            listener=self.settings.listener,
            on_done=self._settle,
            before=self._done,
            moved_before=self.moved_bytes,
        )
        try:
            fleet.run()
        finally:
            self.moved_bytes = fleet.moved
            self._done, self._total = fleet.shown, fleet.total

    def _want(self, cache: RepoCache, listing: Listing, file: HubFile, on_file: OnFile | None) -> int:
        target = cache.blob(file)

        def arrived(_: str) -> None:
            pointer = cache.link(listing.commit, file)
            if on_file is not None:
                on_file(file.path, pointer)

        self._arrived.setdefault(target, []).append(arrived)
        if target in self._queue:
            self._total -= file.size  # the same content under a second name
            return 0
        source = Source.of(listing, file, token=self.settings.token, endpoint=self.settings.endpoint)
        pieces = whole_file(file.size, self.settings.segment_bytes)
        wanted = self._queue[target] = Wanted(source, target, cache.lock(file), pieces, file.digest)
        return wanted.kept_bytes()

    def _is_present(self, cache: RepoCache, listing: Listing, file: HubFile, on_file: OnFile | None) -> int:
        self._done += file.size
        self.present_bytes += file.size
        pointer = cache.link(listing.commit, file)
        if on_file is not None:
            on_file(file.path, pointer)
        return file.size

    def _check(self, file: HubFile, place: Path) -> bool:
        """Hash a file that somebody else put there. A wrong one is deleted: its hash says that nobody can want it."""
        hashed = 0

        def on_bytes(count: int) -> None:
            nonlocal hashed
            hashed += count
            self.tell(FileProgress(file.path, hashed, file.size, "checking what is there"))

        if self.verified.check(place, file.digest, on_bytes):
            return True
        self.settings.listener(
            Notice(f"{file.path} in the cache is damaged: its {file.digest.kind} is wrong. It is fetched again.")
        )
        place.unlink()
        return False

    def _settle(self, wanted: Wanted, hexdigest: str) -> None:
        with self._settling:
            digest = wanted.digest or Digest("sha256", hexdigest)
            try:
                self.verified.record(wanted.target, digest)
                for arrived in self._arrived[wanted.target]:
                    arrived(hexdigest)
            except OSError as error:
                raise cannot_write(Path(error.filename or wanted.target), error) from error


def _refuse_offline(wanted: Wanted) -> None:
    from huggingface_hub.constants import is_offline_mode
    from huggingface_hub.errors import OfflineModeIsEnabled

    if is_offline_mode():
        raise translate(OfflineModeIsEnabled(""), wanted.source.repo, wanted.source.commit)
