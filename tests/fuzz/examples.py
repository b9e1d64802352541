"""How many examples a fuzz test tries: few in every run of the tests, as many as wished by FUZZ_EXAMPLES."""

import os

from hypothesis import settings

FEW = int(os.environ.get("FUZZ_EXAMPLES", "40"))
many = settings(max_examples=FEW)
fewer = settings(max_examples=max(5, FEW // 4))
"""For examples that open real connections."""
