"""Which rows of monitoring have a history: what people edit. What checks see is no edit, so it leaves no entry."""

from apps.history.record import watch, watch_members
from apps.monitoring.models import AlertChannel, Monitor, SeverityRule, Silence

watch(Monitor)
watch(Silence)
watch(SeverityRule)
watch(AlertChannel)
watch_members(SeverityRule, "channels")
