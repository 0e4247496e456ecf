"""Tests of the engine. Property tests have no deadline, for machines are of any speed, and draw the same each time."""

from hypothesis import settings

settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")
