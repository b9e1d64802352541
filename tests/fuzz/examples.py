"""How many examples a fuzz test tries: a few, and always the same, in every run of the tests; as many as wished, and
others each time, by FUZZ_EXAMPLES."""

import os

from hypothesis import settings

_GIVEN = os.environ.get("FUZZ_EXAMPLES")
FEW = int(_GIVEN or "40")
many = settings(max_examples=FEW, derandomize=_GIVEN is None)
fewer = settings(max_examples=max(5, FEW // 4), derandomize=_GIVEN is None)
"""For examples that open real connections."""
