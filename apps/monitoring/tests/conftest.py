"""Fixtures of monitoring's tests."""

from apps.monitoring.tests.play import clock, plain_comparison, played, run

__all__ = ["clock", "plain_comparison", "played", "run"]
