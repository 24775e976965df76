"""What every history of a pool keeps to, read from its events alone: the fold is not asked.

The figures are those a user reasons with: who holds what, of which device, and who was passed by.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from semantica.pipeline.events import resource as r
from semantica.pipeline.events.envelope import Envelope
from semantica.pipeline.events.upcasters import PoolEvent, to_event

DUST = 1e-5
"""Amounts have six decimals."""


class Ledger:
    """A reading of one pool's events, in order; :meth:`read` fails at the first broken promise."""

    def __init__(self) -> None:
        self.version = 0
        self.granted = 0
        self.resources: dict[str, r.ResourceRegistered] = {}
        self.reserved: dict[str, r.ResourceReserved] = {}
        self.requests: dict[str, r.AllocationRequested] = {}
        self.held: dict[str, tuple[r.AllocationRequested, r.AllocationGranted]] = {}
        self.limits: dict[str, r.RateLimited] = {}
        self.starts: dict[str, list[int]] = defaultdict(list)
        self.shares: dict[str, list[tuple[int, float]]] = {}
        """Of each device, by allocation."""
        self.passed: dict[str, int] = {}
        """Of those who wait: how many that came later were served."""

    def read(self, envelopes: Iterable[Envelope]) -> None:
        for envelope in envelopes:
            assert envelope.version == self.version + 1, "versions have no gaps"
            self.version = envelope.version
            event = to_event(envelope)
            assert not isinstance(event, r.PoolConfigured) or event.ordering in r.Ordering
            self._read(event, envelope.at)  # type: ignore[arg-type]

    def _read(self, event: PoolEvent, at: int) -> None:
        match event:
            case r.ResourceRegistered():
                self.resources[event.resource] = event
            case r.ResourceResized():
                before = self.resources[event.resource]
                self.resources[event.resource] = r.ResourceRegistered(
                    event.resource, before.type, event.capacity, before.soft, before.indices
                )
            case r.ResourceRemoved():
                assert not self.held_of(event.resource), "what is held is not removed"
                del self.resources[event.resource]
                for key in [k for k, v in self.reserved.items() if v.resource == event.resource]:
                    del self.reserved[key]
            case r.ResourceReserved():
                self.reserved[event.reservation] = event
            case r.ResourceUnreserved():
                self.reserved.pop(event.reservation, None)
            case r.RateLimited():
                self.limits[event.step_type] = event
                self.starts.pop(event.step_type, None)
            case r.AllocationRequested():
                assert event.allocation not in self.requests.keys() | self.held.keys()
                self.requests[event.allocation] = event
                self.passed[event.allocation] = 0
            case r.AllocationGranted():
                self._grant(event, at)
            case r.AllocationReleased():
                del self.held[event.allocation]
            case r.AllocationWithdrawn() | r.AllocationDenied():
                del self.requests[event.allocation]
        self._devices()

    def _devices(self) -> None:
        indices = [index for one in self.resources.values() for index in one.indices]
        assert len(indices) == len(set(indices)), "two resources have the same device"
        shares: dict[int, float] = defaultdict(float)
        for key in self.held:
            for index, share in self.shares[key]:
                shares[index] += share
        assert all(share < 1 + DUST for share in shares.values()), "a device is given twice"

    def _grant(self, event: r.AllocationGranted, at: int) -> None:
        request = self.requests.pop(event.allocation)
        earlier = [key for key in self.requests if self._came_before(key, event.allocation)]
        for key in earlier:
            self.passed[key] += 1
        self._placed(request, event)
        for name, amount in event.grants.items():
            left = self.free(name, {request.pipeline, request.step, request.step_type})
            assert amount <= left + DUST, f"{amount} of {name} are held, and {left} were free"
        self.held[event.allocation] = request, event
        self.granted += 1
        self._rate(request.step_type, at)

    def _came_before(self, one: str, other: str) -> bool:
        return int(one) < int(other)

    def _placed(self, request: r.AllocationRequested, event: r.AllocationGranted) -> None:
        assert sum(event.grants.values()) - sum(request.amounts.values()) < DUST
        for name in event.grants:
            known = self.resources[name]
            assert name in request.amounts or known.type in request.amounts
        shares = self.shares[event.allocation] = []
        for name, amount in event.grants.items():
            if self.resources[name].type is r.ResourceType.GPU:
                mine = [i for i in event.gpus if i in self.resources[name].indices]
                assert len(mine) == max(1, int(amount)), "a device for each, or one for a share"
                shares += [(index, min(1.0, amount)) for index in mine]
        assert sorted(event.gpus) == sorted(i for i, _ in shares), "devices that are not there"

    def _rate(self, step_type: str | None, at: int) -> None:
        limit = self.limits.get(step_type or "")
        if limit is None or not limit.limit:
            return
        starts = self.starts[limit.step_type]
        starts.append(at)
        window = [start for start in starts if start > at - limit.interval * 1e9]
        assert len(window) <= limit.limit, "more starts than the rate allows"

    # -- figures ---------------------------------------------------------------------------------

    def held_of(self, name: str, holders: set[str | None] | None = None) -> float:
        """What is held of a resource, by anybody or by those of these names."""
        total = 0.0
        for request, grant in self.held.values():
            names = {request.pipeline, request.step, request.step_type}
            if holders is None or holders & names:
                total += grant.grants.get(name, 0.0)
        return total

    def free(self, name: str, names: set[str | None]) -> float:
        """What is left of a resource for somebody of these names."""
        kept: dict[str, float] = defaultdict(float)
        for one in self.reserved.values():
            if one.resource == name and one.holder not in names:
                kept[one.holder] += one.amount
        for_others = sum(max(0.0, n - self.held_of(name, {who})) for who, n in kept.items())
        return self.resources[name].capacity - self.held_of(name) - for_others
