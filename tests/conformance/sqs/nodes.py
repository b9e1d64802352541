"""Real nodes, as processes on disks of this machine, and clients of them: boto3, and forms of the query protocol."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen
from xml.etree import ElementTree

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from broker.node.settings import NodeSettings, PeerSettings
from loadtest.cluster import BrokerProcess, wait_ready

HOST = "127.0.0.1"
ACCOUNT, REGION = "000000000000", "us-east-1"
NAMESPACE = "{http://queue.amazonaws.com/doc/2012-11-05/}"
TIMEOUT = 60.0


class Refusal(NamedTuple):
    """``code`` is that of the query protocol, which SDKs show for JSON, too; ``shape`` the one in JSON."""

    code: str
    message: str
    status: int
    shape: str = ""


class Node(NamedTuple):
    endpoint: str
    process: BrokerProcess


@contextmanager
def nodes(folder: Path, count: int, development: bool = True) -> Iterator[list[Node]]:
    """A cluster of so many nodes, in as many zones. ``development``: they check no signatures and no policies."""
    ports = iter(_free_ports(4 * count))
    peers = tuple(
        PeerSettings(f"{zone}-0", zone, *(f"{HOST}:{next(ports)}" for _ in range(3))) for zone in "abc"[:count]
    )
    processes = [
        BrokerProcess(
            NodeSettings(
                node=peer.id,
                zone=peer.zone,
                development=development,
                data_dir=str(folder / peer.id),
                client_listen=peer.client_address,
                peer_listen=peer.peer_address,
                admin_listen=peer.admin_address,
                aws_listen=f"{HOST}:{next(ports)}",
                peers=peers,
                groups=3,
            ),
            folder,
        )
        for peer in peers
    ]
    try:
        for process in processes:
            process.start()
        for process in processes:
            asyncio.run(wait_ready(process))
        yield [Node(f"http://{process.settings.aws_listen}", process) for process in processes]
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            asyncio.run(process.ended(10.0))


@contextmanager
def client(
    endpoint: str,
    region: str = REGION,
    access_key: str = "test",
    retries: bool = False,
    secret: str = "secret",
    **config: Any,
) -> Iterator[Any]:
    """``retries``: as often as boto3 does by itself."""
    settings = Config(**config) if retries else Config(retries={"total_max_attempts": 1}, **config)
    made = boto3.client(
        "sqs",
        region_name=region,
        endpoint_url=endpoint,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret,
        config=settings,
    )
    try:
        yield made
    finally:
        made.close()


def refused(sqs: Any, operation: str, **given: Any) -> Refusal:
    """What ``sqs.operation(**given)`` is refused with. botocore's own checks of types are off."""
    with pytest.raises(ClientError) as caught:
        getattr(sqs, operation)(**given)
    error, metadata = caught.value.response["Error"], caught.value.response["ResponseMetadata"]
    return Refusal(error["Code"], error["Message"], metadata["HTTPStatusCode"], error.get("QueryErrorCode", ""))


class Form:
    """The query protocol without any SDK: what the API Reference shows, name by name."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint

    def __call__(self, action: str, path: str = "/", method: str = "POST", **fields: Any) -> ElementTree.Element:
        """``**{"Attribute.1.Name": ...}``. The result element of the answer."""
        status, root = self._send(action, path, method, fields)
        assert status == 200, ElementTree.tostring(root)
        assert root.tag == f"{NAMESPACE}{action}Response"
        assert root.findtext(f"{NAMESPACE}ResponseMetadata/{NAMESPACE}RequestId")
        found = root.find(f"{NAMESPACE}{action}Result")
        return root if found is None else found

    def refused(self, action: str, path: str = "/", **fields: Any) -> Refusal:
        status, root = self._send(action, path, "POST", fields)
        assert root.tag == f"{NAMESPACE}ErrorResponse", ElementTree.tostring(root)
        error = root.find(f"{NAMESPACE}Error")
        assert error is not None
        assert error.findtext(f"{NAMESPACE}Type") == ("Sender" if status < 500 else "Receiver")
        code, message = (error.findtext(NAMESPACE + name) or "" for name in ("Code", "Message"))
        return Refusal(code, message, status)

    def _send(self, action: str, path: str, method: str, fields: Mapping[str, Any]) -> tuple[int, ElementTree.Element]:
        encoded = urlencode({"Action": action, "Version": "2012-11-05", **fields})
        url = self._endpoint + path
        scope = f"Credential=test/20260101/{REGION}/sqs/aws4_request"
        headers = {"Authorization": f"AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=none"}
        if method == "GET":
            request = Request(f"{url}?{encoded}", headers=headers)
        else:
            headers["Content-Type"] = "application/x-www-form-urlencoded; charset=utf-8"
            request = Request(url, encoded.encode(), headers)
        try:
            with urlopen(request, timeout=TIMEOUT) as response:
                return response.status, ElementTree.fromstring(response.read())
        except HTTPError as error:
            with error:
                return error.code, ElementTree.fromstring(error.read())


def texts(element: ElementTree.Element, name: str) -> list[str]:
    """Of the children of that name."""
    return [found.text or "" for found in element.findall(NAMESPACE + name)]


def pairs(element: ElementTree.Element, name: str, key: str = "Name", value: str = "Value") -> dict[str, str]:
    """Of a map written as elements."""
    return {
        found.findtext(NAMESPACE + key) or "": found.findtext(NAMESPACE + value) or ""
        for found in element.findall(NAMESPACE + name)
    }


def _free_ports(count: int) -> list[int]:
    """All held at once, so that no two are the same, and then given back."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((HOST, 0))
        return [int(each.getsockname()[1]) for each in sockets]
