"""Fixtures of monitoring's tests."""

from apps.monitoring.tests.play import clock, played, run

__all__ = ["clock", "played", "run"]
