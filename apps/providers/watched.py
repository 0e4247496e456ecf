"""Which rows of the registry have a history. Events and rules of a draft are written in bulk: its page records them."""

from apps.history.record import watch
from apps.providers.models import AuthConfig, Endpoint, MappingVersion, Price, Provider, Secret

watch(Provider)
watch(Endpoint)
watch(AuthConfig, ignored=("endpoint",), part_of=lambda way: (way.endpoint, f"auth config “{way.name}”"))
# Their values are not among the fields that people edit, so they are never looked at.
watch(Secret, part_of=lambda secret: (secret.auth_config.endpoint, f"secret “{secret}”"))
watch(Price, part_of=lambda price: (price.provider, f"price of {price.model} {price.rate}"))
# What moves a version's state has a word of its own, see publishing.py.
watch(MappingVersion, ignored=("state", "published_at", "author"))
