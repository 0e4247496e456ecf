"""The command line: what each command prints where, its exit status, and what odd input comes to."""

from __future__ import annotations

import io
import json
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import vcp
from vcp.cli import documents
from vcp.cli import main as cli
from vcp.cli.main import main
from vcp.tests.samples import full

FOLDER = Path(vcp.__file__).parent
NOW = "--now=2025-11-01T00:00:00Z"


@pytest.fixture
def run(capsys, monkeypatch):
    """Run a command with bytes on standard input: exit status, standard output and standard error."""

    def run(*arguments, given=b""):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given)))
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            status = stop.code
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def text(name):
    return json.dumps(vcp.examples.load(name)).encode()


def told(out):
    return [json.loads(line) for line in out.splitlines()]


def broken():
    message = full()
    del message["vcp_payload"]["call"]["call_id"]
    message["vcp_payload"]["consent"] = None
    return json.dumps(message).encode()


# --- validate -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "status", "words"),
    [
        ("v05_vapi", 0, "valid, 0.5 current"),
        ("v04_complete", 0, "valid, 0.4 complete"),
        ("v04_incomplete", 1, "not valid, 0.4 incomplete"),
        ("v03_lineage", 0, "valid, 0.3 lineage"),
        ("v03_full_mode", 0, "valid, 0.3 published"),
    ],
)
def test_a_message_is_checked_by_the_rules_of_its_version(run, name, status, words):
    got, out, err = run("validate", NOW, given=text(name))
    assert (got, out.splitlines()[0], err) == (status, f"standard input: {words}", "")


def test_findings_are_aligned_rows_of_place_rule_and_words(run, tmp_path):
    path = tmp_path / "call.json"
    path.write_bytes(broken())
    status, out, _ = run("validate", NOW, path)
    assert status == 1
    assert out.splitlines() == [
        f"{path}: not valid, 0.5 current",
        "  error  S1  $.vcp_payload.call.call_id  required field is missing",
    ]


def test_a_machine_is_told_one_object_a_message(run, tmp_path):
    path = tmp_path / "calls.jsonl"
    path.write_bytes(text("v05_vapi") + b"\n\n" + broken())
    status, out, err = run("validate", "--json", NOW, path)
    good, bad = told(out)
    assert (status, err) == (1, "2 messages, 1 fine, 1 not, 1 error\n")
    assert good == {
        "file": str(path), "line": 1, "valid": True, "version": "0.5", "shape": "current", "errors": [], "warnings": [],
    }  # fmt: skip
    assert (bad["line"], bad["valid"]) == (3, False)
    assert bad["errors"][0]["code"] == "VCP_E005"
    assert bad["errors"][0]["context"] == {"rule": "S1"}


def test_one_bad_line_of_many_does_not_end_the_run(run):
    lines = [text("v05_vapi"), b'{"vcp_version": "0.9"}', b"\xff\xfe", b"{", b"NaN", text("v03_lineage")]
    status, out, _ = run("validate", "--lines", NOW, given=b"\n".join(lines))
    assert status == 1
    assert [line.split(",")[0] for line in out.splitlines() if not line.startswith(" ")] == [
        "standard input:1: valid", "standard input:2: not valid", "standard input:3: not valid",
        "standard input:4: not valid", "standard input:5: not valid", "standard input:6: valid", "6 messages",
    ]  # fmt: skip
    assert out.splitlines()[-1] == "6 messages, 2 fine, 4 not, 4 errors"
    assert "unknown version; supported: 0.3, 0.4, 0.5" in out


def test_a_consent_is_judged_at_the_given_time(run):
    message = vcp.examples.load("v05_whole")
    message["vcp_payload"]["consent"]["expires_at"] = "2025-12-01T00:00:00Z"
    for now, expired in (("2025-11-30T00:00:00Z", False), ("2025-12-02T00:00:00+02:00", True)):
        _, out, _ = run("validate", "--now", now, given=json.dumps(message).encode())
        assert ("C2" in out) is expired


def test_without_a_given_time_the_clock_decides(run):
    message = vcp.examples.load("v05_whole")
    for year, expired in (("2001", True), ("9999", False)):
        message["vcp_payload"]["consent"] |= {
            "granted_at": "2000-01-01T00:00:00Z",
            "expires_at": f"{year}-01-01T00:00:00Z",
        }
        assert ("C2" in run("validate", given=json.dumps(message).encode())[1]) is expired


@pytest.mark.parametrize("given", [b"", b" \n \n"])
@pytest.mark.parametrize("options", [[], ["--lines"], ["--json"]])
def test_empty_input_is_a_finding(run, given, options):
    status, out, _ = run("validate", *options, given=given)
    assert status == 1
    assert "the input is empty; a message is needed" in out


@pytest.mark.parametrize("options", [[], ["--lines"]])
def test_input_beyond_the_bound_is_a_finding(run, monkeypatch, options):
    monkeypatch.setattr(documents, "MAX_BYTES", 5000)
    long = b" " * 5000 + b"{}"
    status, out, _ = run("validate", *options, given=long + b"\n" + (b"{}" if options else b""))
    assert status == 1
    assert out.count("the input is longer than") == 1
    assert out.count("$.audit") == len(options)  # the line after it is read for itself


@pytest.mark.parametrize(
    "given", [b"[" * 100_000, b"\x00", b"9" * 100_000, b'"\\ud800"', b"\xef\xbb\xbf{}", b"[]", b"1e999"]
)
@pytest.mark.parametrize(
    "command", [["validate"], ["upgrade"], ["downgrade"], ["checksum"], ["vcon"], ["vcon", "--from"]]
)
def test_what_is_no_message_is_a_finding_of_every_command(run, command, given):
    status, out, _ = run(*command, "--json", given=given)
    assert status == 1
    assert told(out)[0]["errors"]


# --- files and options --------------------------------------------------------------------------------------


def test_a_file_that_cannot_be_read_does_not_keep_the_others_from_their_turn(run, tmp_path):
    good = tmp_path / "good.json"
    good.write_bytes(text("v05_vapi"))
    status, out, err = run("validate", NOW, tmp_path / "none.json", tmp_path, good)
    assert (status, out) == (2, f"{good}: valid, 0.5 current\n")
    assert err.splitlines() == [
        f"{tmp_path / 'none.json'}: cannot be read: No such file or directory",
        f"{tmp_path}: cannot be read: Is a directory",
    ]


def test_a_closed_standard_input_cannot_be_read(capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    assert main(["validate"]) == 2
    assert capsys.readouterr().err == "-: cannot be read: standard input is closed\n"


def test_without_standard_output_nothing_can_be_told(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    assert main(["example"]) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "COMMAND"),
        (["mend"], "invalid choice"),
        (["validate", "--to", "0.3"], "unrecognized arguments"),
        (["validate", "--now", "soon"], "a time with its offset is needed"),
        (["validate", "--now", "2025-01-01T00:00:00"], "a time with its offset is needed"),
        (["downgrade", "--to", "0.4"], "invalid choice"),
        (["schema", "--version", "0.6"], "invalid choice"),
        (["schema", "--version", "0.4", "--shape", "lineage"], "only version 0.3 has shapes"),
        (["example", "v09_none"], "no example of this name; there are: v03_booked_service"),
    ],
)
def test_what_cannot_be_asked_is_told_with_status_2(run, arguments, words):
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert words in err


def test_colours_are_for_terminals(run, monkeypatch):
    assert "\x1b" not in run("validate", given=broken())[1]
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda stream: True)
    assert "  \x1b[31merror\x1b[0m  S1" in run("validate", given=broken())[1]


def test_a_long_place_does_not_push_the_others_away(run):
    message = full() | {"x" * 200: 1}
    message["vcp_payload"]["call"]["duration_sec"] = "long"
    _, out, _ = run("validate", NOW, given=json.dumps(message).encode())
    row = next(line for line in out.splitlines() if "duration_sec" in line)
    assert len(row) < 150


# --- upgrade and downgrade ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["v03_lineage", "v03_full_mode", "v04_complete", "v04_incomplete"])
def test_an_older_message_is_upgraded_and_told_what_was_made_up(run, name):
    status, out, err = run("upgrade", given=text(name))
    assert (status, json.loads(out)) == (0, vcp.migrate(vcp.examples.load(name)).message)
    assert out.startswith("{\n  ")
    assert "made up" in err or "warning" in err


def test_a_current_message_stays_as_it_is_without_remarks(run):
    status, out, err = run("upgrade", given=text("v05_vapi"))
    assert (status, json.loads(out), err) == (0, vcp.examples.load("v05_vapi"), "")


@pytest.mark.parametrize("shape", ["published", "lineage"])
def test_a_message_is_downgraded_to_the_shape_asked_for(run, shape):
    status, out, err = run("downgrade", "--to", "0.3", "--shape", shape, given=text("v05_whole"))
    assert status == 0
    assert vcp.detect(json.loads(out)) == ("0.3", shape)
    assert f"0.5 current is now 0.3 {shape}" in err
    assert "  lost" in err


def test_a_refused_consent_is_downgraded_only_by_force(run):
    message = vcp.examples.load("v05_whole")
    message["vcp_payload"]["consent"]["status"] = "revoked"
    del message["audit"]["checksum"]
    given = json.dumps(message).encode()
    status, out, err = run("downgrade", given=given)
    assert (status, out) == (1, "")
    assert "VCP_E003  $.vcp_payload.consent.status  consent is revoked" in err
    assert run("downgrade", "--force", given=given)[0] == 0


def test_what_hinders_a_migration_is_told_finding_by_finding(run):
    status, out, err = run("upgrade", given=broken())
    assert (status, out) == (1, "")
    assert [line.split()[1] for line in err.splitlines()[1:]] == ["VCP_E003", "S1"]
    error = told(run("upgrade", "--json", given=broken())[1])[0]["errors"][0]
    assert (error["code"], error["context"]["errors"][0]["code"]) == ("VCP_E003", "VCP_E005")


def test_many_messages_come_out_one_a_line(run, tmp_path):
    lines = tmp_path / "calls.ndjson"
    lines.write_bytes(text("v03_lineage") + b"\n" + text("v04_complete"))
    one = tmp_path / "one.json"
    one.write_bytes(json.dumps(vcp.examples.load("v03_full_mode"), indent=2).encode())
    for files, count in (([lines], 2), ([lines, one], 3)):
        status, out, _ = run("upgrade", *files)
        assert status == 0
        assert [message["vcp_version"] for message in told(out)] == ["0.5"] * count


def test_a_machine_gets_message_and_report(run):
    (record,) = told(run("upgrade", "--json", given=text("v03_lineage"))[1])
    done = vcp.migrate(vcp.examples.load("v03_lineage"))
    assert record == {"file": "-", **done.to_dict(), "errors": []}


# --- checksum, vcon, schema, example ------------------------------------------------------------------------


def test_a_checksum_is_shown_with_the_name_of_its_file(run, tmp_path):
    path = tmp_path / "call.json"
    path.write_bytes(text("v05_vapi"))
    found = vcp.checksum(vcp.examples.load("v05_vapi"))
    assert run("checksum", path)[:2] == (0, f"{found}  {path}\n")
    assert told(run("checksum", "--json", path)[1]) == [{"file": str(path), "checksum": found, "errors": []}]


@pytest.mark.parametrize("command", ["checksum", "vcon"])
@pytest.mark.parametrize("name", ["v03_lineage", "v03_full_mode", "v04_complete"])
def test_what_only_the_current_version_has_asks_for_an_upgrade(run, command, name):
    status, out, err = run(command, given=text(name))
    assert (status, out) == (1, "")
    assert "upgrade it to 0.5 first" in err


def test_a_relabelled_message_has_a_checksum_as_it_stands(run):
    message = vcp.examples.load("v05_vapi") | {"vcp_version": "0.4"}
    assert run("checksum", given=json.dumps(message).encode())[0] == 0


def test_a_message_goes_into_a_vcon_and_comes_back(run):
    status, vcon, _ = run("vcon", given=text("v05_vapi"))
    assert (status, json.loads(vcon)) == (0, vcp.to_vcon(vcp.read(vcp.examples.load("v05_vapi"))))
    status, out, _ = run("vcon", "--from", given=vcon.encode())
    assert (status, json.loads(out)) == (0, vcp.examples.load("v05_vapi"))


def test_a_call_that_has_not_ended_makes_no_vcon(run):
    message = vcp.examples.load("v05_vapi")
    for name in ("end_time", "duration_sec"):
        message["vcp_payload"]["call"].pop(name, None)
    status, out, err = run("vcon", given=json.dumps(message).encode())
    assert (status, out) == (1, "")
    assert "VCP_E005" in err


@pytest.mark.parametrize(
    ("options", "uri"),
    [
        ([], "urn:voicelens:vcp:0.5"),
        (["--version", "0.4"], "urn:voicelens:vcp:0.4"),
        (["--version", "0.3"], "urn:voicelens:vcp:0.3:published"),
        (["--version", "0.3", "--shape", "lineage"], "urn:voicelens:vcp:0.3:lineage"),
    ],
)
def test_each_version_and_shape_has_its_schema(run, options, uri):
    status, out, _ = run("schema", *options)
    assert (status, json.loads(out)["$id"]) == (0, uri)


def test_examples_are_named_and_shown(run):
    assert run("example")[:2] == (0, "\n".join(vcp.examples.names()) + "\n")
    assert json.loads(run("example", "--json")[1]) == vcp.examples.names()
    status, out, _ = run("example", "v04_complete")
    assert (status, json.loads(out)) == (0, vcp.examples.load("v04_complete"))
    assert run("example", "v04_complete", "--json")[1].count("\n") == 1


# --- streams that break -------------------------------------------------------------------------------------


class Broken(io.StringIO):
    """An output whose reader has gone, or whose disk is full; what lies behind it is a file of the test."""

    def __init__(self, error, file):
        super().__init__()
        self.error, self.file = error, file

    def reconfigure(self, **changes):
        pass

    def write(self, text):
        raise self.error

    def fileno(self):
        return self.file.fileno()


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (BrokenPipeError(), 141, ""),
        (OSError(28, "No space left on device"), 2, "the output cannot be written: No space left on device\n"),
    ],
)
def test_an_output_that_breaks_ends_the_run(monkeypatch, capsys, tmp_path, error, status, words):
    with (tmp_path / "out").open("wb") as file:
        monkeypatch.setattr(sys, "stdout", Broken(error, file))
        assert main(["example"]) == status
    monkeypatch.undo()
    assert capsys.readouterr().err == words


def test_an_interruption_ends_the_run_without_a_trace(monkeypatch):
    def interrupted(asked):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_run", interrupted)
    assert main(["validate"]) == 130


@pytest.mark.parametrize(("name", "status"), [("__main__", 0), ("only_imported", None)])
def test_the_package_runs_as_a_program_but_not_when_it_is_imported(monkeypatch, capsys, name, status):
    monkeypatch.setattr(sys, "argv", ["vcp", "example"])
    ended = None
    try:
        runpy.run_module("vcp.__main__", run_name=name)
    except SystemExit as stop:
        ended = stop.code
    assert ended == status
    assert bool(capsys.readouterr().out) is (status == 0)


def test_the_folder_alone_with_pydantic_is_enough(tmp_path):
    """A copy of `vcp/` without tests, in a Python that finds nothing else of the project and no Django."""
    shutil.copytree(FOLDER, tmp_path / "vcp", ignore=shutil.ignore_patterns("tests", "__pycache__"))
    (tmp_path / "example.json").write_bytes(text("v03_full_mode"))
    code = (
        "import runpy, sys\n"
        f"sys.path.insert(0, {str(tmp_path)!r})\n"
        "sys.modules['django'] = sys.modules['orjson'] = None\n"
        "runpy.run_module('vcp', run_name='__main__', alter_sys=True)"
    )
    arguments = [sys.executable, "-I", "-c", code, "upgrade", str(tmp_path / "example.json")]
    done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, check=False, timeout=60)
    assert (done.returncode, json.loads(done.stdout)["vcp_version"]) == (0, "0.5")
