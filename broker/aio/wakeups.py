"""Reads all of gRPC's wake-ups at once. For whoever makes the first server or channel of grpc.aio in an event loop.

A thread of grpc.aio writes a byte into a socket for every event, and the event loop, once woken, handles all events but
reads one byte. Where turns of the loop are long, several events come with each, bytes pile up, and after some 280 the
socket is full: then the thread waits, and no call of the process goes on for some 200 turns, in which the loop reads
bytes and finds nothing to do. On a busy node that is seconds.

This room must not know what the events are.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import cycle
from typing import Any

READER = "PollerCompletionQueue"
"""The class of grpc.aio whose method is called when its socket can be read."""
_AT_ONCE = 4_096
"""Bytes; more than such a socket holds."""
_EVERY = 4
"""Times that it is woken: asking how many bytes there are costs a system call, and it takes hundreds to do harm."""


@contextmanager
def all_read_at_once() -> Iterator[None]:
    """grpc.aio, if it meets the running loop for the first time inside, will leave no bytes behind for long. Outside of
    an event loop, and for what it met before, nothing changes."""
    try:
        loop: Any = asyncio.get_running_loop()
    except RuntimeError:
        yield
        return
    register = loop.add_reader

    def add_reader(file: Any, callback: Callable[..., object], *args: Any) -> Any:
        called = getattr(callback, "func", callback)
        if type(getattr(called, "__self__", None)).__name__ == READER and isinstance(file, socket.socket):
            callback = partial(_handle, file, cycle(range(_EVERY)), callback)
        return register(file, callback, *args)

    loop.add_reader = add_reader
    try:
        yield
    finally:
        del loop.add_reader


def _handle(wakeups: socket.socket, turns: Iterator[int], handle: Callable[..., object], *args: Any) -> None:
    """``handle`` reads the last one."""
    if next(turns):
        handle(*args)
        return
    try:
        waiting = len(wakeups.recv(_AT_ONCE, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        if waiting > 1:
            wakeups.recv(waiting - 1, socket.MSG_DONTWAIT)
    except BlockingIOError:  # another loop was quicker, and has handled what there was
        return
    handle(*args)
