from __future__ import annotations

import pytest

from broker.edge.aws.models import OperationModel, Shape
from broker.edge.aws.protocol.uris import Template, template


def at(uri: str, method: str = "GET") -> Template:
    return template(OperationModel("Do", Shape("Nothing", "structure"), None, "", method, uri))


@pytest.mark.parametrize(
    ("uri", "path", "labels"),
    [
        ("/", "/", {}),
        ("/apis", "/apis", {}),
        ("/apis", "/apis/", {}),
        ("/apis/{id}", "/apis/a%2Fb", {"id": "a/b"}),
        ("/apis/{id}", "/apis/a.b:c", {"id": "a.b:c"}),
        ("/apis/{id}/parts/{part}", "/apis/a/parts/b", {"id": "a", "part": "b"}),
        ("/tags/{arn+}", "/tags/a/b/c", {"arn": "a/b/c"}),
        ("/v1.0/{id}", "/v1.0/x", {"id": "x"}),
        ("/tags/{resource-arn}", "/tags/x", {"resource-arn": "x"}),
        ("/functions/", "/functions", {}),
    ],
)
def test_paths_that_fit(uri: str, path: str, labels: dict[str, str]) -> None:
    assert at(uri).labels(path) == labels
    assert at(uri).fits("GET", path, {})


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("/apis", "/"),
        ("/apis", "/apis/x"),
        ("/apis/{id}", "/apis/"),
        ("/apis/{id}", "/apis/a/b"),
        ("/apis/{id}/parts", "/apis/a"),
        ("/v1.0/{id}", "/v1x0/x"),
        ("/tags/{arn+}", "/tags/"),
    ],
)
def test_paths_that_do_not(uri: str, path: str) -> None:
    assert at(uri).labels(path) is None
    assert not at(uri).fits("GET", path, {})


def test_method_and_fixed_query_belong_to_it() -> None:
    assert not at("/apis").fits("POST", "/apis", {})
    assert not at("/apis?mode=import").fits("GET", "/apis", {})
    assert not at("/apis?mode=import").fits("GET", "/apis", {"mode": "other"})
    assert at("/apis?mode=import").fits("GET", "/apis", {"mode": "import", "more": "1"})


def test_the_more_special_goes_first() -> None:
    uris = ["/{any+}", "/apis/{id}", "/apis/{id}/parts", "/apis/all", "/apis/all?mode=import"]
    ranked = sorted(uris, key=lambda uri: at(uri).rank)
    assert ranked.index("/apis/all?mode=import") < ranked.index("/apis/all") < ranked.index("/apis/{id}")
    assert ranked[-1] == "/{any+}"
