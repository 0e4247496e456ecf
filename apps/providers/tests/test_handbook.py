"""docs/providers.md is what the catalogue says, and says when a sample no longer passes."""

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from apps.providers import catalog, golden, handbook
from apps.providers.engine.signatures import parse_scheme


def test_the_page_is_up_to_date() -> None:
    call_command("provider_docs", "--check")


def test_the_page_has_a_chapter_and_every_event_of_each_provider() -> None:
    text = handbook.page()
    for slug in catalog.slugs():
        spec = catalog.load(slug)
        chapter = text.partition(f"\n## {spec.name}\n")[2].partition("\n## ")[0]
        assert chapter
        assert all(f"| `{event.name}` |" in chapter for event in spec.mapping.events)
        assert all(gap in chapter for gap in (*spec.gaps, *spec.stricter, *spec.sources))
        assert all(f"| `{name}` |" in chapter for name in golden.sample_bodies(slug))


def test_the_command_prints_writes_and_checks(tmp_path: Path, settings: Any) -> None:
    settings.BASE_DIR = tmp_path
    (tmp_path / "docs").mkdir()
    with pytest.raises(CommandError, match="provider_docs --write"):
        call_command("provider_docs", "--check")
    call_command("provider_docs", stdout=(out := StringIO()))
    assert not (tmp_path / "docs" / "providers.md").exists()
    call_command("provider_docs", "--write")
    assert (tmp_path / "docs" / "providers.md").read_text() == out.getvalue() == handbook.page()
    call_command("provider_docs", "--check")
    (tmp_path / "docs" / "providers.md").write_text("old")
    with pytest.raises(CommandError):
        call_command("provider_docs", "--check")


def test_a_sample_that_fails_or_differs_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    bodies = {"message": b'{"vcp_version": "0.5"}', "unstored": golden.sample_bodies("vcp")["message"]}
    monkeypatch.setattr(golden, "sample_bodies", lambda slug: bodies)
    monkeypatch.setattr(catalog, "slugs", lambda: ["vcp"])
    assert "| 0 of 2 |" in handbook.page()


TIMED = {"kind": "hmac", "header": "X-Sig", "signed": "{timestamp}.{body}"}


@pytest.mark.parametrize(
    ("scheme", "words"),
    [
        (
            TIMED | {"items": ["t={timestamp}", "v1={signature}"], "separator": ",", "timestamp_unit": "s"},
            [
                "`X-Sig` holds `t={timestamp},v1={signature}`:",
                "over `{timestamp}.{body}`",
                "(seconds) may be 300 s old",
            ],
        ),
        (TIMED | {"timestamp_header": "X-Time"}, ["300 s old and 300 s ahead. It stands in `X-Time`."]),
        (
            {"kind": "hmac", "header": "X-Sig", "algorithm": "sha512", "encoding": "base64"},
            ["HMAC-SHA512 in base64 over `{body}`, keyed with the secret as text.", "No time is signed"],
        ),
        ({"kind": "hmac", "header": "X-Sig", "secret_encoding": "whsec"}, ["after `whsec_`, decoded from base64."]),
        ({"kind": "token", "header": "X-Key"}, ["Header `X-Key` holds the secret itself.", "neither body nor time"]),
        ({"kind": "token", "prefix": "Bearer"}, ["holds `Bearer` and the secret itself (the bare secret is taken"]),
        ({"kind": "none", "reason": "a trial"}, ["None: whoever knows the address can post."]),
    ],
    ids=["timed", "time in a header", "untimed", "whsec", "token", "bearer", "none"],
)
def test_a_scheme_is_told_in_words(scheme: Any, words: list[str]) -> None:
    told = handbook.proof_in_words(parse_scheme(scheme))
    assert [part for part in words if part not in told] == []
