"""Fault runs: the real parts of VoiceLens are killed, frozen and cut off while signed webhooks arrive, and nothing may
be lost or counted twice. `make faults`; see docs/reliability.md."""
