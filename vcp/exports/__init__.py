"""A message in the formats of others: `vcon` (IETF vCon), `otel` (OpenTelemetry spans), `otlp_http` (sending them).

Everything but `otlp_http` is pure; that one speaks to the network, and nothing here imports it.
"""
