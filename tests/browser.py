"""The admin as a browser without scripts sees it: addresses, forms as they would be sent back, texts and complaints."""

import re
from html.parser import HTMLParser
from typing import Any

from django.test import Client
from django.urls import reverse


def page(model: Any, kind: str, *args: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{kind}", args=args)


def action(row: Any, name: str) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_{name}", args=[row.pk])


class FormReader(HTMLParser):
    """The fields of a page's forms as a browser would send them back, without files and buttons."""

    def __init__(self) -> None:
        super().__init__()
        self.fields: dict[str, Any] = {}
        self._open: tuple[str, str] | None = None
        self._text = ""

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        given = dict(attrs)
        name = given.get("name") or ""
        if tag == "input" and name and given.get("type") not in ("submit", "file", "checkbox"):
            self.fields[name] = given.get("value") or ""
        elif tag == "input" and name and "checked" in given:
            self.fields[name] = given.get("value") or "on"
        elif tag in ("textarea", "select") and name:
            self._open, self._text = (tag, name), ""
            self.fields.setdefault(name, "")
        elif tag == "option" and self._open and "selected" in given:
            self.fields[self._open[1]] = given.get("value") or ""

    def handle_data(self, data: str) -> None:
        self._text += data

    def handle_endtag(self, tag: str) -> None:
        if self._open and tag == self._open[0]:
            if tag == "textarea":
                # A browser drops the line break that follows the tag, and sends the others in its own way.
                text = self._text.replace("\r\n", "\n").removeprefix("\n")
                self.fields[self._open[1]] = text.replace("\n", "\r\n")
            self._open = None


def filled(client: Client, url: str) -> dict[str, Any]:
    """What the page's form sends when nothing is changed."""
    reader = FormReader()
    reader.feed(client.get(url).content.decode())
    return {name: value for name, value in reader.fields.items() if "__prefix__" not in name and name != "q"}


def text_of(response: Any) -> str:
    return re.sub(r"\s+", " ", response.content.decode())


def problems(response: Any) -> list[str]:
    """Everything that the page complains about in its forms."""
    context = response.context
    found = [str(error) for errors in context["adminform"].form.errors.values() for error in errors]
    for inline in context.get("inline_admin_formsets", []):
        found += [str(error) for error in inline.formset.non_form_errors()]
        found += [str(error) for row in inline.formset.errors for errors in row.values() for error in errors]
    return found


def said_after(response: Any) -> list[str]:
    return [str(item) for item in response.context["messages"]]


def added(prefix: str, row: dict[str, str], at: int = 0) -> dict[str, str]:
    """The fields that adding a row in the browser puts into the form."""
    fields = {f"{prefix}-{at}-{name}": value for name, value in row.items()}
    return fields | {f"{prefix}-TOTAL_FORMS": str(at + 1)}
