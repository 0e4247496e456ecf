"""The tables of docs/protocol.md tell every field, rule and code; the page's examples hold."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

import vcp
from vcp.errors import ERROR_NAMES
from vcp.findings import WARNING_RULES
from vcp.models import field_paths
from vcp.protocol_page import BEGIN, END, tables, with_tables

# The folder may stand alone, without the project's pages.
PAGE = Path(vcp.__file__).parent.parent / "docs" / "protocol.md"
has_page = pytest.mark.skipif(not PAGE.exists(), reason="the protocol's folder stands alone")


def test_the_tables_tell_every_field_of_v05():
    text = tables().partition("## Fields of v0.4")[0]
    names = {part for path in field_paths() for part in path.split(".") if part != "*"}
    assert [name for name in sorted(names - {"roles"}) if f"| `{name}` |" not in text] == []


def test_a_field_is_told_with_its_type_and_whether_it_must_be_there():
    lines = tables().splitlines()
    for line in (
        "| `from` | text |  |",
        "| `start_time` | timestamp | yes |",
        "| `start_time` | timestamp, ends in `Z` | yes |",
        "| `capabilities_invoked` | list of text or CapabilityInvocation | default `[]` |",
        "| `roles` | map of ModelRole to ModelRoleInfo | yes |",
        '| `vcp_version` | VCPVersion | default `"0.5"` |',
        '| `vcp_version` | `0.4` | default `"0.4"` |',
        "| `channel` | CallDirection |  |",
        "| `by` | Judge | yes |",
        "| CapabilityType | `tool_call`, `function_call`, `api_call`, `webhook`, `integration` |",
    ):
        assert line in lines


def test_the_tables_tell_every_rule_with_its_level_and_every_code():
    text = tables()
    rules = dict(re.findall(r"^\| ([SXCAV]\d+) \| (error|warning) \|", text, re.M))
    assert {name for name, level in rules.items() if level == "warning"} == WARNING_RULES
    assert len(rules) == 33
    assert all(f"| {code} | `{name}` |" in text for code, name in ERROR_NAMES.items())
    assert "| X7 | warning | VCP_E001 | audit.schema_version differs from vcp_version |" in text


def test_only_what_stands_between_the_marks_is_replaced():
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert with_tables(page) == f"before\n{BEGIN}\n\n{tables()}\n{END}\nafter\n"
    assert with_tables(with_tables(page)) == with_tables(page)


@pytest.mark.parametrize("page", ["", BEGIN, f"{END} {BEGIN}"])
def test_a_page_without_both_marks_is_refused(page):
    with pytest.raises(ValueError, match="both marks"):
        with_tables(page)


@has_page
def test_the_message_on_the_page_is_valid_and_has_the_sum_that_is_told():
    text = PAGE.read_text("utf-8")
    message = json.loads(re.findall(r"```json\n(.*?)```", text, re.S)[0])
    report = vcp.validate(message, now=datetime(2025, 10, 15, tzinfo=UTC))
    assert [one.context["rule"] for one in report.errors + report.warnings] == ["C4"]
    assert f"`{vcp.checksum(message)}`" in text


@has_page
def test_the_python_on_the_page_runs(capsys):
    for code in re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.S):
        exec(code, {})  # noqa: S102 - our own page
    assert "VCP_E001 $.vcp_version" in capsys.readouterr().out
