"""The ways people are told: each kind of channel has its configuration and sends one message.

Which message goes where, and when it is tried again, is for `alerts`.
"""

from apps.monitoring.channels.base import SendError
from apps.monitoring.channels.kinds import KINDS, check_secret, config_of, ensure_channels, new_signing_key, send

__all__ = ["KINDS", "SendError", "check_secret", "config_of", "ensure_channels", "new_signing_key", "send"]
