"""`python -m bench`: how fast the protocol itself is."""

from bench.protocol import main
from voicelens.collector import calm_collector

if __name__ == "__main__":
    calm_collector()  # as a worker does
    main()
