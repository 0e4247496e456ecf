"""What the admin shows of a transcript's turns."""

from typing import Any

import pytest

from apps.ingest.admin.transcript import ToolUse, Turn, turns

LAID_OUT = '{\n  "service": "oil change",\n  "window": {"from": "2026-03-20T08:00", "to": "2026-03-20T18:00"}\n}'
AS_TEXT = '{"service":"oil change","window":{"from":"2026-03-20T08:00","to":"2026-03-20T18:00"}}'


def turn(row: Any) -> Turn:
    [found] = turns([row])
    return found


@pytest.mark.parametrize(
    ("row", "shown"),
    [
        ({"speaker": "agent", "text": "Hello.", "start_sec": 0.41, "model": "m"}, Turn("agent", "0.4 s", "Hello.", [])),
        ({"text": "Hello.", "at": "2026-03-04T15:30:12.101+00:00"}, Turn("unknown", "15:30:12", "Hello.", [])),
        ({"speaker": "caller", "text": "Hm", "at": "soon"}, Turn("caller", "", "Hm", [])),
        ({"speaker": "caller", "text": "Hm", "at": 7}, Turn("caller", "", "Hm", [])),
        ({"speaker": "agent", "text": "", "at": "x", "heard_ms": 9}, Turn("agent", "", '{"heard_ms": 9}', [])),
        ({"speaker": "agent", "text": None, "start_sec": 1}, Turn("agent", "1.0 s", "(nothing)", [])),
        ("Hello.", Turn("", "", "Hello.", [])),
        (["a", 1], Turn("", "", '["a", 1]', [])),
        ({"speaker": "tool_result", "text": '{"id": 1}', "tool_call_id": "t1"},
         Turn("tool result", "", '{"id": 1}', [])),
    ],
)  # fmt: skip
def test_a_turn_is_speaker_time_and_what_was_said(row: Any, shown: Turn) -> None:
    assert turn(row) == shown


@pytest.mark.parametrize(
    ("row", "use"),
    [
        ({"tool": "lookup", "arguments": AS_TEXT}, ToolUse("lookup", "", LAID_OUT, False)),
        ({"tool": "lookup"}, ToolUse("lookup", "", "", False)),
        ({"tool": "lookup", "arguments": '{"a": 1'}, ToolUse("lookup", "", '{"a": 1', False)),
        ({"tool": "lookup", "result": {"a": 1}}, ToolUse("lookup", "", '{"a": 1}', False)),
        ({"tool": "lookup", "arguments": "[1]", "result": "ok"}, ToolUse("lookup", "", "[1]\nok", False)),
        ({"tool": "lookup", "successful": False}, ToolUse("lookup", "", "", True)),
        ({"tool_calls": [{"id": "c", "function": {"name": "book", "arguments": AS_TEXT}}]},
         ToolUse("book", "", LAID_OUT, False)),
        ({"tool_calls": [{"tool_name": "book", "params_as_json": "{}", "tool_details": None}]},
         ToolUse("book", "", "{}", False)),
        ({"tool_results": [{"tool_name": "book", "result_value": "gone", "is_error": True}]},
         ToolUse("book", "result", "gone", True)),
        ({"tool_results": [{"tool_name": "book", "result_value": ""}]}, ToolUse("book", "result", "", False)),
        ({"tool_calls": [{"what": "ever"}]}, ToolUse("", "", '{"what": "ever"}', False)),
        ({"tool_calls": "dial"}, ToolUse("", "", "dial", False)),
    ],
)  # fmt: skip
def test_a_tool_s_use_has_its_name_and_laid_out_values(row: dict[str, Any], use: ToolUse) -> None:
    assert turn({"speaker": "tool_call", "start_sec": 4, **row}) == Turn("tool call", "4.0 s", "", [use])


def test_what_was_said_and_the_tools_called_with_it_stand_together() -> None:
    row = {"speaker": "agent", "text": "One moment.", "tool_calls": [{"name": "a"}], "tool_results": [{"name": "a"}]}
    uses = [ToolUse("a", "call", "", False), ToolUse("a", "result", "", False)]
    assert turn(row) == Turn("agent", "", "One moment.", uses)


def test_a_transcript_of_one_text_is_one_turn() -> None:
    assert turns("Agent: hello") == [Turn("", "", "Agent: hello", [])]
