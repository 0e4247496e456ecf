"""Files in payloads: taken out whole with every other byte left alone, or not at all."""

import base64
import hashlib
import json
import tracemalloc

import pytest
from pydantic import ValidationError

from apps.providers.engine.embedded import ArtifactSpec, file_of, reference_to, take_out
from apps.providers.engine.errors import MappingError
from apps.providers.engine.payload import parse
from apps.providers.engine.tests.specs import EVENTS, mapping

SPEC = ArtifactSpec(path="data.audio", kind="recording", media_type="audio/mpeg")
CONTENT = bytes(range(256)) * 40
AUDIO = base64.b64encode(CONTENT).decode()
SHA256 = hashlib.sha256(CONTENT).hexdigest()
REFERENCE = f"internal://files/{SHA256}"


def taken(body: bytes):
    return take_out(SPEC, body, parse(body))


def test_the_reference_stands_where_the_file_was_and_all_else_as_it_came():
    body = b'{ "data" : {"audio":"%b" , "b": 1.50},"audio":"x" }\n' % AUDIO.encode()
    shorter, file = taken(body)
    assert shorter == b'{ "data" : {"audio":"%b" , "b": 1.50},"audio":"x" }\n' % REFERENCE.encode()
    assert (file.content, file.sha256, file.media_type, file.reference) == (CONTENT, SHA256, "audio/mpeg", REFERENCE)
    assert "content" not in repr(file)


def test_escapes_in_the_text_do_not_matter():
    written = json.dumps(AUDIO).replace("/", "\\/").encode()
    assert b"\\/" in written
    shorter, file = taken(b'{"data": {"audio": %b}}' % written)
    assert json.loads(shorter) == {"data": {"audio": REFERENCE}}
    assert file.content == CONTENT


@pytest.mark.parametrize(
    "value",
    [
        None, "", "   ", 5, True, ["QUJD"], {"a": "QUJD"}, "QUJ", "=QUJD", "QU JD", "QUJD!", "QUJD\u00e9", REFERENCE,
        "====",
    ],
)  # fmt: skip
def test_what_is_no_base64_stays_where_it_is(value):
    body = json.dumps({"data": {"audio": value}}).encode()
    assert taken(body) == (body, None)


def test_a_value_that_is_not_in_the_bytes_as_json_stays():
    payload = {"data": {"audio": AUDIO}}
    assert take_out(SPEC, b"data=x", payload) == (b"data=x", None)


def test_memory_stays_below_three_times_the_body():
    body = json.dumps({"data": {"audio": base64.b64encode(CONTENT * 300).decode()}}).encode()
    payload = parse(body)
    tracemalloc.start()
    try:
        assert take_out(SPEC, body, payload)[1].content == CONTENT * 300
        assert tracemalloc.get_traced_memory()[1] < 3 * len(body)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "change",
    [
        {"path": "a[0]"}, {"path": "**.a"}, {"path": "$.a"}, {"path": ""}, {"kind": "page"}, {"encoding": "hex"},
        {"media_type": "text/html"}, {"media_type": "image/svg+xml"}, {"media_type": "audio/mpeg; x=1"}, {"more": 1},
    ],
)  # fmt: skip
def test_a_description_that_cannot_work_is_refused(change):
    with pytest.raises(ValidationError):
        ArtifactSpec.model_validate(SPEC.model_dump() | change)


@pytest.mark.parametrize(
    "text", [SHA256, f"{REFERENCE}0", f"{REFERENCE}\n", "internal://files/x", None, 5, [REFERENCE]]
)
def test_only_a_whole_reference_is_one(text):
    assert file_of(reference_to(SHA256)) == SHA256
    assert file_of(text) is None


WITH_FILE = {
    "name": "sound", "kind": "call_analyzed", "disposition": "map",
    "artifact": {"path": "call.audio", "kind": "recording", "media_type": "audio/wav"},
}  # fmt: skip


def test_a_mapping_takes_the_reference_of_its_event_and_of_no_other():
    made = mapping(events=[*EVENTS, WITH_FILE])
    told = {"call": {"audio": REFERENCE, "more": 1}}
    fragment = made.apply({"type": "sound", **told})[1]
    assert fragment.values["recording"].value == REFERENCE
    assert fragment.data == {"call": {"more": 1}}
    assert "recording" not in made.apply({"type": "end", **told})[1].values
    assert "recording" not in made.apply({"type": "sound", "call": {"audio": None}})[1].values


def test_no_rule_may_write_a_file():
    with pytest.raises(ValidationError, match="no field"):
        mapping({"source": "call.x", "target": "recording"})


def test_a_required_file_that_is_not_there_fails_the_event():
    made = mapping(events=[*EVENTS, {**WITH_FILE, "required": ["call.audio"]}])
    with pytest.raises(MappingError, match=r"call\.audio is missing"):
        made.apply({"type": "sound", "call": {"id": "c1"}})
