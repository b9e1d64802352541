"""The steps of a request to an AWS service, from what came over HTTP to what goes back. Knows no socket."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from broker.aio.system_clock import microseconds
from broker.base.errors import BrokerError
from broker.base.instants import SECOND, Clock, Millis
from broker.edge.aws import chunks, errors
from broker.edge.aws.accounts import Accounts, Defaults
from broker.edge.aws.authentication import Authentication, Keys
from broker.edge.aws.contract import Authorizing, AwsError, Caller, Context, Service
from broker.edge.aws.health import HealthPages
from broker.edge.aws.protocol import form
from broker.edge.aws.protocol.contract import Document
from broker.edge.aws.request import Credentials, Request
from broker.edge.aws.routing import TARGET, Route, Router
from broker.telemetry import logs
from broker.telemetry.metrics import Counter, Histogram, Registry

_log = logs.get(__name__)

TIMEOUT = Millis(40 * SECOND)
"""What an operation has: the longest wait for messages, and what a change of leaders takes. SDKs give up after 60 s."""
OK = "OK"
REQUEST_ID = b"x-amzn-requestid"


class AppSettings(msgspec.Struct, frozen=True):
    """``public_url``: under which clients reach the cluster, for the URLs in answers; "": what the request says."""

    public_url: str = ""
    defaults: Defaults = Defaults()
    version: str = ""


class App:
    """``translate``: what callers are told of an error of the broker. ``trouble``: why the node is not ready. ``keys``:
    what requests are signed with; None in development mode, where nothing is checked."""

    def __init__(
        self,
        services: Sequence[Service],
        settings: AppSettings,
        clock: Clock,
        registry: Registry,
        random_bytes: Callable[[int], bytes],
        trouble: Callable[[], str | None],
        translate: Callable[[BrokerError], AwsError] = errors.of,
        keys: Keys | None = None,
    ) -> None:
        self._router = Router(services)
        self._credentials = Credentials()
        defaults = settings.defaults
        self._authorizing = {
            service.name: service for service in services if keys is not None and isinstance(service, Authorizing)
        }
        self._callers: Accounts | Authentication = Accounts(defaults)
        if keys is not None:
            self._callers = Authentication(keys, defaults, clock, self._router.signing_name, self._takes_anonymous)
        self._health = HealthPages(self._router.services, settings.version, trouble)
        self._public_url = settings.public_url.rstrip("/")
        self._clock = clock
        self._translate = translate
        self._request_ids = _RequestIds(random_bytes)
        self._measured = _Measured(registry)

    async def answer(self, request: Request) -> Document:
        """Never raises, but for being cancelled: whatever goes wrong is an answer."""
        if request.method != "POST" and (page := self._health.answer(request)) is not None:
            return page
        started, request_id = microseconds(), self._request_ids.next()
        route: Route | None = None
        outcome = OK
        try:
            if chunks.CONTENT_HASH in request.headers:
                chunks.take_apart(request)
            fields = self._fields(request)
            credential = None if TARGET in request.headers else self._credentials.of(request, fields)
            route = self._router.find(request, fields, credential)
            deadline = Millis(self._clock.monotonic() + TIMEOUT)
            caller = await self._callers.caller(request, fields, route, deadline)
            context = self._context(request, caller, route, deadline, request_id)
            if route.protocol == "query" and route.takes_queue_url and request.path != "/":
                fields.setdefault("QueueUrl", context.base_url + request.path)  # as old SDKs name it
            members = route.codec.parse(request, fields)
            if route.service in self._authorizing:
                await self._authorizing[route.service].authorize(context, route.operation, members)
            output = await route.run(context, members)
            document = route.codec.write(output, request_id)
        except Exception as error:  # every failure ends here, as an answer that the caller can read
            failure = self._expected(error, request, request_id)
            outcome = failure.query_code
            document = self._router.error(request, route, failure, request_id)
        self._measured.note(route, outcome, microseconds() - started)
        return Document(document.status, (*document.headers, (REQUEST_ID, request_id.encode())), document.body)

    def _fields(self, request: Request) -> form.Fields:
        """Of the URL, and of the form that the query protocol sends. Raises AwsError."""
        if not request.query and TARGET in request.headers:
            return {}
        fields = form.decode(request.query)
        if request.body and self._router.sends_form(request):
            fields.update(form.decode(request.body))
        return fields

    def _context(self, request: Request, caller: Caller, route: Route, deadline: Millis, request_id: str) -> Context:
        base_url = self._public_url or f"{request.scheme}://{request.header(b'host')}"
        return Context(caller, base_url, deadline, route.protocol, request_id, request.source_ip)

    def _takes_anonymous(self, route: Route) -> bool:
        service = self._authorizing.get(route.service)
        return service is not None and service.takes_anonymous(route.operation)

    def _expected(self, error: Exception, request: Request, request_id: str) -> AwsError:
        if isinstance(error, AwsError):
            return error
        if isinstance(error, BrokerError):
            return self._translate(error)
        target = request.header(TARGET) or request.path
        _log.failure("a request to an AWS service failed", error, request=request_id, target=target[:200])
        return errors.internal()


class _RequestIds:
    """UUIDs whose first half is this process's own."""

    def __init__(self, random_bytes: Callable[[int], bytes]) -> None:
        digits = random_bytes(10).hex()
        self._prefix = f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-8{digits[17:20]}-"
        self._count = 0

    def next(self) -> str:
        self._count += 1
        return f"{self._prefix}{self._count & 0xFFFF_FFFF_FFFF:012x}"


class _Measured:
    """Calls and their durations, by operation."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._counters: dict[tuple[str, str, str], Counter] = {}
        self._latencies: dict[tuple[str, str], Histogram] = {}

    def note(self, route: Route | None, outcome: str, duration: int) -> None:
        service, operation = ("unknown", "unknown") if route is None else (route.service, route.operation)
        key = (service, operation, outcome)
        counter = self._counters.get(key)
        if counter is None:
            labels = {"service": service, "operation": operation, "code": outcome}
            counter = self._registry.counter("broker_aws_calls", "Calls of AWS operations by outcome.", labels)
            self._counters[key] = counter
        counter.value += 1
        latency = self._latencies.get((service, operation))
        if latency is None:
            labels = {"service": service, "operation": operation}
            latency = self._registry.histogram(
                "broker_aws_call_seconds", "Duration of calls of AWS operations.", labels
            )
            self._latencies[service, operation] = latency
        latency.observe(duration)
