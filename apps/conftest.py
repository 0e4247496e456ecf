"""The fixtures of tests/conftest.py for the tests that lie beside the apps."""

from tests.conftest import (  # noqa: F401 - pytest finds fixtures by their names
    _exact_numbers,
    _no_network,
    _own_limits,
    arrive,
    catalogue,
    deliver,
    drain,
    endpoint,
    rings,
)
