"""Which operation a request is for, and in which protocol.

In this order: X-Amz-Target names service and operation (JSON). Otherwise ``Action`` names the operation, and the
service is that of the credential's scope, of the host's name, of the version, or the only one that has such an
operation.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

from broker.edge.aws import errors
from broker.edge.aws.contract import AwsError, Operation, Service
from broker.edge.aws.models import ServiceModel, load
from broker.edge.aws.protocol import form, json10, query
from broker.edge.aws.protocol.contract import Codec, Document
from broker.edge.aws.protocol.names import QUERY_NAMES
from broker.edge.aws.request import Credential, Request

TARGET = b"x-amz-target"


class Route(NamedTuple):
    """``takes_queue_url``: the path may name the queue, where the operation's input does not."""

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
        self._targets: dict[bytes, Route] = {}
        self._actions: dict[tuple[str, str], Route] = {}
        self._services_by_action: dict[str, list[ServiceModel]] = {}
        for service in services:
            self._add(service, load(service.name, QUERY_NAMES.get(service.name)))

    @property
    def services(self) -> tuple[str, ...]:
        return tuple(self._models)

    def find(self, request: Request, fields: form.Fields, credential: Credential | None) -> Route:
        """Raises AwsError."""
        target = request.headers.get(TARGET)
        return self._by_action(request, fields, credential) if target is None else self._by_target(target)

    def error(self, request: Request, route: Route | None, failure: AwsError, request_id: str) -> Document:
        """In the protocol of the request, as far as that is known."""
        if route is None:
            target = request.headers.get(TARGET)
            if target is None:
                return query.error(failure, _any_namespace(self._models), request_id)
            return json10.error(failure, _service_of_target(target, self._models), query_compatible=True)
        model = self._models[route.service]
        if route.protocol == "json":
            return json10.error(failure, model.name, query_compatible=model.name in QUERY_NAMES)
        return query.error(failure, model.namespace, request_id)

    def _by_target(self, target: bytes) -> Route:
        route = self._targets.get(target)
        if route is None:
            name = target[:200].decode("latin-1")
            raise errors.unknown_operation(f"The operation {name!r} is not known here")
        return route

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
        self._models[model.name] = model
        for name, run in service.operations().items():
            operation = model.operations[name]
            has_url = "QueueUrl" in operation.input.members
            if model.namespace:
                codec = query.codec(operation, model.namespace)
                self._actions[model.name, name] = Route(model.name, name, "query", codec, run, has_url)
                self._services_by_action.setdefault(name, []).append(model)
            if model.target_prefix:
                target = f"{model.target_prefix}.{name}".encode()
                self._targets[target] = Route(model.name, name, "json", json10.codec(operation), run, has_url)

    def _service(
        self, request: Request, action: str, version: str, credential: Credential | None
    ) -> ServiceModel | None:
        if credential is not None:
            for model in self._models.values():
                if model.signing_name == credential.service:
                    return model
        labels = request.header(b"host").partition(":")[0].split(".")
        for model in self._models.values():
            if model.signing_name in labels:
                return model
        candidates = self._services_by_action.get(action, [])
        exact = [model for model in candidates if model.version == version]
        found = exact or candidates
        return found[0] if len(found) == 1 else None


def _service_of_target(target: bytes, models: dict[str, ServiceModel]) -> str:
    prefix = target.partition(b".")[0].decode("latin-1")
    return next((model.name for model in models.values() if model.target_prefix == prefix), "unknown")


def _any_namespace(models: dict[str, ServiceModel]) -> str:
    return next((model.namespace for model in models.values() if model.namespace), "")
