"""One settings module. Everything that differs between machines is read from the environment (or `.env`).

Names and defaults are listed in `.env.example`; units are in the names.
"""

import os
import re
from email.utils import parseaddr
from pathlib import Path

import environ
from django.core.exceptions import ImproperlyConfigured
from django.templatetags.static import static
from django.urls import reverse

from apps.providers.engine.addresses import Network, parse_networks

BASE_DIR = Path(__file__).resolve().parent.parent
VERSION = "1.0"

env = environ.Env()
if os.environ.get("SERVICE_ENV") != "test":  # a test run must not depend on this machine's own settings
    environ.Env.read_env(BASE_DIR / ".env")

SERVICE_ENV = env.str("SERVICE_ENV", default="development")  # development, test, staging or production
PRODUCTION = SERVICE_ENV in ("production", "staging")
DEBUG = env.bool("DEBUG", default=False)


def _key(name: str, hint: str) -> str:
    value: str = env.str(name, default="")
    if not value:
        raise ImproperlyConfigured(f"{name} is not set. {hint} `make run` writes one to .env on a development machine.")
    return value


def _networks(name: str) -> list[Network]:
    """A list of addresses and networks; what is neither stops the start instead of failing each webhook."""
    try:
        return parse_networks(env.list(name, default=[]))
    except ValueError as error:
        raise ImproperlyConfigured(f"{name}: {error}") from None


def _feed_token() -> str:
    """Letters, digits, - and _, so that it can stand in an address; empty: there is no such address."""
    token: str = env.str("MONITORING_FEED_TOKEN", default="")
    if token and not re.fullmatch(r"[A-Za-z0-9_-]{20,200}", token):
        raise ImproperlyConfigured("MONITORING_FEED_TOKEN: 20 to 200 letters, digits, - and _ are needed.")
    return token


def _email_security() -> str:
    """starttls, tls or none. Anything else would send passwords in the clear."""
    told: str = env.str("EMAIL_SECURITY", default="starttls")
    if told not in ("starttls", "tls", "none"):
        raise ImproperlyConfigured("EMAIL_SECURITY: one of starttls, tls and none is needed.")
    return told


# --- Three independent keys: losing or rotating one leaves the other two as they are -------------------
SECRET_KEY = _key("SECRET_KEY", "Django signs sessions with it.")
# Secrets at rest: `id:key,id:key`; the first encrypts, all of them decrypt. A key is 32 bytes in URL-safe base64.
FIELD_ENCRYPTION_KEYS = _key("FIELD_ENCRYPTION_KEYS", "Provider secrets are encrypted with it (id:key,…).")
# Pseudonyms of callers: `version:text,…`; the first one is used, older ones still recognise erased calls.
PSEUDONYM_KEY = _key("PSEUDONYM_KEY", "Caller pseudonyms are keyed with it (version:text).")

# Secrets of the `default` endpoints by provider: WEBHOOK_SECRET_RETELL=new,old (or RETELL_WEBHOOK_SECRET). They count
# beside those in the admin.
WEBHOOK_SECRETS = {
    name.removeprefix("WEBHOOK_SECRET_").removesuffix("_WEBHOOK_SECRET").lower(): [
        part.strip() for part in value.split(",") if part.strip()
    ]
    for name, value in os.environ.items()
    if name.startswith("WEBHOOK_SECRET_") or name.endswith("_WEBHOOK_SECRET")
}

# --- Addresses --------------------------------------------------------------------------------------------
SERVICE_HOST = env.str("SERVICE_HOST", default="127.0.0.1")
PORT = env.int("PORT", default=env.int("SERVICE_PORT", default=8080))
# The address that providers reach; shown as the webhook URL to paste.
PUBLIC_BASE_URL = env.str("PUBLIC_BASE_URL", default=f"http://127.0.0.1:{PORT}").rstrip("/")
# The supervisor and container health checks ask by loopback, whatever the public name is.
ALLOWED_HOSTS = [*env.list("ALLOWED_HOSTS", default=[] if PRODUCTION else ["*"]), "127.0.0.1", "[::1]", "localhost"]
CSRF_TRUSTED_ORIGINS = env.list(
    "CSRF_TRUSTED_ORIGINS", default=[PUBLIC_BASE_URL] if PUBLIC_BASE_URL.startswith("https://") else []
)
# Proxies whose X-Forwarded-For is believed, as addresses or CIDR networks.
TRUSTED_PROXIES = _networks("TRUSTED_PROXIES")
# Addresses that may post webhooks at all; empty: every address. Providers and endpoints can narrow it further.
ALLOWED_WEBHOOK_IPS = _networks("ALLOWED_WEBHOOK_IPS")
# Set only behind a proxy that sets X-Forwarded-Proto itself: then requests count as HTTPS.
SECURE_PROXY_SSL_HEADER = (
    ("HTTP_X_FORWARDED_PROTO", "https") if env.bool("TRUST_FORWARDED_PROTO", default=False) else None
)
# Not on a development machine: there the admin is opened by plain http also when a tunnel gives it an https name.
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = env.bool("SECURE_COOKIES", default=PRODUCTION)
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"

# --- Ingest -------------------------------------------------------------------------------------------------
WEBHOOK_BODY_LIMIT_BYTES = env.int("WEBHOOK_BODY_LIMIT_BYTES", default=10 * 1024 * 1024)
# So long may a body take to arrive; a connection that does not get there is cut off.
BODY_TIMEOUT_SEC = env.float("BODY_TIMEOUT_SEC", default=30.0)
DATA_UPLOAD_MAX_MEMORY_SIZE = WEBHOOK_BODY_LIMIT_BYTES  # the API's door must not refuse what the webhook's takes
# A mapping draft is edited as one form: a dozen fields for each of its rules.
DATA_UPLOAD_MAX_NUMBER_FIELDS = 20_000
RAW_RETENTION_DAYS = env.int("RAW_RETENTION_DAYS", default=30)
# Deliveries that could not be proved are kept encrypted, to be checked again after a secret was entered; 0: not at all.
REFUSED_KEPT_HOURS = env.int("REFUSED_KEPT_HOURS", default=72)
# How many of them, and how much of the database, an endpoint may fill.
REFUSED_KEPT_COUNT = env.int("REFUSED_KEPT_COUNT", default=1000)
REFUSED_KEPT_BYTES = env.int("REFUSED_KEPT_BYTES", default=64 * 1024 * 1024)
# Off: a body is emptied as soon as it is worked off (failed ones stay, to be replayed) and cannot be mapped anew.
STORE_WEBHOOK_PAYLOADS = env.bool("STORE_WEBHOOK_PAYLOADS", default=True)
# Written into provenance.data_retention_policy of each message.
DATA_RETENTION_POLICY = env.str("DATA_RETENTION_POLICY", default=f"standard_{RAW_RETENTION_DAYS}_days")
INGEST_BATCH_SIZE = env.int("INGEST_BATCH_SIZE", default=200)
INGEST_MAX_ATTEMPTS = env.int("INGEST_MAX_ATTEMPTS", default=5)
INGEST_LEASE_SEC = env.int("INGEST_LEASE_SEC", default=60)

# --- Limits: a minute, and at once after a pause; shared by all processes through Redis. 0 a minute: no limit ---
# Authentic deliveries of a provider that has no limit of its own. No ordinary load comes near it.
WEBHOOKS_PER_MIN = env.int("WEBHOOKS_PER_MIN", default=60_000)
WEBHOOKS_BURST = env.int("WEBHOOKS_BURST", default=20_000)
# Deliveries of one address that are refused; above it the address is answered 429, unless it ever proved itself.
REFUSED_PER_MIN = env.int("REFUSED_PER_MIN", default=120)
REFUSED_BURST = env.int("REFUSED_BURST", default=1000)
# Requests of one user to the API; of one address where nobody is logged in.
API_REQUESTS_PER_MIN = env.int("API_REQUESTS_PER_MIN", default=1200)
API_REQUESTS_BURST = env.int("API_REQUESTS_BURST", default=400)

# --- Monitoring ---------------------------------------------------------------------------------------------
# Off: no page is looked at and no alert sent; what is stored stays.
MONITORING_ENABLED = env.bool("MONITORING_ENABLED", default=True)
# The first values of the schedules; ops change them in the admin. Health, status pages and feeds so many minutes apart,
# documentation, OpenAPI and changelogs by cron (UTC).
MONITORING_INTERVAL_MINUTES = env.int("MONITORING_INTERVAL_MINUTES", default=60)
CRON_SCHEDULE = env.str("CRON_SCHEDULE", default="0 */6 * * *")
MONITORING_RETENTION_DAYS = env.int("MONITORING_RETENTION_DAYS", default=90)
# Sent with every outgoing request: whom a provider may ask about us.
MONITORING_CONTACT = env.str("MONITORING_CONTACT", default="")
# Stands in the address of our own feeds, for readers that cannot log in: /feeds/monitoring/<token>/changes.atom.
MONITORING_FEED_TOKEN = _feed_token()
# Hosts that checks and alerts may reach although their address is private or loopback: `status.internal:8443`.
MONITORING_OPEN_HOSTS = env.list("MONITORING_OPEN_HOSTS", default=[])

# --- Alerts -------------------------------------------------------------------------------------------------
# First values: each makes a channel at the start, once, that is then edited in the admin.
SLACK_WEBHOOK_URL = env.str("SLACK_WEBHOOK_URL", default="")
ALERT_WEBHOOK_URL = env.str("ALERT_WEBHOOK_URL", default="")
ALERT_WEBHOOK_SECRET = env.str("ALERT_WEBHOOK_SECRET", default="")  # whsec_…; without it one is made that nobody knows
ALERT_EMAIL_TO = env.list("ALERT_EMAIL_TO", default=[])
# The mail server of channels that name none.
EMAIL_SMTP_HOST = env.str("EMAIL_SMTP_HOST", default="")
EMAIL_SMTP_PORT = env.int("EMAIL_SMTP_PORT", default=587)
EMAIL_SECURITY = _email_security()
EMAIL_FROM = env.str("EMAIL_FROM", default="")
EMAIL_USER = env.str("EMAIL_USER", default=parseaddr(EMAIL_FROM)[1])
EMAIL_PASSWORD = env.str("EMAIL_PASSWORD", default="")

# --- Login ----------------------------------------------------------------------------------------------------
# How often an address may ask /api/token, with right or wrong passwords; 0: no token is given for a password.
TOKEN_REQUESTS_PER_MIN = env.int("TOKEN_REQUESTS_PER_MIN", default=20)
# Wrong passwords for one user from one address: so many at once, then so many a minute; 0 a minute: no limit.
LOGIN_FAILURES_PER_MIN = env.int("LOGIN_FAILURES_PER_MIN", default=2)
LOGIN_FAILURES_BURST = env.int("LOGIN_FAILURES_BURST", default=10)
AUTHENTICATION_BACKENDS = ["voicelens.limits.LimitedLogin"]

# --- Applications -------------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "rest_framework.authtoken",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_celery_beat",
    "voicelens",
    "apps.history",
    "apps.providers",
    "apps.monitoring",
    "apps.ingest",
    "apps.analytics",
]

MIDDLEWARE = [
    # First, so that nothing ever sees a URL with its token.
    "apps.ingest.url_tokens.UrlTokenMiddleware",
    "apps.monitoring.feed_tokens.FeedTokenMiddleware",
    "voicelens.tracing.TraceMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "voicelens.nul.NulMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "apps.history.author.AuthorMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "voicelens.urls"
WSGI_APPLICATION = "voicelens.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# --- Database -----------------------------------------------------------------------------------------------
DATA_DIR = Path(env.str("DATA_DIR", default=str(BASE_DIR / "data")))
DATABASES = {"default": env.db("DATABASE_URL", default=f"sqlite:///{DATA_DIR / 'voicelens.sqlite3'}")}
DATABASE = DATABASES["default"]
if DATABASE["ENGINE"].endswith("sqlite3"):
    Path(DATABASE["NAME"]).parent.mkdir(parents=True, exist_ok=True)
    DATABASE["OPTIONS"] = {
        # IMMEDIATE: a transaction that will write waits at its start, instead of failing half-way with "locked".
        # synchronous=FULL: an acknowledged webhook must survive a power cut.
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL;PRAGMA synchronous=FULL;PRAGMA temp_store=MEMORY;"
        "PRAGMA mmap_size=134217728;PRAGMA journal_size_limit=67108864;",
    }
    # A file, since Django's in-memory test database locks its tables as soon as two threads write.
    DATABASE["TEST"] = {"NAME": str(DATA_DIR / "test.sqlite3")}
else:
    DATABASE["CONN_MAX_AGE"] = env.int("DATABASE_CONN_MAX_AGE_SEC", default=3600)
    DATABASE["CONN_HEALTH_CHECKS"] = True
    DATABASE["OPTIONS"] = {
        "connect_timeout": 5,
        # A server that vanished without a word, as at a failover, is given up: by default after many minutes.
        "tcp_user_timeout": 15_000,  # ms
        "keepalives_idle": 30,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        **DATABASE.get("OPTIONS", {}),
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Redis: the broker and the shared cache; nothing is stored there that cannot be lost ------------------
REDIS_URL = env.str("REDIS_URL", default="")
CACHES = {
    "default": (
        {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": REDIS_URL,
            "KEY_PREFIX": "voicelens",
            "OPTIONS": {
                "max_connections": env.int("REDIS_POOL_SIZE", default=10),
                "socket_connect_timeout": 1,
                "socket_timeout": 1,
            },
        }
        if REDIS_URL
        else {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
    )
}

CELERY_BROKER_URL = REDIS_URL or "memory://"
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 600,  # above the longest task
    "socket_connect_timeout": 1,
    "socket_timeout": 30,
    "socket_keepalive": True,
    "health_check_interval": 10,
}
CELERY_TASK_DEFAULT_QUEUE = "voicelens"
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
CELERY_TIMEZONE = "UTC"

# --- Web ----------------------------------------------------------------------------------------------------
STATIC_URL = "static/"
STATIC_ROOT = Path(env.str("STATIC_ROOT", default=str(DATA_DIR / "static")))
ARTIFACTS_DIR = Path(env.str("ARTIFACTS_DIR", default=str(DATA_DIR / "artifacts")))
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    # Files that came inside deliveries. Web servers write them, workers and the API read them: one storage for all.
    "artifacts": {"BACKEND": "apps.ingest.storage.PrivateFiles", "OPTIONS": {"location": ARTIFACTS_DIR}},
    "staticfiles": {
        "BACKEND": (
            "django.contrib.staticfiles.storage.StaticFilesStorage"
            if DEBUG or SERVICE_ENV == "test"
            else "whitenoise.storage.CompressedManifestStaticFilesStorage"
        )
    },
}
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "/"
LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_TZ = True
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "rest_framework.authentication.SessionAuthentication",
        "rest_framework.authentication.TokenAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["apps.providers.access.HoldsRight"],
    "DEFAULT_THROTTLE_CLASSES": ["voicelens.limits.ApiThrottle"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "EXCEPTION_HANDLER": "voicelens.api.exception_handler",
    "COERCE_DECIMAL_TO_STRING": False,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "VoiceLens API",
    "DESCRIPTION": "Calls of every voice-AI provider as Voice Context Protocol messages, and their daily numbers.",
    "VERSION": VERSION,
    "SERVE_INCLUDE_SCHEMA": False,
    "OAS_VERSION": "3.1.1",
    "POSTPROCESSING_HOOKS": ["drf_spectacular.hooks.postprocess_schema_enums", "voicelens.api.with_empty_filters"],
    "ENUM_NAME_OVERRIDES": {
        "CheckStateEnum": "apps.monitoring.models.State",
        "DeliveryStateEnum": "apps.ingest.models.InboundEvent.State",
    },
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
}


def _item(title: str, icon: str, page: str, permission: str, query: str = "", **more: object) -> dict[str, object]:
    """A line of the admin's side bar, for those who may look at the page."""
    return {
        "title": title,
        "icon": icon,
        "link": lambda request: f"{reverse(f'admin:{page}_changelist')}{query}",
        "permission": lambda request: request.user.has_perm(permission),
        **more,
    }


UNFOLD = {
    "SITE_TITLE": "VoiceLens",
    "SITE_HEADER": "VoiceLens",
    "SITE_SUBHEADER": "every call, one message",
    "SITE_SYMBOL": "graphic_eq",
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "sizes": "any", "href": lambda request: static("voicelens/icon.svg")}
    ],
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "DASHBOARD_CALLBACK": "voicelens.admin.attention",
    "STYLES": [lambda request: static("voicelens/admin.css")],
    "SIDEBAR": {
        "show_search": False,
        "show_all_applications": False,
        "navigation": [
            {
                "title": "Calls",
                "items": [
                    _item(
                        "Deliveries", "inbox", "ingest_inboundevent", "ingest.view_inboundevent",
                        badge="voicelens.admin.failed_deliveries", badge_variant="danger",
                    ),
                    _item("Refused deliveries", "gpp_bad", "ingest_refuseddelivery", "ingest.view_refuseddelivery"),
                    _item("Messages", "forum", "ingest_message", "ingest.view_message"),
                    _item("Deleted calls", "auto_delete", "ingest_callkey", "ingest.view_callkey", "?deleted=yes"),
                ],
            },
            {
                "title": "Numbers",
                "items": [
                    _item("Daily numbers", "bar_chart", "analytics_dailyproviderstats",
                          "analytics.view_dailyproviderstats"),
                    _item("Traffic conditions", "traffic", "analytics_trafficcondition",
                          "analytics.view_trafficcondition"),
                    _item("Processing times", "speed", "analytics_processingtimes",
                          "analytics.view_processingtimes"),
                ],
            },
            {
                "title": "Monitoring",
                "items": [
                    _item("Checks", "monitor_heart", "monitoring_monitor", "monitoring.view_monitor"),
                    _item(
                        "Changes", "difference", "monitoring_change", "monitoring.view_change",
                        badge="voicelens.admin.changes_to_review", badge_variant="warning",
                    ),
                    _item(
                        "Incidents", "e911_emergency", "monitoring_incident", "monitoring.view_incident",
                        badge="voicelens.admin.open_incidents", badge_variant="danger",
                    ),
                    _item("Silences", "notifications_paused", "monitoring_silence", "monitoring.view_silence"),
                    _item("Severity rules", "low_priority", "monitoring_severityrule",
                          "monitoring.view_severityrule"),
                    _item("Alert channels", "campaign", "monitoring_alertchannel", "monitoring.view_alertchannel"),
                    _item("Alerts", "outgoing_mail", "monitoring_alert", "monitoring.view_alert"),
                ],
            },
            {
                "title": "Registry",
                "items": [
                    _item("Providers", "hub", "providers_provider", "providers.view_provider"),
                    _item("Endpoints", "webhook", "providers_endpoint", "providers.view_endpoint"),
                    _item("Mapping versions", "rule", "providers_mappingversion", "providers.view_mappingversion"),
                    _item("Prices", "payments", "providers_price", "providers.view_price"),
                ],
            },
            {
                "title": "Operations",
                "items": [
                    _item("Periodic tasks", "schedule", "django_celery_beat_periodictask",
                          "django_celery_beat.view_periodictask"),
                    _item("Intervals", "timer", "django_celery_beat_intervalschedule",
                          "django_celery_beat.view_intervalschedule"),
                    _item("Crontabs", "calendar_month", "django_celery_beat_crontabschedule",
                          "django_celery_beat.view_crontabschedule"),
                ],
            },
            {
                "title": "Access",
                "items": [
                    _item("Users", "person", "auth_user", "auth.view_user"),
                    _item("Groups", "group", "auth_group", "auth.view_group"),
                    _item("API tokens", "key", "authtoken_tokenproxy", "authtoken.view_tokenproxy"),
                    _item("History", "history", "history_change", "history.view_change"),
                ],
            },
        ],
    },
}  # fmt: skip

# --- Logs: to standard error, one line an event -----------------------------------------------------------
LOG_LEVEL = env.str("LOG_LEVEL", default="INFO")
LOG_FORMAT = env.str("LOG_FORMAT", default="text")  # text or json
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"trace": {"()": "voicelens.tracing.TraceFilter"}},
    "formatters": {
        "text": {"format": "%(asctime)s %(levelname)s %(name)s [%(trace_id)s] %(message)s"},
        "json": {"()": "voicelens.tracing.JsonFormatter"},
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT, "filters": ["trace"]}},
    "root": {"handlers": ["console"], "level": LOG_LEVEL},
    "loggers": {
        # Refused webhooks have a log line of their own that names the setting; this one would only repeat it.
        "django.request": {"level": "ERROR"},
        # A stack for every stranger's made-up Host; the answer is 400.
        "django.security.DisallowedHost": {"level": "CRITICAL"},
        # Otherwise three lines every five seconds for a sweep that found nothing.
        "celery.beat": {"level": "WARNING"},
        "celery.worker.strategy": {"level": "WARNING"},
        "celery.app.trace": {"level": "WARNING"},
        # Both show addresses that are secrets: Apprise of its channels, urllib3 of what Apprise asks.
        "apprise": {"level": "CRITICAL"},
        "urllib3": {"level": "INFO"},
    },
}
