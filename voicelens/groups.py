"""The three groups every installation has, and what each may do. At each start they are set to exactly this.

An operator's own groups, and rights given to single users, are left alone: whoever needs more or less makes a group.
"""

from django.contrib.auth.models import Group, Permission

VIEW = ("view",)
EDIT = ("view", "add", "change", "delete")
# Model: what may be done to it. Buttons beyond Django's four have a word of their own or stand for one of them:
# change_inboundevent replays, change_refuseddelivery rechecks, change_message corrects, withdraws and restores,
# delete_message deletes so that it can be restored, delete_callkey erases, change_mappingversion publishes and undoes,
# switch_endpoint opens and closes, change_monitor looks at once, change_change reviews, change_incident acknowledges,
# notes and resolves, add_silence silences.
Rights = dict[str, tuple[str, ...]]

SCHEDULES: Rights = {
    f"django_celery_beat.{model}": EDIT
    for model in ("periodictask", "intervalschedule", "crontabschedule", "clockedschedule", "solarschedule")
}
REGISTRY: Rights = {
    "providers.provider": VIEW,
    "providers.endpoint": VIEW,
    "providers.mappingversion": VIEW,
    "providers.price": VIEW,
}

# Checks and channels are made by people; changes, incidents and alerts are found, so nobody adds them by hand.
MONITORING: Rights = {
    "monitoring.monitor": EDIT,
    "monitoring.change": ("view", "change"),
    "monitoring.incident": ("view", "change"),
    "monitoring.silence": EDIT,
    "monitoring.severityrule": EDIT,
    "monitoring.alertchannel": EDIT,
    "monitoring.alert": ("view", "change"),
}

GROUPS: dict[str, Rights] = {
    "analyst": REGISTRY
    | {
        "ingest.message": VIEW,
        "ingest.artifact": VIEW,
        "analytics.dailyproviderstats": VIEW,
        "analytics.trafficcondition": VIEW,
        "analytics.processingtimes": VIEW,
        "monitoring.monitor": VIEW,
        "monitoring.change": VIEW,
        "monitoring.incident": VIEW,
    },
    "ops": REGISTRY
    | SCHEDULES
    | MONITORING
    | {
        "providers.endpoint": ("view", "switch"),
        "ingest.inboundevent": ("view", "change"),
        "ingest.refusal": VIEW,
        "ingest.refuseddelivery": ("view", "change"),
        "analytics.dailyproviderstats": VIEW,
        "analytics.trafficcondition": EDIT,
        "analytics.processingtimes": VIEW,
    },
    "admin": SCHEDULES
    | MONITORING
    | {
        "providers.provider": EDIT,
        "providers.endpoint": (*EDIT, "switch"),
        "providers.authconfig": EDIT,
        "providers.secret": EDIT,
        "providers.mappingversion": EDIT,
        "providers.webhookschema": EDIT,
        "providers.mappingrule": EDIT,
        "providers.price": EDIT,
        "ingest.inboundevent": ("view", "change"),
        "ingest.refusal": VIEW,
        "ingest.refuseddelivery": ("view", "change", "delete"),
        "ingest.callkey": ("view", "delete"),
        "ingest.message": ("view", "change", "delete"),
        "ingest.artifact": VIEW,
        "analytics.dailyproviderstats": VIEW,
        "analytics.trafficcondition": EDIT,
        "analytics.processingtimes": VIEW,
        "auth.user": EDIT,
        "auth.group": EDIT,
        "authtoken.tokenproxy": EDIT,
        "history.change": VIEW,
    },
}


def ensure_groups() -> list[str]:
    """Create the groups and set their rights; returns the names of those that were not as they are to be."""
    known = {
        f"{row.content_type.app_label}.{row.codename}": row for row in Permission.objects.select_related("content_type")
    }
    return [name for name in GROUPS if _ensure(name, {known[right] for right in rights_of(name)})]


def rights_of(name: str) -> list[str]:
    """The rights of one of the groups as `app.codename`."""
    return [
        f"{app}.{word}_{model}"
        for label, words in GROUPS[name].items()
        for app, model in [label.split(".")]
        for word in words
    ]


def _ensure(name: str, rights: set[Permission]) -> bool:
    group, _ = Group.objects.get_or_create(name=name)
    if set(group.permissions.all()) == rights:
        return False
    group.permissions.set(rights)
    return True
