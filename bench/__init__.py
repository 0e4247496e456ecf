"""Measurements of what must be fast; each prints ratios to a yardstick taken in the same round."""
