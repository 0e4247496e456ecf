"""The form that corrects a message: the fields people mend, typed, and any other path as JSON.

Whether the corrected message is valid is judged by operations.correct; its findings come back at their fields.
"""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from apps.ingest.models import Message
from apps.providers.admin.base import JSONText, PlainText
from vcp.errors import ErrorObject

PAYLOAD = "$.vcp_payload."
# Form field: path below vcp_payload.
PATHS = {
    "status": "outcomes.objective.status",
    "start_time": "call.start_time",
    "end_time": "call.end_time",
    "duration_sec": "call.duration_sec",
    "total_cost_usd": "outcomes.model_outcome_attribution.total_cost_usd",
    "user_satisfaction_score": "outcomes.user_satisfaction_score",
    "summary": "hcr.summary",
}


class UtcTimeField(forms.CharField):
    """An ISO 8601 time; without a zone it is UTC. Gives an aware datetime or None."""

    widget = UnfoldAdminTextInputWidget

    def prepare_value(self, value: Any) -> Any:
        return _iso(value) if isinstance(value, datetime) else value

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value)
        if not text:
            return None
        try:
            moment = datetime.fromisoformat(text)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, OverflowError) as error:
            raise forms.ValidationError("Write a time such as 2026-08-31T09:30:00Z.") from error

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return bool(initial != self.to_python(data))
        except forms.ValidationError:
            return True


class CorrectionForm(forms.Form):
    """Fields come filled; only what is changed becomes a correction, and an emptied field takes its value away."""

    status = forms.ChoiceField(choices=Message.Status.choices, widget=UnfoldAdminSelectWidget)
    start_time = UtcTimeField(label="Start (UTC)")
    end_time = UtcTimeField(label="End (UTC)", required=False)
    duration_sec = forms.IntegerField(
        label="Duration (seconds)", required=False, min_value=0, widget=UnfoldAdminIntegerFieldWidget
    )
    total_cost_usd = forms.DecimalField(
        label="Cost (USD)",
        required=False,
        min_value=0,
        max_digits=18,
        decimal_places=9,
        widget=UnfoldAdminDecimalFieldWidget,
    )
    user_satisfaction_score = forms.DecimalField(
        label="Satisfaction (0 to 1)",
        required=False,
        min_value=0,
        max_value=1,
        decimal_places=4,
        widget=UnfoldAdminDecimalFieldWidget,
    )
    summary = PlainText(required=False, widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}))
    further = JSONText(
        label="Further fields",
        required=False,
        empty=dict,
        help_text='Paths below vcp_payload and their values: {"call.direction": "inbound"}. null takes a value away.',
    )

    def __init__(self, message: Message, data: Any = None) -> None:
        super().__init__(data, initial=_current(message))

    def clean_further(self) -> dict[str, Any]:
        further = self.cleaned_data["further"]
        if not isinstance(further, dict):
            raise forms.ValidationError('Write an object: {"path": value, …}.')
        if any("*" in path for path in further):
            raise forms.ValidationError("A path names one field: no * in it.")
        return further

    def corrections(self) -> dict[str, Any]:
        """Path and value of everything that was changed, as JSON values."""
        changed = {PATHS[name]: _json(self.cleaned_data[name]) for name in self.changed_data if name in PATHS}
        return {**changed, **self.cleaned_data["further"]}

    def tell(self, errors: list[ErrorObject]) -> None:
        """Put each finding at its field; what belongs to none stands on top."""
        names = {path: name for name, path in PATHS.items()}
        for error in errors:
            path = (error.field_path or "").removeprefix(PAYLOAD)
            name = names.get(path) or ("further" if path in self.cleaned_data["further"] else None)
            self.add_error(name, error.message if name in names.values() else f"{path}: {error.message}")


def _current(message: Message) -> dict[str, Any]:
    payload = message.vcp["vcp_payload"]
    score = message.user_satisfaction_score
    cost = payload["outcomes"].get("model_outcome_attribution", {}).get("total_cost_usd")
    return {
        "status": message.status,
        "start_time": message.start_time,
        "end_time": message.end_time,
        "duration_sec": message.duration_sec,
        "total_cost_usd": None if cost is None else Decimal(str(cost)),
        "user_satisfaction_score": score and score.normalize(),
        "summary": payload["hcr"].get("summary") or "",
    }


def _json(value: Any) -> Any:
    if isinstance(value, datetime):
        return _iso(value)
    if isinstance(value, Decimal):
        return float(value)
    return None if value == "" else value


def _iso(moment: datetime) -> str:
    precision = "seconds" if not moment.microsecond else "milliseconds" if not moment.microsecond % 1000 else "auto"
    return moment.astimezone(UTC).isoformat(timespec=precision).replace("+00:00", "Z")
