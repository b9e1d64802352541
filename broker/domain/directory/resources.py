"""The named things a cluster holds, found by name, by id, in pages by name, and by what is unfinished or restriped.

Every way of finding has its own index, kept at each change, so that nothing scans. Knows nothing of commands.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator
from itertools import islice, takewhile

from broker.base.ids import GroupId
from broker.domain.directory.commands import Resource

CREATING, ACTIVE, DELETING = "creating", "active", "deleting"
_LAST_CHARACTER = "\U0010ffff"


class Resources:
    """All resources, of all kinds."""

    __slots__ = ("_active_names", "_by_id", "_by_name", "_in_group", "_restriped", "_unfinished", "_unsettled")

    def __init__(self, resources: Iterable[Resource] = ()) -> None:
        self._by_id: dict[tuple[str, int], Resource] = {}
        self._by_name: dict[tuple[str, str], Resource] = {}
        self._active_names: dict[str, list[str]] = {}
        """By kind, sorted."""
        self._in_group: dict[GroupId, int] = {}
        self._unfinished: dict[tuple[str, int], Resource] = {}
        """In the order in which they became so."""
        self._restriped: dict[tuple[str, int], Resource] = {}
        """Active ones whose stripes have ever changed, by ascending version."""
        self._unsettled: dict[tuple[str, int], Resource] = {}
        for resource in resources:
            self.put(resource)
        self._restriped = dict(sorted(self._restriped.items(), key=lambda item: item[1].version))

    def __iter__(self) -> Iterator[Resource]:
        return iter(self._by_id.values())

    def by_id(self, kind: str, identity: int) -> Resource | None:
        return self._by_id.get((kind, identity))

    def by_name(self, kind: str, name: str) -> Resource | None:
        return self._by_name.get((kind, name))

    def count_in(self, group: GroupId) -> int:
        return self._in_group.get(group, 0)

    def put(self, resource: Resource) -> None:
        """Add it, or replace what has its id."""
        key = (resource.kind, resource.id)
        known = self._by_id.get(key)
        if known is not None and known.state == resource.state == ACTIVE:
            self._replace(key, known, resource)
            return
        self.remove(resource.kind, resource.id)
        self._by_id[key] = resource
        self._by_name[resource.kind, resource.name] = resource
        self._count(resource, 1)
        if resource.state == ACTIVE:
            insort(self._active_names.setdefault(resource.kind, []), resource.name)
            self._keep_stripes(key, resource)
        else:
            self._unfinished[key] = resource

    def remove(self, kind: str, identity: int) -> None:
        """Nothing if there is none."""
        resource = self._by_id.pop((kind, identity), None)
        if resource is None:
            return
        del self._by_name[kind, resource.name]
        self._count(resource, -1)
        if resource.state == ACTIVE:
            names = self._active_names[kind]
            del names[bisect_left(names, resource.name)]
            self._restriped.pop((kind, identity), None)
            self._unsettled.pop((kind, identity), None)
        else:
            del self._unfinished[kind, identity]

    def page(self, kind: str, prefix: str, after: str, limit: int) -> tuple[tuple[Resource, ...], bool]:
        """Active ones by name, those after ``after``; and whether there are more."""
        names = self._active_names.get(kind, [])
        start = bisect_left(names, prefix)
        if after:
            start = max(start, bisect_right(names, after))
        end = bisect_right(names, prefix + _LAST_CHARACTER * 2) if prefix else len(names)
        chosen = names[start : min(end, start + limit)]
        return tuple(self._by_name[kind, name] for name in chosen), start + limit < end

    def unfinished(self, before: int) -> tuple[Resource, ...]:
        """Those neither active nor gone, since before ``before``."""
        since = (index for index, each in enumerate(self._unfinished.values()) if each.since >= before)
        return tuple(islice(self._unfinished.values(), next(since, len(self._unfinished))))

    def restriped(self, after: int, limit: int) -> tuple[Resource, ...]:
        """Active ones whose stripes have changed, those with a version above ``after``, ascending."""
        newest = takewhile(lambda resource: resource.version > after, reversed(self._restriped.values()))
        return tuple(list(newest)[::-1][:limit])

    def unsettled(self) -> tuple[Resource, ...]:
        """Active ones that are on their way from some stripes to others, or that are being told something, by id."""
        return tuple(self._unsettled[key] for key in sorted(self._unsettled))

    # --- inside

    def _replace(self, key: tuple[str, int], known: Resource, resource: Resource) -> None:
        """What stays active under its name: no index of names changes."""
        self._by_id[key] = resource
        self._by_name[resource.kind, resource.name] = resource
        self._count(known, -1)
        self._count(resource, 1)
        self._keep_stripes(key, resource)

    def _count(self, resource: Resource, by: int) -> None:
        for group in resource.everywhere:
            self._in_group[group] = self.count_in(group) + by

    def _keep_stripes(self, key: tuple[str, int], resource: Resource) -> None:
        if resource.version:
            known = self._restriped.get(key)
            if known is not None and known.version != resource.version:
                del self._restriped[key]  # to the end
            self._restriped[key] = resource
        if resource.joining or resource.draining or resource.tellings:
            self._unsettled[key] = resource
        else:
            self._unsettled.pop(key, None)
