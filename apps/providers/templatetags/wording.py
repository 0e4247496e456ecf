"""How sentences of ours and of the catalogue are shown. Imports no admin: template engines load it early."""

import re

from django import template
from django.utils.html import conditional_escape
from django.utils.safestring import SafeString, mark_safe

register = template.Library()

_BACKTICKS = re.compile(r"`([^`<>]+)`")


@register.filter
def code_words(text: str) -> SafeString:
    """What stands between `backticks` as code; all else is escaped, unless it is safe already."""
    return mark_safe(_BACKTICKS.sub(r"<code>\1</code>", conditional_escape(text)))  # noqa: S308  escaped just now
