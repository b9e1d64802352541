"""The faults there are, by name, in the order in which a run meets them."""

from __future__ import annotations

from loadtest.faults.clock_faults import CLOCK_FAULTS
from loadtest.faults.disk_faults import DISK_FAULTS
from loadtest.faults.membership_faults import MEMBERSHIP_FAULTS
from loadtest.faults.network_faults import NETWORK_FAULTS
from loadtest.faults.process_faults import PROCESS_FAULTS

_ALL = (*NETWORK_FAULTS, *PROCESS_FAULTS, *DISK_FAULTS, *CLOCK_FAULTS, *MEMBERSHIP_FAULTS)

FAULTS = {fault.name: fault for fault in _ALL}
CONTROLS = frozenset(fault.name for fault in _ALL if fault.control)
"""Only run when they are named."""
