"""docs/protocol.md says what the protocol's code says."""

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from vcp.protocol_page import BEGIN, END, tables


def test_the_page_is_up_to_date() -> None:
    call_command("protocol_docs", "--check")


def test_the_command_prints_writes_and_checks(tmp_path: Path, settings: Any) -> None:
    settings.BASE_DIR = tmp_path
    page = tmp_path / "docs" / "protocol.md"
    page.parent.mkdir()
    page.write_text(f"words\n{BEGIN}\n{END}\n")
    call_command("protocol_docs", stdout=(out := StringIO()))
    assert out.getvalue() == tables()
    with pytest.raises(CommandError, match="protocol_docs --write"):
        call_command("protocol_docs", "--check")
    call_command("protocol_docs", "--write")
    assert tables() in page.read_text()
    call_command("protocol_docs", "--check")
