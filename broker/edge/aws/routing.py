"""Which operation a request is for, and in which protocol.

In this order: X-Amz-Target names service and operation (JSON, or CBOR if the content is that). ``smithy-protocol`` says
that the path does (RPC v2 CBOR). If the credential's scope or the host's name is that of a service with paths of its
own, method and path tell (REST). Otherwise ``Action`` names the operation, and the service is that of the credential's
scope, of the host's name, of the version, or the only one that has such an operation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

from broker.edge.aws import errors
from broker.edge.aws.contract import AwsError, Operation, Service
from broker.edge.aws.models import OperationModel, ServiceModel, load
from broker.edge.aws.protocol import aws_json, cbor, form, query, rest_json
from broker.edge.aws.protocol.contract import Codec, Document
from broker.edge.aws.protocol.names import QUERY_NAMES
from broker.edge.aws.protocol.uris import Template, template
from broker.edge.aws.request import Credential, Credentials, Request

TARGET = b"x-amz-target"
CONTENT_TYPE = b"content-type"
_FORM = b"application/x-www-form-urlencoded"


class Route(NamedTuple):
    """``protocol``: "query", or "json" for all whose errors go by the names of the model. ``takes_queue_url``: the path
    may name the queue, where the operation's input does not."""

    service: str
    operation: str
    protocol: Literal["json", "query"]
    codec: Codec
    run: Operation
    takes_queue_url: bool


class Router:
    """``fields``: of form and URL."""

    def __init__(self, services: Iterable[Service]) -> None:
        self._models: dict[str, ServiceModel] = {}
        self._json: dict[bytes, Route] = {}
        self._cbor: dict[bytes, Route] = {}
        self._rpc: dict[str, Route] = {}
        self._rest: dict[str, list[tuple[Template, Route]]] = {}
        """By the name in the credential's scope; the most special first."""
        self._actions: dict[tuple[str, str], Route] = {}
        self._services_by_action: dict[str, list[ServiceModel]] = {}
        for service in services:
            self._add(service, load(service.name, QUERY_NAMES.get(service.name)))
        for addresses in self._rest.values():
            addresses.sort(key=lambda each: each[0].rank)
        self._signing_names = {model.signing_name for model in self._models.values()}

    @property
    def services(self) -> tuple[str, ...]:
        return tuple(self._models)

    def find(self, request: Request, fields: form.Fields, credential: Credential | None) -> Route:
        """Raises AwsError."""
        target = request.headers.get(TARGET)
        if target is not None:
            is_cbor = request.headers.get(CONTENT_TYPE, b"").startswith(cbor.AMZ_CONTENT_TYPE)
            return _named(self._cbor if is_cbor else self._json, target, target[:200].decode("latin-1"))
        if cbor.PROTOCOL in request.headers:
            return _named(self._rpc, request.path, request.path[:200])
        addresses = self._rest.get(self._signing_name(request, credential))
        if addresses is not None:
            return _addressed(addresses, request, fields)
        return self._by_action(request, fields, credential)

    def signing_name(self, route: Route) -> str:
        """Of the route's service, as a signature must name it."""
        return self._models[route.service].signing_name

    def sends_form(self, request: Request) -> bool:
        """Whether the body is one, and not what another protocol has there."""
        headers = request.headers
        if TARGET in headers or cbor.PROTOCOL in headers or not headers.get(CONTENT_TYPE, _FORM).startswith(_FORM):
            return False
        return self._signing_name(request, Credentials().of(request, None)) not in self._rest

    def error(self, request: Request, route: Route | None, failure: AwsError, request_id: str) -> Document:
        """In the protocol of the request, as far as that is known."""
        if route is not None:
            return route.codec.error(failure, request_id)
        if (target := request.headers.get(TARGET)) is not None:
            model = self._service_of_prefix(target.partition(b".")[0].decode("latin-1"))
            if request.headers.get(CONTENT_TYPE, b"").startswith(cbor.AMZ_CONTENT_TYPE):
                return cbor.error(failure, model, "x-amz-cbor")
            return aws_json.error(failure, model)
        if cbor.PROTOCOL in request.headers:
            prefix = request.path.removeprefix("/service/").partition("/")[0]
            return cbor.error(failure, self._service_of_prefix(prefix), "rpc-v2-cbor")
        if self._signing_name(request, Credentials().of(request, None)) in self._rest:
            return rest_json.error(failure)
        return query.error(failure, _any_namespace(self._models), request_id)

    def _by_action(self, request: Request, fields: form.Fields, credential: Credential | None) -> Route:
        action = fields.get("Action")
        if not action:
            raise errors.unknown_operation()
        version = fields.get("Version", "")
        model = self._service(request, action, version, credential)
        route = None if model is None else self._actions.get((model.name, action))
        if route is None:
            raise errors.invalid_action(action[:200], version[:40] or (model.version if model else "unknown"))
        return route

    def _add(self, service: Service, model: ServiceModel) -> None:
        """Under every protocol that the service's model has the names for."""
        self._models[model.name] = model
        for name, run in service.operations().items():
            operation = model.operations[name]
            if model.rest:
                route = _route(model, operation, "json", rest_json.codec(operation, model), run)
                self._rest.setdefault(model.signing_name, []).append((template(operation), route))
            if model.namespace:
                self._actions[model.name, name] = _route(model, operation, "query", query.codec(operation, model), run)
                self._services_by_action.setdefault(name, []).append(model)
            if model.target_prefix:
                target = f"{model.target_prefix}.{name}".encode()
                amz, rpc = (cbor.codec(operation, model, each) for each in cbor.DIALECTS)
                self._json[target] = _route(model, operation, "json", aws_json.codec(operation, model), run)
                self._cbor[target] = _route(model, operation, "json", amz, run)
                path = f"/service/{model.target_prefix}/operation/{name}"
                self._rpc[path] = _route(model, operation, "json", rpc, run)

    def _signing_name(self, request: Request, credential: Credential | None) -> str:
        """Of the service that credential or host name; "" if neither names one that is here."""
        if credential is not None and credential.service in self._signing_names:
            return credential.service
        labels = request.header(b"host").partition(":")[0].split(".")
        return next((label for label in labels if label in self._signing_names), "")

    def _service(
        self, request: Request, action: str, version: str, credential: Credential | None
    ) -> ServiceModel | None:
        signing_name = self._signing_name(request, credential)
        for model in self._models.values():
            if model.signing_name == signing_name:
                return model
        candidates = self._services_by_action.get(action, [])
        exact = [model for model in candidates if model.version == version]
        found = exact or candidates
        return found[0] if len(found) == 1 else None

    def _service_of_prefix(self, prefix: str) -> ServiceModel:
        return next((model for model in self._models.values() if model.target_prefix == prefix), _UNKNOWN)


_UNKNOWN = ServiceModel("unknown", "", "", "", "1.0", "", query_compatible=True, rest=False, operations={})
"""Stands for a service that is not here, where an error has to be told."""


def _route(
    model: ServiceModel, operation: OperationModel, protocol: Literal["json", "query"], codec: Codec, run: Operation
) -> Route:
    return Route(model.name, operation.name, protocol, codec, run, "QueueUrl" in operation.input.members)


def _named(routes: Mapping[Any, Route], name: bytes | str, text: str) -> Route:
    route = routes.get(name)
    if route is None:
        raise errors.unknown_operation(f"The operation {text!r} is not known here")
    return route


def _addressed(addresses: Iterable[tuple[Template, Route]], request: Request, fields: form.Fields) -> Route:
    for address, route in addresses:
        if address.fits(request.method, request.path, fields):
            return route
    raise errors.unknown_operation()


def _any_namespace(models: dict[str, ServiceModel]) -> str:
    return next((model.namespace for model in models.values() if model.namespace), "")
