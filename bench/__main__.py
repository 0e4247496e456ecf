"""`python -m bench`: how fast the protocol itself is."""

from bench.protocol import main

if __name__ == "__main__":
    main()
