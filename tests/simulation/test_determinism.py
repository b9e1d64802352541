import os
import subprocess
import sys

from tests.simulation.run import run_seed
from tests.simulation.world import SECOND

_CHILD = """
import sys
from tests.simulation.run import run_seed
from tests.simulation.world import SECOND
print(run_seed(int(sys.argv[1]), 5 * SECOND).trace_hash)
"""


def test_the_same_seed_gives_the_same_trace_whatever_the_hash_seed_of_the_process():
    here = run_seed(7, 5 * SECOND)
    elsewhere = {
        subprocess.run(
            [sys.executable, "-c", _CHILD, "7"],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for hash_seed in ("1", "2")
    }
    assert here.story == ""
    assert elsewhere == {here.trace_hash}


def test_another_seed_gives_another_trace():
    assert run_seed(7, 2 * SECOND).trace_hash != run_seed(8, 2 * SECOND).trace_hash
