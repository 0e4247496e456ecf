"""Which rows of the numbers have a history: the conditions, since people set them."""

from apps.analytics.models import TrafficCondition
from apps.history.record import watch

watch(TrafficCondition)
