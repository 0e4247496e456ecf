"""Versions 0.3 and 0.4 of the protocol: their models, how a message's version and shape are told, and their rules.

How one version becomes another is known by `vcp.migrate`; the present version by `vcp.models`.
"""
