"""What every call gets, whatever it is: a deadline, metrics, and errors in their canonical form.

Handlers are wrapped once, when the server is built: an interceptor of grpc would cost every call again. The handlers
beneath know no gRPC status and no trailer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import grpc
import grpc.aio
from google.protobuf import message_factory
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import DecodeError

from broker.aio.system_clock import microseconds
from broker.base.errors import BrokerError, DeadlineExceeded, InvalidArgument
from broker.base.instants import SECOND, Clock, Millis
from broker.edge.grpc.errors import ErrorTable, status_of, trailers_of
from broker.telemetry.metrics import Counter, Registry

Unary = Callable[[Any, Millis], Awaitable[Any]]
"""Takes the request and its deadline (an instant of the monotonic clock, ms), returns the response."""
Streaming = Callable[[grpc.aio.ServicerContext[Any, Any]], Awaitable[None]]
"""Reads requests from and writes responses to the context until it returns."""

DEFAULT_TIMEOUT = Millis(30 * SECOND)
"""For calls whose caller set no deadline."""
ANSWER_MARGIN = Millis(100)
"""Kept free of a call's time, at most a tenth of it: why it failed must reach the caller before the deadline."""
_CANCELLED = "CANCELLED"
_OK = "OK"


Gate = Callable[[], None]
"""Raises what a call is refused with."""


class Unreadable:
    """Stands for a request that is none: raised by gRPC, it would be a failure of the server's, logged as such."""

    def __init__(self, error: InvalidArgument) -> None:
        self.error = error


def _reader(read: Callable[[bytes], Any], name: str) -> Callable[[bytes], Any]:
    def read_or_tell(data: bytes) -> Any:
        try:
            return read(data)
        except DecodeError as error:
            return Unreadable(InvalidArgument(f"{len(data)} bytes are no {name}: {error}"))

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
        """Of all methods of ``service``. ``gates``: of some methods, asked before a request is read.

        Raises KeyError when one has no handler.
        """
        made: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
        for method in service.methods:
            deserializer = _reader(
                message_factory.GetMessageClass(method.input_type).FromString, method.input_type.name
            )
            serializer = message_factory.GetMessageClass(method.output_type).SerializeToString
            full_name = f"{service.full_name}/{method.name}"
            if method.client_streaming:
                behaviour: Any = self._streaming(full_name, streaming[method.name])
                make: Any = grpc.stream_stream_rpc_method_handler
            else:
                behaviour = self._unary(full_name, unary[method.name])
                make = grpc.unary_unary_rpc_method_handler
            made[method.name] = make(behaviour, request_deserializer=deserializer, response_serializer=serializer)
        prefix = f"/{service.full_name}/"
        return _Handlers(
            {prefix + name: handler for name, handler in made.items()},
            {prefix + name: self._gate(prefix[1:] + name, gate) for name, gate in (gates or {}).items()},
        )

    def _gate(self, method: str, gate: Gate) -> Callable[[], grpc.RpcMethodHandler[Any, Any] | None]:
        def look() -> grpc.RpcMethodHandler[Any, Any] | None:
            """What refuses the call that is to come; None: it may come."""
            try:
                gate()
            except BrokerError as error:
                refusal = error
            else:
                return None

            async def refuse(_: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
                self._count(method, refusal.code)
                await _abort(context, refusal)

            # As a stream, so that the request is not even waited for.
            handler: Any = grpc.stream_stream_rpc_method_handler(refuse)
            return handler  # type: ignore[no-any-return]

        return look

    def _unary(self, method: str, behaviour: Unary) -> Callable[[Any, Any], Awaitable[Any]]:
        latency = self._registry.histogram("broker_grpc_call_seconds", "Duration of unary calls.", {"method": method})

        async def answer(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            started = microseconds()
            outcome = _CANCELLED
            try:
                if isinstance(request, Unreadable):
                    raise request.error
                response = await behaviour(request, self._deadline(context))
                outcome = _OK
                return response
            except Exception as error:  # every failure ends here, as a status the caller can read
                expected = self.table.expected(error, method)
                outcome = expected.code
                await _abort(context, expected)
            finally:
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
                await _abort(context, expected)
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


class _Handlers(grpc.GenericRpcHandler):
    def __init__(
        self,
        handlers: Mapping[str, grpc.RpcMethodHandler[Any, Any]],
        gates: Mapping[str, Callable[[], grpc.RpcMethodHandler[Any, Any] | None]],
    ) -> None:
        self._handlers = handlers
        self._gates = gates

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        """What serves a call of which nothing but the headers has been read; None when it is not for us."""
        method = handler_call_details.method
        gate = self._gates.get(method)
        refusing = None if gate is None else gate()
        return self._handlers.get(method) if refusing is None else refusing


async def _abort(context: grpc.aio.ServicerContext[Any, Any], error: BrokerError) -> None:
    await context.abort(status_of(error), str(error), trailers_of(error))
