"""The history of what people and commands changed, and who it was."""

from django.contrib.contenttypes.models import ContentType
from django.db import models


class Change(models.Model):
    """One change of one object. It outlives the object and its author, so both stand here by name, too."""

    at = models.DateTimeField(auto_now_add=True)
    author = models.CharField(max_length=150, help_text="A user, a command (`manage.py …`), or system.")
    content_type = models.ForeignKey(ContentType, models.CASCADE, related_name="+")
    object_id = models.CharField(max_length=64)
    object_name = models.CharField(max_length=200)
    part = models.CharField(max_length=100, blank=True, help_text="Which part of the object, if not the whole.")
    verb = models.CharField(max_length=40)
    note = models.CharField(max_length=500, blank=True)
    # Texts, each cut where it gets long; null: nothing there.
    changes = models.JSONField(default=list, help_text="[{field, from, to}]")

    class Meta:
        ordering = ["-id"]
        default_permissions = ("view",)
        indexes = [models.Index(fields=["content_type", "object_id", "-id"], name="change_of_object")]

    def __str__(self) -> str:
        return f"{self.object_name} {self.verb}"
