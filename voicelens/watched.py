"""Which rows of other packages have a history: who may come in, and what runs when."""

from django.contrib.auth.models import Group, User
from django_celery_beat.models import ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask, SolarSchedule
from rest_framework.authtoken.models import Token, TokenProxy

from apps.history.record import watch, watch_members

watch(User, hidden=("password",), ignored=("last_login", "date_joined"))
watch_members(User, "groups")
watch_members(User, "user_permissions")
watch(Group)
watch_members(Group, "permissions")
for token in (Token, TokenProxy):
    # A token's key is its primary key: its history stands with its user, and holds nothing of it.
    watch(token, ignored=("user",), part_of=lambda row: (row.user, "API token"))
for schedule in (PeriodicTask, IntervalSchedule, CrontabSchedule, ClockedSchedule, SolarSchedule):
    watch(schedule)
