"""Who may use the API: each view asks for one right of Django's, for the model it reads or the one it names in `needs`.

Tokens and sessions act as their user. Groups that hold the rights are made by the roof.
"""

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request


class HoldsRight(IsAuthenticated):
    """Refuses by naming the right that is missing, so that an operator knows what to grant."""

    def has_permission(self, request: Request, view: Any) -> bool:
        if not super().has_permission(request, view):
            return False
        right = right_of(view)
        if not request.user.has_perm(right):
            raise PermissionDenied(f"this needs the right {right}, which {request.user.get_username()} does not have")
        return True


def right_of(view: Any) -> str:
    """`app.codename`. Raises ImproperlyConfigured for a view that says nothing: it must not be open by oversight."""
    needs = getattr(view, "needs", "")
    if needs:
        return str(needs)
    model = getattr(getattr(view, "queryset", None), "model", None)
    if model is None:
        raise ImproperlyConfigured(f"{type(view).__name__} names neither a queryset nor the right that it needs")
    return f"{model._meta.app_label}.view_{model._meta.model_name}"
