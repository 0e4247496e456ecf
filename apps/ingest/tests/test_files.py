"""Recordings that come inside a delivery: whole before anything is acknowledged, once, and gone with their call."""

import base64
import hashlib
import json
import os
import tempfile
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from unittest.mock import patch

import pytest
from django.core.files.base import ContentFile
from django.db import DatabaseError
from django.utils import timezone

from apps.history import record as history
from apps.ingest import committing, files, inbox, retention, storage, tasks
from apps.ingest.models import Artifact, CallKey, InboundEvent, Message, StoredFile
from apps.ingest.operations import erase_call, replay
from apps.providers import catalog
from apps.providers.engine.embedded import EmbeddedFile
from tests.calls import ARRIVAL, SECRET, in_threads, signed
from tests.synced import synced

pytestmark = pytest.mark.django_db(transaction=True)
SLUG = "elevenlabs"
CALL_ID = "conv_01example0000000000000001"
CONTENT = b"ID3\x04" + bytes(range(256)) * 16
FINISHED = "post_call_transcription.inbound_success_tools"


@pytest.fixture(autouse=True)
def folder(tmp_path, settings):
    settings.STORAGES = {
        **settings.STORAGES,
        "artifacts": {"BACKEND": "apps.ingest.storage.PrivateFiles", "OPTIONS": {"location": tmp_path / "artifacts"}},
    }
    return tmp_path / "artifacts"


@pytest.fixture(autouse=True)
def catalogue(transactional_db):
    synced(retell=SECRET, vcp=SECRET, elevenlabs=SECRET)


def audio(content=CONTENT, call_id=CALL_ID, **more):
    text = content if isinstance(content, str) else base64.b64encode(content).decode()
    data = {"agent_id": "agent_1", "conversation_id": call_id, "full_audio": text, **more}
    return {"type": "post_call_audio", "event_timestamp": 1773849655, "data": data}


def finished(call_id=CALL_ID):
    payload = json.loads(json.dumps(catalog.samples(SLUG)[FINISHED]))
    payload["data"]["conversation_id"] = call_id
    return payload


def sha256(content=CONTENT):
    return hashlib.sha256(content).hexdigest()


def kept(folder):
    """What lies in the storage, by name."""
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def recording_of(message):
    return message.vcp["vcp_payload"]["artifacts"].get("audio_recording_ref")


# --- coming in ------------------------------------------------------------------------------------------------


def test_a_recording_of_5_mb_is_a_file_and_the_row_a_reference(deliver, drain, folder):
    content = os.urandom(5 * 1024 * 1024 * 3 // 4)
    body = json.dumps(audio(content)).encode()
    assert len(body) > 5 * 1024 * 1024
    response = deliver(body, provider=SLUG)
    assert (response.status_code, response.json()["duplicate"]) == (200, False)
    assert kept(folder) == {sha256(content): content}
    row = InboundEvent.objects.get()
    assert len(row.body) < 300
    assert json.loads(bytes(row.body)) == audio(f"internal://files/{sha256(content)}")
    # What tells deliveries apart is what came.
    assert (row.body_size, row.body_sha256) == (len(body), sha256(body))
    assert row.delivery_key == f"sha256:{sha256(body)}"
    file = row.file
    assert (file.pk, file.size_bytes, file.media_type) == (sha256(content), len(content), "audio/mpeg")


def test_files_are_readable_by_the_service_only(arrive, folder):
    arrive(audio(), provider=SLUG)
    [path] = [path for path in folder.rglob("*") if path.is_file()]
    assert [oct(one.stat().st_mode)[-3:] for one in (path, path.parent, folder)] == ["600", "700", "700"]
    assert path.relative_to(folder).as_posix() == f"{sha256()[:2]}/{sha256()}"


@pytest.mark.parametrize("audio_first", [True, False])
def test_the_recording_finds_its_call_in_whatever_order(arrive, drain, audio_first):
    for payload in (audio(), finished()) if audio_first else (finished(), audio()):
        arrive(payload, provider=SLUG)
        drain()
    message, artifact = Message.objects.get(), Artifact.objects.get(kind="recording")
    assert recording_of(message) == artifact.ref == f"internal://artifacts/{artifact.pk}"
    assert (artifact.file.pk, artifact.content, artifact.call_key.call_id) == (sha256(), None, CALL_ID)
    assert set(InboundEvent.objects.values_list("state", flat=True)) == {"processed"}
    assert message.duration_sec == 23


def test_a_recording_without_its_call_waits(arrive, drain):
    arrive(audio(), provider=SLUG)
    drain()
    assert InboundEvent.objects.get().state == "waiting"
    assert not Message.objects.exists()
    assert Artifact.objects.get().file.pk == sha256()


def test_a_repetition_writes_nothing_again(deliver, folder):
    first = deliver(audio(), provider=SLUG).json()
    with patch.object(storage.PrivateFiles, "_save", side_effect=AssertionError("written again")):
        again = deliver(audio(), provider=SLUG).json()
    assert (again["duplicate"], again["delivery_id"]) == (True, first["delivery_id"])
    assert InboundEvent.objects.count() == StoredFile.objects.count() == len(kept(folder)) == 1


def test_the_same_recording_of_two_calls_is_one_file_and_two_artifacts(arrive, drain, folder):
    for call_id in ("conv_a", "conv_b"):
        arrive(audio(call_id=call_id), provider=SLUG)
        arrive(finished(call_id), provider=SLUG)
    drain()
    assert len(kept(folder)) == StoredFile.objects.count() == 1
    assert len({recording_of(message) for message in Message.objects.all()}) == 2


def test_a_replay_finds_the_recording_again(arrive, drain):
    arrive(audio(), provider=SLUG)
    arrive(finished(), provider=SLUG)
    drain()
    before = Message.objects.get().content_digest
    replay(InboundEvent.objects.all())
    drain()
    assert Message.objects.get().content_digest == before
    assert Artifact.objects.filter(kind="recording").count() == 1


# --- what is no recording ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["this is no base64!", "QUJ", f"internal://files/{sha256()}", {"url": "x"}, 5])
def test_what_cannot_be_decoded_is_kept_as_it_came_and_fails_visibly(deliver, drain, folder, text):
    StoredFile.objects.create(sha256=sha256(), size_bytes=1, media_type="audio/mpeg")  # somebody else's
    payload = audio() | {"data": {"conversation_id": CALL_ID, "full_audio": text}}
    assert deliver(payload, provider=SLUG).status_code == 200
    drain()
    row = InboundEvent.objects.get()
    assert (row.state, row.error_code, row.error_path) == ("failed", "VCP_E004", "$.data.full_audio")
    assert row.error_detail == "data.full_audio holds no file: when the delivery came it was no base64 text"
    assert json.loads(bytes(row.body)) == payload
    assert row.file is None
    assert not Artifact.objects.exists()
    assert kept(folder) == {}


def test_a_recording_that_the_mapping_redacts_is_not_stored(folder):
    mapping = catalog.load(SLUG).mapping
    redact = [*mapping.model_dump(by_alias=True)["redact"], {"paths": ["data.full_audio"]}]
    strict = inbox.Mapping(mapping.model_validate({**mapping.model_dump(by_alias=True), "redact": redact}))
    found = inbox.storable(strict, json.dumps(audio()).encode(), "application/json")
    assert found.file is None
    assert json.loads(found.body) == audio("[redacted]")


def test_an_unproven_recording_is_not_written(deliver, folder):
    body = json.dumps(audio()).encode()
    headers = signed(body, provider=SLUG, secret="another")
    assert deliver(body, provider=SLUG, headers=headers).status_code == 401
    assert kept(folder) == {}


def test_a_trial_writes_no_file(client, django_user_model, folder):
    client.force_login(django_user_model.objects.create_superuser("a", "a@example.com", "p"))
    body = json.dumps({"provider": SLUG, "payload": audio()})
    client.post("/api/webhook-test", body, "application/json")
    assert kept(folder) == {}
    assert not StoredFile.objects.exists()


# --- a storage that fails -----------------------------------------------------------------------------------------


@contextmanager
def failing(target, name):
    with patch.object(target, name, side_effect=OSError(28, "No space left on device")):
        yield


@pytest.mark.parametrize(("target", "name"), [(os, "fsync"), (Path, "replace"), (tempfile, "mkstemp")])
def test_a_storage_that_fails_acknowledges_nothing_and_leaves_nothing(deliver, drain, folder, target, name):
    with failing(target, name):
        response = deliver(audio(), provider=SLUG)
    assert (response.status_code, response["Retry-After"]) == (503, "5")
    assert not InboundEvent.objects.exists()
    assert not StoredFile.objects.exists()
    assert kept(folder) == {}
    assert deliver(audio(), provider=SLUG).json()["duplicate"] is False
    assert len(kept(folder)) == 1


def test_other_deliveries_do_not_need_the_storage(deliver):
    with failing(os, "fsync"):
        assert deliver(finished(), provider=SLUG).status_code == 200


def test_a_database_that_fails_leaves_an_orphan_at_most(deliver, folder):
    with patch.object(committing, "insert", side_effect=DatabaseError):
        assert deliver(audio(), provider=SLUG).status_code == 503
    assert not InboundEvent.objects.exists()
    assert not StoredFile.objects.exists()
    assert set(kept(folder)) == {sha256()}


def test_a_file_that_is_removed_while_its_delivery_comes_in_is_written_again(arrive, folder):
    write = files.write

    def and_it_goes(file):
        write(file)
        (folder / StoredFile(sha256=file.sha256).name).unlink(missing_ok=True)
        files.write = write

    with patch.object(files, "write", and_it_goes):
        # The first write is undone; the one under the lock is what counts.
        arrive(audio(), provider=SLUG)
    assert kept(folder) == {sha256(): CONTENT}


# --- going --------------------------------------------------------------------------------------------------------


def test_an_erased_call_takes_its_recording_along(arrive, drain, folder):
    arrive(audio(), provider=SLUG)
    arrive(finished(), provider=SLUG)
    drain()
    erase_call(CallKey.objects.get(), ARRIVAL)
    assert kept(folder) == {}
    assert not StoredFile.objects.exists()
    assert not Artifact.objects.exists()
    assert set(InboundEvent.objects.values_list("file", flat=True)) == {None}


def test_a_recording_that_another_call_needs_stays(arrive, drain, folder):
    for call_id in ("conv_a", "conv_b"):
        arrive(audio(call_id=call_id), provider=SLUG)
    drain()
    erase_call(CallKey.objects.get(call_id="conv_a"), ARRIVAL)
    assert set(kept(folder)) == {sha256()}
    erase_call(CallKey.objects.get(call_id="conv_b"), ARRIVAL)
    assert kept(folder) == {}


def test_a_recording_that_comes_after_its_call_was_erased_goes_at_once(arrive, drain, folder):
    arrive(finished(), provider=SLUG)
    drain()
    erase_call(CallKey.objects.get(), ARRIVAL)
    arrive(audio(), provider=SLUG)
    assert set(kept(folder)) == {sha256()}
    drain()
    assert kept(folder) == {}
    late = InboundEvent.objects.latest("id")
    assert (late.state, late.file, bytes(late.body)) == ("erased", None, b"")
    # Nor does a repetition bring it back.
    arrive(audio(), provider=SLUG)
    assert kept(folder) == {}


def test_an_erasure_that_is_rolled_back_leaves_the_recording(arrive, drain, folder):
    arrive(audio(), provider=SLUG)
    drain()
    with patch.object(history, "forget", side_effect=DatabaseError), pytest.raises(DatabaseError):
        erase_call(CallKey.objects.get(), ARRIVAL)
    assert set(kept(folder)) == {sha256()}
    assert Artifact.objects.get().file.pk == sha256()


def test_a_storage_that_fails_keeps_no_erasure_from_being_done_and_the_task_tries_again(arrive, drain, folder):
    arrive(audio(), provider=SLUG)
    drain()
    with patch.object(storage.PrivateFiles, "delete", side_effect=OSError):
        erase_call(CallKey.objects.get(), ARRIVAL)
    assert not CallKey.objects.exists()
    assert set(kept(folder)) == {sha256()}
    tasks.prune()
    assert kept(folder) == {}
    assert not StoredFile.objects.exists()


def test_retention_of_bodies_leaves_a_recording_to_its_call(arrive, drain, folder):
    arrive(audio(), provider=SLUG)
    arrive(finished(), provider=SLUG)
    drain()
    before = Message.objects.get().content_digest
    tasks.prune()  # they came long ago
    assert set(InboundEvent.objects.values_list("file", flat=True)) == {None}
    assert set(kept(folder)) == {sha256()}
    replay(InboundEvent.objects.all())
    drain()
    assert Message.objects.get().content_digest == before


def test_retention_takes_a_recording_that_belongs_to_no_call(arrive, drain, folder):
    arrive(audio(conversation_id=None), provider=SLUG)
    drain()
    assert InboundEvent.objects.get().state == "failed"
    files.remove_all_unused(timezone.now())
    assert set(kept(folder)) == {sha256()}  # the delivery can be replayed
    retention.empty_bodies([InboundEvent.objects.get().pk], ARRIVAL)
    files.remove_all_unused(timezone.now())
    assert kept(folder) == {}


def test_without_stored_payloads_the_recording_stays_with_its_call(arrive, drain, folder, settings):
    settings.STORE_WEBHOOK_PAYLOADS = False
    arrive(audio(), provider=SLUG)
    arrive(finished(), provider=SLUG)
    drain()
    files.remove_all_unused(timezone.now())
    assert set(kept(folder)) == {sha256()}
    assert recording_of(Message.objects.get()).startswith("internal://artifacts/")


def test_files_that_no_row_knows_go_after_a_day(folder):
    assert files.remove_all_unused(timezone.now()) == 0  # nothing was ever stored
    orphan = EmbeddedFile(CONTENT, sha256(), "audio/mpeg")
    files.write(orphan)
    (folder / "zz").mkdir()
    (folder / "zz" / ".half.part").write_bytes(b"half")
    now = timezone.now()
    assert files.remove_all_unused(now + timedelta(hours=23)) == 0
    assert len(kept(folder)) == 2
    assert files.remove_all_unused(now + timedelta(hours=25)) == 2
    assert kept(folder) == {}
    assert not StoredFile.objects.exists()


def test_a_file_in_use_is_never_an_orphan(arrive, folder):
    arrive(audio(), provider=SLUG)
    assert files.remove_all_unused(timezone.now() + timedelta(days=400)) == 0
    assert files.remove_unused([sha256()]) == 0
    assert set(kept(folder)) == {sha256()}


def test_saving_a_name_again_leaves_one_whole_file(folder):
    for _ in range(2):
        assert files.storage().save("ab/abc", ContentFile(b"same")) == "ab/abc"
    assert kept(folder) == {"abc": b"same"}


def test_a_call_that_goes_never_takes_the_recording_of_one_that_comes(arrive, drain, folder):
    for number in range(8):
        arrive(audio(call_id=f"old {number}"), provider=SLUG)
        drain()
        old = CallKey.objects.get(call_id=f"old {number}")
        in_threads(
            lambda old=old: erase_call(old, ARRIVAL),
            lambda number=number: arrive(audio(call_id=f"new {number}"), provider=SLUG),
        )
        assert kept(folder) == {sha256(): CONTENT}
        drain()
        erase_call(CallKey.objects.get(call_id=f"new {number}"), ARRIVAL)
        assert kept(folder) == {}


# --- being asked for ----------------------------------------------------------------------------------------------


@pytest.fixture
def reader(client, django_user_model):
    client.force_login(django_user_model.objects.create_superuser("reader", "r@example.com", "p"))
    return client


@pytest.mark.parametrize("accept", ["*/*", "audio/mpeg", "text/html", "application/json"])
def test_the_api_gives_the_file_under_its_own_type(arrive, drain, reader, accept):
    arrive(audio(), provider=SLUG)
    drain()
    artifact = Artifact.objects.get()
    response = reader.get(f"/api/artifacts/{artifact.pk}", headers={"Accept": accept})
    assert b"".join(response.streaming_content) == CONTENT
    assert (response.status_code, response["Content-Type"], response["Content-Length"]) == (
        200, "audio/mpeg", str(len(CONTENT)),
    )  # fmt: skip
    assert response["Content-Disposition"] == f'inline; filename="recording-{artifact.pk}.mp3"'
    assert (response["X-Content-Type-Options"], response["Cache-Control"]) == ("nosniff", "private, no-store")


def test_a_file_is_not_for_strangers_and_one_that_is_gone_is_404(arrive, drain, client, reader, folder):
    arrive(audio(), provider=SLUG)
    drain()
    address = f"/api/artifacts/{Artifact.objects.get().pk}"
    (folder / StoredFile.objects.get().name).unlink()
    response = reader.get(address)
    assert (response.status_code, response.json()["code"]) == (404, "HTTP_404")
    reader.logout()
    assert client.get(address).status_code in (401, 403)


def test_the_messages_page_has_the_recording(arrive, drain, reader):
    arrive(finished(), provider=SLUG)
    drain()
    page = f"/admin/ingest/message/{Message.objects.get().pk}/change/"
    assert b"Recording" not in reader.get(page).content
    arrive(audio(), provider=SLUG)
    drain()
    shown = reader.get(page).content.decode()
    assert f'href="/api/artifacts/{Artifact.objects.get(kind="recording").pk}"' in shown
    assert "audio/mpeg, 4.0" in shown
