"""Threefold: a self-hosted, Raft-replicated message broker cluster."""
