"""The peer port, before anybody is known: whatever a stranger sends costs a few kilobytes and one connection."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from broker.aio.tasks import TaskScope
from broker.transport.frames import HELLO, READY, REFUSED
from broker.transport.handshake import Forgetful, Hello, Identity, Refused, encode
from broker.transport.introduction import Doorman
from broker.transport.peer import Connection
from tests.fuzz.examples import many
from tests.fuzz.peer_strategies import other_payloads
from tests.fuzz.wires import End, damaged, framed

ME = Identity("test", "b-0", (1, 0))
MOST_BUFFERED = 16 * 1024

words = st.one_of(st.sampled_from(["test", "a-0", "b-0", "control", "bulk", ""]), st.text(max_size=12))
hellos = st.builds(
    Hello, st.integers(-1, 3), st.integers(), words, words, words, st.sampled_from(["control", "bulk"])
).map(lambda hello: framed(HELLO, _encoded(hello)))
welcome = st.just(framed(HELLO, encode(Hello(1, 0, "test", "a-0", "b-0", "control"))))
frames = st.one_of(
    hellos,
    welcome,
    st.just(framed(READY, b"")),
    st.builds(lambda code, reason: framed(REFUSED, encode(Refused(code, reason))), words, st.text(max_size=600)),
    st.builds(framed, st.integers(0, 255), other_payloads),
)
sayings = st.one_of(
    st.binary(max_size=400),
    st.lists(frames, max_size=5).map(b"".join),
    st.builds(
        damaged,
        st.lists(frames, min_size=1, max_size=3).map(b"".join),
        st.integers(0, 10_000),
        st.integers(0, 255),
        st.integers(0, 60),
    ),
    st.just(b"x" * 9_000),
    st.just(framed(HELLO, b"x" * 9_000)),
)


def _encoded(hello: Hello) -> bytes:
    try:
        return encode(hello)
    except (OverflowError, UnicodeEncodeError):  # hypothesis counts further than msgpack
        return b""


@many
@given(sayings, st.lists(st.integers(1, 50), max_size=8))
def test_a_stranger_may_say_anything(said: bytes, sizes: list[int]) -> None:
    asyncio.run(_stranger(said, sizes))


async def _stranger(said: bytes, sizes: list[int]) -> None:
    failures: list[tuple[str, BaseException]] = []
    accepted: list[Connection] = []
    dismissed: list[str] = []
    async with TaskScope("test", lambda what, error: failures.append((what, error))) as scope:

        def welcomed(connection: Connection, _: Hello) -> None:
            accepted.append(connection)
            connection.close("welcome, and goodbye", announce=False)

        doorman = Doorman(ME, {"a-0"}, False, Forgetful(), welcomed, lambda _, reason: dismissed.append(reason))
        end = End(doorman, scope)
        end.feed(said, sizes)
        assert end.largest_buffer <= MOST_BUFFERED
        assert end.connection.open or dismissed or accepted
        end.lose()
        assert accepted or all(dismissed), "why it ended is told"
    assert failures == []
