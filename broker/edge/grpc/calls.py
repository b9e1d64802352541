"""What every call gets, whatever it is: a deadline, metrics, and errors in their canonical form.

Handlers are wrapped once, when the server is built: an interceptor of grpc would cost every call again. The handlers
beneath know no gRPC status and no trailer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import grpc
import grpc.aio
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, ServiceDescriptor
from google.protobuf.message import DecodeError

from broker.aio.system_clock import microseconds
from broker.base.errors import BrokerError, DeadlineExceeded, InvalidArgument
from broker.base.instants import SECOND, Clock, Millis
from broker.edge.grpc.errors import ErrorTable
from broker.edge.grpc.gone_callers import abort
from broker.telemetry.metrics import Counter, Registry

Unary = Callable[[Any, Millis], Awaitable[Any]]
"""Takes the request and its deadline (an instant of the monotonic clock, ms), returns the response."""
Streaming = Callable[[grpc.aio.ServicerContext[Any, Any]], Awaitable[None]]
"""Reads requests from and writes responses to the context until it returns."""

if TYPE_CHECKING:
    Handler = grpc.RpcMethodHandler[Any, Any]

DEFAULT_TIMEOUT = Millis(30 * SECOND)
"""For calls whose caller set no deadline."""
ANSWER_MARGIN = Millis(100)
"""Kept free of a call's time, at most a tenth of it: why it failed must reach the caller before the deadline."""
_CANCELLED = "CANCELLED"
_OK = "OK"


class Gate(Protocol):
    """Of a method that may have to make way. Both raise what the call is refused with."""

    def look(self) -> None:
        """Before anything of its request is read."""

    def begin(self, waited: Millis) -> None:
        """Its request is there, ``waited`` ms after ``look``, and not decoded yet. ``end`` follows in any case."""

    def end(self) -> None: ...


class Unreadable:
    """Stands for a request of a stream that is none: raised by gRPC, it would be a failure of the server's, logged as
    such."""

    def __init__(self, error: InvalidArgument) -> None:
        self.error = error


def _reader(kind: Descriptor) -> Callable[[bytes], Any]:
    """Raises InvalidArgument for bytes that are none of ``kind``."""
    parse = message_factory.GetMessageClass(kind).FromString

    def read(data: bytes) -> Any:
        try:
            return parse(data)
        except DecodeError as error:
            raise InvalidArgument(f"{len(data)} bytes are no {kind.name}: {error}") from None

    return read


def _or_unreadable(read: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def read_or_tell(data: bytes) -> Any:
        try:
            return read(data)
        except InvalidArgument as error:
            return Unreadable(error)

    return read_or_tell


class Calls:
    def __init__(self, clock: Clock, registry: Registry, table: ErrorTable) -> None:
        self.clock = clock
        self.table = table
        self._registry = registry
        self._counters: dict[tuple[str, str], Counter] = {}

    def handlers(
        self,
        service: ServiceDescriptor,
        unary: Mapping[str, Unary],
        streaming: Mapping[str, Streaming],
        gates: Mapping[str, Gate] | None = None,
    ) -> grpc.GenericRpcHandler:
        """Of all methods of ``service``. ``gates``: of some unary methods.

        Raises KeyError when one has no handler.
        """
        made: dict[str, Handler] = {}
        gated: dict[str, Callable[[], Handler]] = {}
        for method in service.methods:
            read = _reader(method.input_type)
            write = message_factory.GetMessageClass(method.output_type).SerializeToString
            name = f"{service.full_name}/{method.name}"
            gate = (gates or {}).get(method.name)
            if method.client_streaming:
                serve: Any = self._streaming(name, streaming[method.name])
                made[f"/{name}"] = grpc.stream_stream_rpc_method_handler(serve, _or_unreadable(read), write)
            elif gate is None:
                answer: Any = self._unary(name, unary[method.name], read)
                made[f"/{name}"] = grpc.unary_unary_rpc_method_handler(answer, None, write)
            else:
                gated[f"/{name}"] = self._gated(name, gate, self._unary(name, unary[method.name], read, gate), write)
        return _Handlers(made, gated)

    def _gated(self, method: str, gate: Gate, answer: Any, write: Callable[[Any], bytes]) -> Callable[[], Handler]:
        def look() -> Handler:
            """What answers the call that is to come, or refuses it."""
            try:
                gate.look()
            except BrokerError as error:
                refusal = error
            else:
                return _Looked(partial(answer, looked=microseconds()), write)

            async def refuse(_: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
                self._count(method, refusal.code)
                await abort(context, refusal)

            # As a stream, so that the request is not even waited for.
            handler: Any = grpc.stream_stream_rpc_method_handler(refuse)
            return handler  # type: ignore[no-any-return]

        return look

    def _unary(
        self, method: str, behaviour: Unary, read: Callable[[bytes], Any], gate: Gate | None = None
    ) -> Callable[..., Awaitable[Any]]:
        latency = self._registry.histogram("broker_grpc_call_seconds", "Duration of unary calls.", {"method": method})

        async def answer(data: bytes, context: grpc.aio.ServicerContext[Any, Any], looked: int = 0) -> Any:
            """``looked``: when the gate was asked, in microseconds."""
            started = microseconds()
            outcome = _CANCELLED
            try:
                if gate is not None:
                    gate.begin(Millis((started - looked) // 1000))
                deadline = self._deadline(context)  # before it is read: who has given up is not to cost that
                response = await behaviour(read(data), deadline)
                outcome = _OK
                return response
            except Exception as error:  # every failure ends here, as a status the caller can read
                expected = self.table.expected(error, method)
                outcome = expected.code
                await abort(context, expected)
            finally:
                if gate is not None:
                    gate.end()
                latency.observe(microseconds() - started)
                self._count(method, outcome)

        return answer

    def _streaming(self, method: str, behaviour: Streaming) -> Callable[[Any, Any], Awaitable[None]]:
        open_now = self._registry.gauge("broker_grpc_open_streams", "Streams open now.", {"method": method})

        async def serve(_: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
            open_now.value += 1
            outcome = _CANCELLED
            try:
                await behaviour(context)
                outcome = _OK
            except Exception as error:  # as above
                expected = self.table.expected(error, method)
                outcome = expected.code
                await abort(context, expected)
            finally:
                open_now.value -= 1
                self._count(method, outcome)

        return serve

    def _deadline(self, context: grpc.aio.ServicerContext[Any, Any]) -> Millis:
        remaining: float | None = context.time_remaining()  # None without a deadline, whatever its type says
        if remaining is None:
            return Millis(self.clock.monotonic() + DEFAULT_TIMEOUT)
        if remaining <= 0:
            raise DeadlineExceeded("the call's deadline was over when it arrived; allow more time")
        allowed = int(remaining * SECOND)
        return Millis(self.clock.monotonic() + allowed - min(ANSWER_MARGIN, allowed // 10))

    def _count(self, method: str, outcome: str) -> None:
        counter = self._counters.get((method, outcome))
        if counter is None:
            labels = {"method": method, "code": outcome}
            counter = self._registry.counter("broker_grpc_calls", "Calls by method and outcome.", labels)
            self._counters[(method, outcome)] = counter
        counter.value += 1


class _Looked(grpc.RpcMethodHandler):  # type: ignore[type-arg]  # generic for its types only, not when it runs
    """Of one unary call. As what grpc makes, at a fifth of the cost."""

    request_streaming = False
    response_streaming = False
    request_deserializer = None

    def __init__(self, unary_unary: Any, response_serializer: Callable[[Any], bytes]) -> None:
        self.unary_unary = unary_unary
        self.response_serializer = response_serializer


class _Handlers(grpc.GenericRpcHandler):
    def __init__(self, handlers: Mapping[str, Handler], gated: Mapping[str, Callable[[], Handler]]) -> None:
        self._handlers = handlers
        self._gated = gated

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        """What serves a call of which nothing but the headers has been read; None when it is not for us."""
        method = handler_call_details.method
        look = self._gated.get(method)
        return self._handlers.get(method) if look is None else look()
