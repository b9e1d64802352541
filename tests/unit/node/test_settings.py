"""A node's configuration: where values come from, and what is said of wrong ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker.base.errors import InvalidArgument
from broker.node.settings import NodeSettings, PeerSettings, dump, exposures, load

PEERS = (
    PeerSettings("a-0", "a", "127.0.0.1:4101", "127.0.0.1:4001"),
    PeerSettings("b-0", "b", "127.0.0.1:4102", "127.0.0.1:4002"),
)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "node.toml"
    path.write_text(text)
    return path


def test_what_dump_writes_load_reads_back(tmp_path: Path) -> None:
    settings = NodeSettings("a-0", "a", data_dir='odd "path"\\x', groups=3, lease_reads=True, peers=PEERS)
    assert load(written(tmp_path, dump(settings))) == settings


def test_the_environment_overrides_the_file_and_flags_override_both(tmp_path: Path) -> None:
    path = written(tmp_path, 'node = "a-0"\nzone = "a"\ngroups = 3\ndata_dir = "file"\n')
    settings = load(path, {"groups": 5, "zone": None}, {"BROKER_GROUPS": "4", "BROKER_DATA_DIR": "env", "HOME": "x"})
    assert (settings.groups, settings.data_dir, settings.zone) == (5, "env", "a")


def test_a_node_without_peers_founds_a_cluster_of_one() -> None:
    settings = load(None, {"node": "dev", "zone": "local", "advertise_client": "broker.example:4001"})
    assert [peer.id for peer in settings.founders()] == ["dev"]
    assert settings.this_peer().client_address == "broker.example:4001"


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"zone": "a"}, "node"),
        ({"node": "A_0", "zone": "a"}, "'A_0'"),
        ({"node": "a-", "zone": "a"}, "'a-'"),
        ({"node": "a" * 64, "zone": "a"}, "1-63"),
        ({"node": "a-0", "zone": "a", "groups": 0}, "1-1000"),
        ({"node": "a-0", "zone": "a", "groups": "many"}, "groups"),
        ({"node": "a-0", "zone": "a", "fsync": "never"}, "fsync"),
        ({"node": "a-0", "zone": "a", "colour": "red"}, "colour"),
        ({"node": "a-0", "zone": "a", "client_listen": "4001"}, "host:port"),
        ({"node": "a-0", "zone": "a", "client_listen": "h:70000"}, "65535"),
        ({"node": "a-0", "zone": "a", "tls_key": "key.pem"}, "all three"),
        ({"node": "a-0", "zone": "a", "aws_listen": "4566"}, "host:port"),
        ({"node": "a-0", "zone": "a", "aws_account": "123"}, "aws_account is '123'"),
        ({"node": "a-0", "zone": "a", "aws_region": "here"}, "aws_region is 'here'"),
        ({"node": "a-0", "zone": "a", "aws_public_url": "queues.example.org"}, "must look like http://"),
        ({"node": "a-0", "zone": "a", "aws_public_url": "http://here/path"}, "must look like http://"),
        ({"node": "a-0", "zone": "a", "heartbeat_ms": 400}, "heartbeat_ms"),
        ({"node": "a-0", "zone": "a", "transfer_bytes_per_second": 1000}, "transfer_bytes_per_second is 1000"),
        ({"node": "a-0", "zone": "a", "disk_reserve_percent": 95}, "disk_reserve_percent is 95"),
        ({"node": "a-0", "zone": "a", "disk_reserve_bytes": -1}, "disk_reserve_bytes is -1"),
        ({"node": "a-0", "zone": "a", "disk_slow_ms": 0}, "disk_slow_ms is 0"),
        ({"node": "c-0", "zone": "c", "peers": PEERS}, "not among peers"),
        ({"node": "a-0", "zone": "b", "peers": PEERS}, "zone"),
        ({"node": "a-0", "zone": "a", "peers": (*PEERS, PEERS[0])}, "twice"),
    ],
)
def test_a_wrong_value_is_named(values: dict[str, object], told: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        load(None, values)
    assert told in str(refused.value)


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"absent\.toml cannot be read"):
        load(tmp_path / "absent.toml")
    with pytest.raises(InvalidArgument, match="not valid TOML"):
        load(written(tmp_path, "node = "))


@pytest.mark.parametrize(("text", "development"), [("true", True), ("1", True), ("false", False)])
def test_development_is_asked_for(tmp_path: Path, text: str, development: bool) -> None:
    path = written(tmp_path, 'node = "a-0"\nzone = "a"\n')
    assert load(path).development is False
    assert load(path, {}, {"BROKER_DEVELOPMENT": text}).development is development
    assert load(path, {"development": development}, {"BROKER_DEVELOPMENT": "true"}).development is development


OPEN = {"client_listen": "0.0.0.0:4001"}
TLS = {"tls_certificate": "c", "tls_key": "k", "tls_ca": "a"}


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({}, []),
        ({"development": True}, []),
        (OPEN, ["plain text"]),
        ({"aws_listen": "0.0.0.0:4566"}, ["plain text"]),
        ({**OPEN, "aws_listen": ""}, ["plain text"]),
        ({**OPEN, **TLS}, []),
        ({**OPEN, "development": True}, ["takes any credentials", "plain text"]),
        ({**OPEN, **TLS, "development": True}, ["takes any credentials"]),
    ],
)
def test_what_is_open_to_other_machines_is_told(values: dict[str, object], told: list[str]) -> None:
    found = exposures(load(None, {"node": "a-0", "zone": "a", **values}))
    assert len(found) == len(told)
    assert all(part in sentence for part, sentence in zip(told, found, strict=True))
