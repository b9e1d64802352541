"""What a node counts about its connections to other nodes."""

from __future__ import annotations

from broker.telemetry.metrics import Registry


class Traffic:
    """Plain counters, shared by all connections of a node."""

    __slots__ = (
        "bytes_received",
        "bytes_sent",
        "connections",
        "frames_dropped",
        "frames_received",
        "frames_sent",
        "reads",
        "refusals",
        "writes",
    )

    def __init__(self, registry: Registry) -> None:
        self.frames_sent = registry.counter("broker_mesh_frames_sent", "Frames handed to connections between nodes.")
        self.frames_received = registry.counter("broker_mesh_frames_received", "Frames received from other nodes.")
        self.frames_dropped = registry.counter(
            "broker_mesh_frames_dropped", "Frames not sent because a send buffer was full."
        )
        self.bytes_sent = registry.counter("broker_mesh_sent_bytes", "Bytes written to connections between nodes.")
        self.bytes_received = registry.counter("broker_mesh_received_bytes", "Bytes received from other nodes.")
        self.writes = registry.counter(
            "broker_mesh_writes", "Writes to connections; frames_sent / writes is the coalescing."
        )
        self.reads = registry.counter("broker_mesh_reads", "Reads from connections between nodes.")
        self.connections = registry.counter(
            "broker_mesh_connections", "Connections between nodes that were established."
        )
        self.refusals = registry.counter(
            "broker_mesh_refusals", "Connections refused in the handshake, by either side."
        )
