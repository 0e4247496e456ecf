"""How Python's garbage collector is set in processes that work off payloads."""

import gc

# New objects, less those that have gone, before Python looks for cycles among them: some tens of MB at most.
COLLECT_AFTER = 100_000


def calm_collector() -> None:
    """Let the garbage collector run seldom, and never again over what start-up has made.

    A payload is hundreds of small objects without cycles, gone when they are no longer needed. Looking for cycles after
    every 700 of them takes a fifth of a worker's time (`make bench-normalise`) and finds nothing.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, 20, 20)
