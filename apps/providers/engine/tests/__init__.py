"""Tests of the engine. Property tests draw the same each time; how many examples is said in `vcp/tests/tries.py`."""

from hypothesis import settings

from vcp.tests.tries import tries

settings.register_profile("steady", tries(40))
settings.load_profile("steady")
