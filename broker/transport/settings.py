"""What can be set about the connections between nodes."""

from __future__ import annotations

import msgspec

from broker.base.instants import SECOND, Millis
from broker.base.limits import MIB


class TlsSettings(msgspec.Struct, frozen=True):
    """Paths of PEM files for mutual TLS. ``authority`` signs every node's certificate and nothing else.

    ``names_node``: a node's certificate must carry its node id as DNS name (alone or as first label) or common name.
    Without it every certificate of the authority may speak for every node.
    """

    certificate: str
    key: str
    authority: str
    names_node: bool = True


class MeshSettings(msgspec.Struct, frozen=True):
    """Sizes in bytes, times in milliseconds. Port 0 asks the system for a free one.

    A connection on which nothing arrives for ``silence_timeout`` is dropped, after at most a quarter more. A node that
    has nothing to say says so often enough by itself.
    """

    host: str = "127.0.0.1"
    port: int = 0
    tls: TlsSettings | None = None
    max_frame_bytes: int = 64 * MIB
    send_buffer_bytes: int = 64 * MIB
    reconnect_min: Millis = Millis(20)
    reconnect_max: Millis = SECOND
    connect_timeout: Millis = Millis(2_000)
    handshake_timeout: Millis = Millis(5_000)
    silence_timeout: Millis = Millis(3_000)
    closing_timeout: Millis = SECOND
    max_strangers: int = 64
    """Connections accepted at a time from whoever has not yet shown who it is."""
    max_bulk_receipts: int = 8
    bulk_window_bytes: int = 4 * MIB
    """Received and not yet consumed bytes of one bulk transfer, beyond which the sender is held back."""
