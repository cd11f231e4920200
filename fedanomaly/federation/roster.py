"""Which clients take part: they introduce themselves, are checked, and may join late."""

from __future__ import annotations

import time
from dataclasses import astuple

import numpy as np

from fedanomaly.core.arrays import Arrays, require, require_only
from fedanomaly.core.errors import FederationError, InvalidArrays
from fedanomaly.federation.config import RunConfig
from fedanomaly.federation.observer import ClientInfo, Event, Observer
from fedanomaly.federation.post import Post
from fedanomaly.federation.protocol import INTRODUCE, Task
from fedanomaly.federation.scores import Sizes

JOIN_POLL_SECONDS = 0.1


class Roster:
    """The clients of a run: partition id -> node id.

    Parameters
    ----------
    config : RunConfig
        Names the number of clients, the minimum and the time to wait for them.
    post : Post
        The way to the nodes.
    observer : Observer
        Told who joined and who was turned away.
    allowed : frozenset of int, optional
        Ids of the nodes that may join; None: all.

    Attributes
    ----------
    nodes : dict of int to int
        Node id by partition id, ascending.
    infos : dict of int to ClientInfo
        What each client said when it introduced itself.
    sizes : ndarray of shape (clients, 6), int64
        The same as an array; zeros for a client that was never in.
    """

    def __init__(
        self,
        config: RunConfig,
        post: Post,
        observer: Observer,
        allowed: frozenset[int] | None = None,
    ) -> None:
        self.config = config
        self.allowed = allowed
        self.post = post
        self.observer = observer
        self.nodes: dict[int, int] = {}
        self.infos: dict[int, ClientInfo] = {}
        self.feature_names: tuple[str, ...] = ()
        self.sizes: Sizes = np.zeros((config.clients, 6), dtype=np.int64)
        self._fingerprint = ""
        self._seen: set[int] = set()

    @property
    def rows(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Training rows by partition id; 0 for a client that is not in."""
        return self.sizes[:, 0].copy()

    def gather(self) -> None:
        """Wait until all clients are in, or the time is up and a majority is.

        Raises
        ------
        FederationError
            If too few clients come in time.
        """
        deadline = time.monotonic() + self.config.join_timeout
        up = -1
        while len(self.nodes) < self.config.clients and time.monotonic() < deadline:
            self.admit(server_round=0)
            if len(self.nodes) != up:
                up = len(self.nodes)
                self.observer.waiting(up, self.config.clients)
            if up < self.config.clients:
                time.sleep(JOIN_POLL_SECONDS)
        if len(self.nodes) < self.config.majority:
            raise FederationError(
                f"only {len(self.nodes)} of {self.config.clients} clients joined within "
                f"{self.config.join_timeout:g} s and at least {self.config.majority} are needed; "
                "start the others with `python run_clients.py`, or lower --min-clients"
            )
        for client in sorted(set(range(self.config.clients)) - set(self.nodes)):
            self._report(0, str(client), "did not join in time", "started without it")
        self.observer.joined(dict(self.infos))

    def drop_lost(self, server_round: int, phase: str) -> None:
        """Take clients whose node went offline out of the roster, by name and once."""
        online = set(self.post.nodes())
        for client in [client for client, node in self.nodes.items() if node not in online]:
            del self.nodes[client]
            event = Event(
                server_round, phase, str(client), "its node went offline", "left out until it returns"
            )
            self.observer.event(event)

    def admit(self, server_round: int) -> list[int]:
        """Let nodes not seen before introduce themselves; return the partition ids that joined."""
        online = set(self.post.nodes())
        new = sorted(online - self._seen)
        self._seen.update(new)
        if self.allowed is not None:
            for stranger in sorted(set(new) - self.allowed):
                what = "was turned away: its key is not among those this server was given"
                self._report(server_round, f"node {stranger}", what, "ignored")
            new = [node for node in new if node in self.allowed]
        if not new:
            return []
        task = Task("setup", 0, server_round, ())
        nothing: Arrays = {}
        came: dict[int, tuple[int, float, Arrays]] = {}
        refused: dict[int, str] = {}
        for replies in self.post.ask(INTRODUCE, task, dict.fromkeys(new, nothing)):
            said = zip(replies.clients, replies.spent[:, 0].tolist(), replies.batch.each, strict=True)
            came |= zip(replies.nodes, said, strict=True)
            refused |= replies.failures
        joined = []
        for node in new:
            try:
                if node in refused:
                    raise InvalidArrays(refused[node])
                info = self._introduced(*came[node])
            except InvalidArrays as error:
                self._report(server_round, f"node {node}", f"was turned away: {error}", "ignored")
                continue
            if self.nodes.get(info.client) in online:
                what = f"a second client says it is number {info.client}"
                self._report(
                    server_round, f"node {node}", what, "ignored; give every client its own --client-id"
                )
                continue
            self.nodes[info.client] = node
            self.infos[info.client] = info
            joined.append(info.client)
            if server_round > 0:
                self._report(server_round, str(info.client), "joined late", "takes part from this round on")
        self.nodes = dict(sorted(self.nodes.items()))
        self.sizes = self.sizes.copy()
        for client in joined:
            self.sizes[client] = astuple(self.infos[client])[1:]
        return joined

    def _introduced(self, client: int, rows: float, arrays: Arrays) -> ClientInfo:
        require_only(arrays, {"sizes", "feature_names", "fingerprint"})
        sizes = [int(n) for n in require(arrays, "sizes", kind="i", shape=(6,), low=0, high=2**40)]
        names = tuple(str(name) for name in require(arrays, "feature_names", kind="U", shape=(None,)))
        fingerprint = str(require(arrays, "fingerprint", kind="U", shape=()))
        if not 0 <= client < self.config.clients:
            raise InvalidArrays(
                f"it says it is client {client}, but the run has clients 0 to {self.config.clients - 1}"
            )
        if any(sizes[fold + 1] > sizes[fold] for fold in (0, 2, 4)) or sizes[0] != rows:
            raise InvalidArrays(f"its row counts contradict each other: {sizes}")
        if not names:
            raise InvalidArrays("it has no features")
        if not self.feature_names:
            self.feature_names, self._fingerprint = names, fingerprint
        if (names, fingerprint) != (self.feature_names, self._fingerprint):
            raise InvalidArrays(
                "its data is not the data of the other clients; give all the same --data-path"
            )
        return ClientInfo(client, *sizes)

    def _report(self, server_round: int, client: str, what: str, action: str) -> None:
        self.observer.event(Event(server_round, "join", client, what, action))


def introduction(info: ClientInfo, feature_names: tuple[str, ...], fingerprint: str) -> Arrays:
    """Return what a client says of itself."""
    sizes = [
        info.train,
        info.train_frauds,
        info.calibration,
        info.calibration_frauds,
        info.test,
        info.test_frauds,
    ]
    return {
        "sizes": np.asarray(sizes, dtype=np.int64),
        "feature_names": np.asarray(feature_names, dtype=np.str_),
        "fingerprint": np.asarray(fingerprint),
    }
