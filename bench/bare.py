"""The least that could store a webhook: one Django view without middleware that INSERTs the body and answers.

The yardstick of `make bench-ingest`, under the same server. It proves nothing and finds no repetition.
"""

import os
from typing import Any

import environ
from django.conf import settings
from django.http import HttpRequest, HttpResponse

DATABASE: dict[str, Any] = {**environ.Env.db_url_config(os.environ["DATABASE_URL"]), "CONN_MAX_AGE": None}
if DATABASE["ENGINE"].endswith("sqlite3"):
    DATABASE["OPTIONS"] = {"init_command": "PRAGMA journal_mode=WAL;PRAGMA synchronous=FULL;", "timeout": 20}
settings.configure(
    SECRET_KEY="of no use",  # noqa: S106 - nothing is signed
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=[],
    DATABASES={"default": DATABASE},
    USE_TZ=True,
)

from django.core.wsgi import get_wsgi_application  # noqa: E402 - the settings come first
from django.db import connection  # noqa: E402
from django.urls import path  # noqa: E402

TABLE = "bench_bare"


def make_table() -> None:
    on_postgres = connection.vendor == "postgresql"
    key, body = ("BIGSERIAL", "BYTEA") if on_postgres else ("INTEGER", "BLOB")
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE IF NOT EXISTS {TABLE} (id {key} PRIMARY KEY, body {body})")
        if on_postgres:
            cursor.execute(f"ALTER TABLE {TABLE} ALTER COLUMN body SET COMPRESSION lz4")


def store(request: HttpRequest, provider: str) -> HttpResponse:
    with connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO {TABLE} (body) VALUES (%s)", [request.body])  # noqa: S608
    return HttpResponse(b'{"success":true}', content_type="application/json")


urlpatterns = [path("webhook/<str:provider>", store)]
application: Any = get_wsgi_application()

if __name__ == "__main__":
    make_table()
