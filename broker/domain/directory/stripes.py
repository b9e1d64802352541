"""How the groups over which a resource is spread change, one step at a time. Pure functions: resource in, resource out.

A group is a candidate, then joining, then a stripe, then draining, then a candidate again, and never goes back. So
whoever has seen a group draining may take it that nobody will make a stripe of it before it has been dropped. The home
group, the first, is always a stripe.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import msgspec

from broker.base.errors import InvalidArgument, Unavailable
from broker.base.ids import GroupId
from broker.base.instants import MINUTE, Millis, WallMillis
from broker.base.limits import SESSION_IDLE_LIFETIME
from broker.domain.directory.commands import Former, Resource

FORMER_LIFETIME = Millis(SESSION_IDLE_LIFETIME + 5 * MINUTE)
"""How long former stripes are told: longer than any group remembers what it answered to a session."""
MAX_FORMER = 16
"""Changes of a resource's stripes within FORMER_LIFETIME."""


def check_count(what: str, stripes: int, data_groups: int) -> None:
    """Raises InvalidArgument."""
    if not 1 <= stripes <= data_groups:
        raise InvalidArgument(
            f"{what} cannot have {stripes} stripes, the cluster has {data_groups} data groups: use 1 to {data_groups}"
        )


def spread(resource: Resource, stripes: int, by_load: Sequence[GroupId], at: WallMillis) -> Resource:
    """On the way to ``stripes`` stripes. ``by_load``: all data groups, those first that should take more.

    Raises InvalidArgument, Unavailable.
    """
    what = f"{resource.kind} {resource.name}"
    check_count(what, stripes, len(by_load))
    kept = resource.groups[:stripes]
    staying = resource.joining[: stripes - len(kept)]
    leaving = resource.groups[stripes:] + resource.joining[len(staying) :]
    wanted = stripes - len(kept) - len(staying)
    free = [group for group in by_load if group not in resource.everywhere]
    if wanted > len(free):
        raise Unavailable(
            f"{what} cannot have {stripes} stripes now: {len(resource.draining)} of the {len(by_load)} data groups may "
            f"still hold something of its former stripes; retry when they are empty"
        )
    changed = msgspec.structs.replace(
        resource,
        stripes=_without_home_alone(kept),
        joining=staying + tuple(free[:wanted]),
        draining=resource.draining + leaving,
    )
    if changed == resource:
        return resource
    if len(_lately(resource.former, at)) >= MAX_FORMER:
        raise Unavailable(
            f"the stripes of {what} have changed {MAX_FORMER} times in {FORMER_LIFETIME // MINUTE} minutes: retry later"
        )
    return _remembering(resource, changed, at)


def restripe(
    resource: Resource,
    joined: Collection[GroupId],
    abandoned: Collection[GroupId],
    dropped: Collection[GroupId],
    at: WallMillis,
) -> Resource:
    """Raises Unavailable when a group is not what it is said to be."""
    missing = [group for group in (*joined, *abandoned) if group not in resource.joining]
    missing += [group for group in abandoned if group in joined]
    missing += [group for group in dropped if group in resource.groups + resource.joining]
    if missing:
        raise Unavailable(
            f"the stripes of {resource.kind} {resource.name} were changed by another call meanwhile (group "
            f"{', '.join(map(str, missing))}): retry"
        )
    changed = msgspec.structs.replace(
        resource,
        stripes=_without_home_alone(resource.groups + tuple(_of(resource.joining, joined))),
        joining=tuple(group for group in resource.joining if group not in joined and group not in abandoned),
        draining=tuple(group for group in resource.draining if group not in dropped)
        + tuple(_of(resource.joining, abandoned)),
    )
    return resource if changed == resource else _remembering(resource, changed, at)


def _remembering(before: Resource, after: Resource, at: WallMillis) -> Resource:
    former, layout = _lately(before.former, at), before.layout
    if before.groups != after.groups:
        former += (Former(before.groups, at, layout),)
        layout += 1
    return msgspec.structs.replace(after, former=former, layout=layout, changed=at)


def _lately(former: tuple[Former, ...], at: WallMillis) -> tuple[Former, ...]:
    return tuple(each for each in former if each.until + FORMER_LIFETIME > at)


def _of(groups: Iterable[GroupId], chosen: Collection[GroupId]) -> Iterable[GroupId]:
    return (group for group in groups if group in chosen)


def _without_home_alone(stripes: tuple[GroupId, ...]) -> tuple[GroupId, ...]:
    return stripes if len(stripes) > 1 else ()
