"""The shape of the file: which keys there are, what their values may be, and the sentence for each that is not.

These models only read. What they give is assembled in `settings`; option types live where they are consumed.
"""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from email.utils import parseaddr
from fractions import Fraction
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainSerializer,
    StrictBool,
    StrictStr,
    Tag,
    WithJsonSchema,
)

from monitor.controls import parse_control
from monitor.core.agreement import duration_text, parse_clock, parse_duration, parse_percent
from monitor.core.baseline import MAX_WINDOW_DAYS, Policy
from monitor.core.calendar import FIRST_YEAR, LAST_YEAR
from monitor.core.check import Network
from monitor.core.instant import DAY_US, SECOND_US
from monitor.core.priority import Served
from monitor.core.terms import CreditBase, Fee, percent_text
from monitor.locale import Lang
from monitor.messages import Kind, Severity
from monitor.messages.links import RUNBOOK

ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
MAX_NAME = 200
EVERY_PARTNER = "all"
CHANNEL_KINDS = ("email", "webhook", "alertmanager", "heartbeat", "apprise")
LEVELS = frozenset({"alertmanager", "heartbeat"})
_FEE = re.compile(r"([A-Z]{3}) ([0-9]{1,18}(?:\.[0-9]{1,4})?)")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_LISTEN = re.compile(r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):([0-9]{1,5})")
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def _identifier(text: Any) -> str:  # noqa: ANN401 - anything from YAML
    if not isinstance(text, str) or not ID.fullmatch(text):
        named = repr(text)
        named = named if len(named) <= MAX_NAME else f"{named[:MAX_NAME]}…"
        raise ValueError(
            f"{named} is no id: 1 to 63 of a-z, 0-9, dot, dash and underscore, beginning with a letter or digit "
            "(a display name goes under name:)",
        )
    return text


def _name(text: str) -> str:
    if not text.strip() or len(text) > MAX_NAME or not text.isprintable():
        raise ValueError(f"a name is a text on one line of 1 to {MAX_NAME} characters")
    return text


def _date(value: Any) -> date:  # noqa: ANN401 - anything from YAML
    if not isinstance(value, str) or not _DATE.fullmatch(value):
        raise ValueError(f"{value!r} is no date, write it like 2026-01-01")
    day = date.fromisoformat(value)
    if not FIRST_YEAR <= day.year <= LAST_YEAR:
        raise ValueError(f"{value!r} lies outside the years {FIRST_YEAR} to {LAST_YEAR} that have months")
    return day


def _fee(value: Any) -> Fee:  # noqa: ANN401 - anything from YAML
    match = _FEE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is no fee, write currency and amount without separators: IDR 12500000")
    fee = Fee(currency=match[1], amount=Decimal(match[2]))
    if fee.amount % fee.unit:
        raise ValueError(f"{value!r}: {fee.currency} is not divided finer than {fee.unit}")
    return fee


def _listen(value: Any) -> tuple[str, int]:  # noqa: ANN401 - anything from YAML
    match = _LISTEN.fullmatch(value) if isinstance(value, str) else None
    if match is None or int(match[2]) > 65535:  # noqa: PLR2004 - the last port
        raise ValueError(f"{value!r} is no address to listen on, write host:port like 127.0.0.1:9464")
    return match[1].strip("[]"), int(match[2])


def _positive(duration_us: int) -> int:
    if duration_us <= 0:
        raise ValueError("must be longer than nothing")
    return duration_us


def _control(value: Any) -> str:  # noqa: ANN401 - anything from YAML
    if not isinstance(value, str):
        raise ValueError("a control is a target like tcp://1.1.1.1:443")  # noqa: TRY004 - pydantic reports ValueErrors
    parse_control(value)
    return value


def _store(value: Any) -> str:  # noqa: ANN401 - anything from YAML
    if not isinstance(value, str) or not value.startswith(("sqlite:///", "postgresql://", "${")):
        raise ValueError("a store is sqlite:///path (relative to this file, or with four slashes) or postgresql://…")
    return value


def _email(text: str) -> str:
    address = parseaddr(text)[1]
    if "@" not in address or any(letter.isspace() for letter in address) or not text.isprintable():
        raise ValueError(f"{text!r} is no mail address, write it like ops@example.id or Ops <ops@example.id>")
    return text


def _url(text: str) -> str:
    if not text.startswith(("http://", "https://", "${")):
        raise ValueError("a URL begins with http:// or https://, or is a reference such as ${HOOK_URL}")
    return text


def _page(text: str) -> str:
    """Without a slash at its end. It is shown to people: no login, no query, nothing that would have to be hidden."""
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.netloc or not text.isprintable() or " " in text:
        raise ValueError("an address that people open begins with http:// or https://, such as https://jaga.example.id")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("messages show this address: it has no login, no ?query and no #fragment")
    return text.rstrip("/")


def _runbooks(text: str) -> str:
    if RUNBOOK not in text:
        raise ValueError(f"{RUNBOOK} must stand where the runbook's name goes: https://wiki.example.id/jaga/{RUNBOOK}")
    _page(text.replace(RUNBOOK, "x").partition("?")[0].partition("#")[0])
    return text


def _clock_text(minutes: int) -> str:
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def listen_text(listen: tuple[str, int]) -> str:
    """`127.0.0.1:9464`, an IPv6 address in brackets."""
    host, port = listen
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _text_pattern(pattern: str, example: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern, "examples": [example]})


Id = Annotated[str, BeforeValidator(_identifier), _text_pattern("^[a-z0-9][a-z0-9._-]{0,62}$", "portal")]
Name = Annotated[StrictStr, AfterValidator(_name)]
Duration = Annotated[
    int,
    BeforeValidator(parse_duration),
    AfterValidator(_positive),
    PlainSerializer(duration_text),
    _text_pattern(r"^\d{1,9}(ms|s|m|h|d)$", "60s"),
]
Percent = Annotated[
    Fraction,
    BeforeValidator(parse_percent),
    PlainSerializer(lambda percent: f"{percent_text(percent)}%", return_type=str),
    _text_pattern(r"^\d{1,3}(\.\d{1,12})?%$", "95%"),
]
Day = Annotated[date, BeforeValidator(_date), _text_pattern(r"^\d{4}-\d{2}-\d{2}$", "2026-01-01")]
FeeText = Annotated[
    Fee,
    BeforeValidator(_fee),
    PlainSerializer(lambda fee: f"{fee.currency} {fee.amount}", return_type=str),
    _text_pattern(r"^[A-Z]{3} \d+(\.\d+)?$", "IDR 12500000"),
]
Clock = Annotated[
    int,
    BeforeValidator(parse_clock),
    PlainSerializer(_clock_text),
    _text_pattern(r"^\d{2}:\d{2}$", "09:00"),
]
Listen = Annotated[
    tuple[str, int],
    BeforeValidator(_listen),
    PlainSerializer(listen_text),
    _text_pattern(r"^.+:\d{1,5}$", "127.0.0.1:9464"),
]
ControlText = Annotated[str, BeforeValidator(_control), _text_pattern("^(tcp|https)://.+$", "tcp://1.1.1.1:443")]
Store = Annotated[
    str, BeforeValidator(_store), _text_pattern(r"^(sqlite:///|postgresql://|\$\{)", "sqlite:///var/ledger.db")
]


Email = Annotated[StrictStr, AfterValidator(_email), _text_pattern("^.+@.+$", "ops@example.id")]
Url = Annotated[StrictStr, AfterValidator(_url), _text_pattern(r"^(https?://|\$\{)", "https://hooks.example.id/jaga")]
Page = Annotated[StrictStr, AfterValidator(_page), _text_pattern("^https?://.+$", "https://jaga.example.id")]
Runbooks = Annotated[
    StrictStr,
    AfterValidator(_runbooks),
    _text_pattern(r"^https?://.*\{runbook\}.*$", "https://wiki.example.id/jaga/{runbook}"),
]
Partners = Annotated[
    tuple[Id, ...],
    BeforeValidator(lambda value: (EVERY_PARTNER,) if value == EVERY_PARTNER else value),
    PlainSerializer(lambda partners: EVERY_PARTNER if partners == (EVERY_PARTNER,) else list(partners)),
    WithJsonSchema({"anyOf": [{"const": "all"}, {"type": "array", "items": {"type": "string"}}]}),
]


class Model(BaseModel):
    """Every key known, nothing changed afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class Location(Model):
    """A vantage point, and what proves that its own network works."""

    id: Id = Field(description="The id of this location; it stands in every run.")
    controls: tuple[ControlText, ...] = Field(
        default=(),
        description="Targets that prove this location's own network, asked around failures: none, or at least 3.",
    )


class Web(Model):
    """Where the pages and metrics are."""

    listen: Listen = Field(default=("127.0.0.1", 9464), description="host:port of the pages and /metrics.")
    config_file: StrictStr | None = Field(
        default=None,
        min_length=1,
        description="TLS and basic authentication, in the shape of exporter-toolkit's web configuration file.",
    )
    external_url: Page | None = Field(
        default=None, description="Where people reach the page, for the links in messages; not said: no links to it."
    )


class SealingModel(Model):
    """What makes the record believable to others."""

    key: StrictStr | None = Field(
        default=None,
        min_length=1,
        description="The file of the signing key, relative to this file. Default: beside the ledger, ending in .key.",
    )
    origin: StrictStr | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9._/-]{1,120}$",
        description="How the ledger calls itself in its checkpoints, such as example.id/sla. Fixed with its first key.",
    )


class Metrics(Model):
    """What the metrics may show."""

    expose_money: StrictBool = Field(default=False, description="Fees, credits and partner names in /metrics.")


class TierModel(Model):
    """Availability under `below` earns `credit` of the fee, down to the next tier."""

    below: Percent
    credit: Percent


class HoursModel(Model):
    """Business hours on working days."""

    days: tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], ...] = ("mon", "tue", "wed", "thu", "fri")
    open: Clock = 9 * 60
    close: Clock = 17 * 60


class TargetModel(Model):
    """What is promised for incidents of one priority, counted on its hours. A business day is 8 business hours."""

    response: Duration = Field(description="Until an incident is acknowledged and assigned.")
    resolution: Duration | None = Field(
        default=None, description="Until a workaround or a fix; not said: the next release, no clock."
    )
    hours: Served = Field(description="24x7 or business: the hours on which both are counted.")
    escalate_at: Percent = Field(
        default=Fraction(75), description="The share of the resolution time without a workaround that makes level 2."
    )
    level_2_after: Duration | None = Field(default=None, description="Level 2 after so long without a workaround.")
    level_3_after: Duration | None = Field(default=None, description="Level 3 after so long unresolved.")


class LevelModel(Model):
    """Whom a level of escalation is addressed to."""

    owners: tuple[Name, ...] = Field(min_length=1, description="Who is told: roles or names of contacts.")
    channels: tuple[Id, ...] = Field(default=("log",), min_length=1, description="How they are told.")


class TermsModel(Model):
    """One version of an agreement's terms."""

    effective_from: Day = Field(description="The first day on which this version is in force.")
    timezone: StrictStr = Field(default="Asia/Jakarta", description="The zone whose calendar months are judged.")
    guarantee: Percent = Field(description="The availability promised per calendar month.")
    objective: Percent | None = Field(default=None, description="An objective, reported beside the guarantee.")
    credits: tuple[TierModel, ...] = Field(description="Tiers, from the highest bound to the lowest.")
    maintenance_notice: Duration = Field(default=48 * 3600 * SECOND_US, description="Notice that excludes maintenance.")
    claim_within: Duration = Field(default=30 * DAY_US, description="Whole days to claim in after the month's end.")
    grace: Duration = Field(default=3 * DAY_US, description="How long after its end a month may close.")
    credit_base: CreditBase | None = Field(
        default=None,
        description="total: the highest tier once on the sum of fees (default); service: each on its own fee.",
    )
    hours: HoursModel = HoursModel()
    holidays: StrictStr = Field(default="id", description="The table of public holidays.")
    collective_leave: StrictBool = Field(default=False, description="Whether cuti bersama are free days.")
    priorities: dict[Literal["P1", "P2", "P3"], TargetModel] = Field(
        default={}, description="Targets of incidents by priority; those not written are the agreement's."
    )
    levels: dict[Literal["1", "2", "3"], LevelModel] = Field(
        default={}, description="Levels of escalation; those not written are the agreement's."
    )


class Contract(Model):
    """An agreement: its terms, one entry a version."""

    terms: tuple[TermsModel, ...] = Field(min_length=1)


class CheckModel(Model):
    """What a check says beside its transaction."""

    name: Name | None = Field(default=None, description="A display name.")
    network: Network = Field(default=Network.PUBLIC, description="From where it reaches the service.")
    sla: StrictBool = Field(default=True, description="Whether it counts for the contract.")
    attempts: Annotated[int, Field(strict=True, ge=1, le=5)] = Field(
        default=2,
        description="Attempts of one run; the last one confirms.",
    )
    timeout: Duration | None = Field(default=None, description="Bounds one attempt with all its steps.")
    interval: Duration | None = Field(default=None, description="Only for a check with sla: false.")


class Service(Model):
    """Something the provider runs and promises."""

    name: Name | None = Field(default=None, description="A display name; renaming touches no history.")
    interval: Duration = Field(default=60 * SECOND_US, description="Every SLA check runs once in it.")
    timeout: Duration = Field(default=10 * SECOND_US, description="Bounds one attempt with all its steps.")
    stale_after: Duration | None = Field(default=None, description="3 x interval + timeout if not said.")
    checks: dict[Id, dict[str, Any]] = Field(min_length=1)


class FeeStep(Model):
    """A fee from a day on."""

    model_config = ConfigDict(populate_by_name=True)

    from_: Day = Field(alias="from")
    amount: FeeText


# One form or the other by what is written, so that a wrong fee is one problem and not two.
FeeChoice = Annotated[
    Annotated[FeeText, Tag("plain")] | Annotated[tuple[FeeStep, ...], Tag("steps")],
    Discriminator(lambda value: "steps" if isinstance(value, list | tuple) else "plain"),
]


class Subscribed(Model):
    """A partner's subscription of a service."""

    fee: FeeChoice = Field(description="IDR 12500000, or a list of {from, amount}.")
    until: Day | None = Field(default=None, description="The first day on which it no longer holds.")


class Contact(Model):
    """A person of either side (SLA 7.3). Personal data: it stays in this file, no record holds it."""

    name: Name
    email: Email | None = Field(default=None, description="Where mail for them goes.")
    phone: Name | None = None
    title: Name | None = None
    role: Name | None = Field(default=None, description="The role by which escalations name them.")


class Provider(Model):
    """Who runs the services."""

    name: Name | None = Field(default=None, description="A display name.")
    contacts: tuple[Contact, ...] = ()


class Partner(Model):
    """A partner and what it subscribes."""

    name: Name | None = Field(default=None, description="A display name.")
    contacts: tuple[Contact, ...] = Field(default=(), description="Who is told of maintenance, disruptions, credits.")
    contract: Id
    services: dict[Id, Subscribed] = Field(min_length=1)


def _whole_days(window_us: int) -> int:
    if window_us % DAY_US or not 1 <= window_us // DAY_US <= MAX_WINDOW_DAYS:
        raise ValueError(f"whole days are meant, from 1d to {MAX_WINDOW_DAYS}d")
    return window_us


class BaselineModel(Model):
    """What is usual for a check at a location: the median duration of its runs over the days before."""

    window: Annotated[Duration, AfterValidator(_whole_days)] = Field(
        default=7 * DAY_US, description="Whole days that the median goes over, 1d to 31d."
    )
    factor: Annotated[int, Field(strict=True, ge=2, le=100)] = Field(
        default=3, description="How many times the median an answer may take, 2 to 100."
    )
    by_hour: StrictBool = Field(
        default=True, description="Only the runs at the same hour of the day; false: all of the window."
    )

    def policy(self) -> Policy:
        """The same as the core has it."""
        return Policy(window_days=self.window // DAY_US, factor=self.factor, by_hour=self.by_hour)


class Incidents(Model):
    """When the monitor opens incidents by itself."""

    quiet: Duration = Field(
        default=30 * 60 * SECOND_US, description="Trouble that comes back within it belongs to the same incident."
    )
    failures_after: Duration = Field(
        default=15 * 60 * SECOND_US, description="Failures at or under one half that last so long open a P2."
    )
    latency_after: Duration = Field(
        default=15 * 60 * SECOND_US, description="A check above its baseline times `factor` for so long opens a P2."
    )
    baseline: BaselineModel = Field(default=BaselineModel(), description="What is usual, and how much slower is slow.")


class EmailModel(Model):
    """Mail over SMTP."""

    model_config = ConfigDict(populate_by_name=True)

    host: Name
    port: Annotated[int, Field(strict=True, ge=1, le=65535)] = 587
    tls: Literal["starttls", "tls", "none"] = Field(default="starttls", description="tls: from the first byte on.")
    user: StrictStr | None = None
    password: StrictStr | None = Field(default=None, description="A reference such as ${SMTP_PASSWORD}.")
    from_: Email = Field(alias="from", description="The sender.")
    to: tuple[Email, ...] = Field(default=(), description="Who gets it; not said: the contacts it is for.")


class WebhookModel(Model):
    """Signed JSON over HTTP."""

    url: Url
    secret: StrictStr | None = Field(default=None, description="Signs each message (HMAC-SHA256); a reference.")
    headers: dict[StrictStr, StrictStr] = Field(default={}, description="More headers; values may be references.")


class AlertmanagerModel(Model):
    """What is wrong now, stated to Alertmanager again and again."""

    urls: tuple[Url, ...] = Field(min_length=1, description="Every peer of the cluster.")
    every: Duration = Field(default=45 * SECOND_US, description="Between 30s and 60s.")
    labels: dict[StrictStr, StrictStr] = Field(default={}, description="Labels added to each alert.")
    silences: StrictBool = Field(
        default=False, description="Silence alerts about a service in maintenance that qualifies for every partner."
    )


class HeartbeatModel(Model):
    """A dead man's switch that is pinged while the daemon is well."""

    url: Url
    every: Duration = 60 * SECOND_US


class AppriseModel(Model):
    """Telegram, Slack, Teams, Discord, PagerDuty, WhatsApp, ntfy and many more, through apprise."""

    urls: tuple[StrictStr, ...] = Field(min_length=1, description="Addresses of apprise, or references to them.")


class ChannelModel(Model):
    """A way to tell somebody something: one of its kinds, and which messages go over it in which language."""

    email: EmailModel | None = None
    webhook: WebhookModel | None = None
    alertmanager: AlertmanagerModel | None = None
    heartbeat: HeartbeatModel | None = None
    apprise: AppriseModel | None = None
    lang: Lang = Field(default=Lang.EN, description="id or en.")
    partners: Partners = Field(
        default=(), description="all, or which partners this channel is for; not said: those who run the services."
    )
    services: tuple[Id, ...] = Field(default=(), description="Only messages about these; not said: all.")
    kinds: tuple[Kind, ...] = Field(default=(), description="Only these kinds of message; not said: all.")
    severity: Severity = Field(default=Severity.INFO, description="Only messages at least so urgent.")
    per_minute: Annotated[int, Field(strict=True, ge=1, le=600)] = Field(default=30, description="At most so many.")
    group: Duration | None = Field(
        default=30 * SECOND_US, description="What operators are told within it after a message is one message more."
    )


class MessagesModel(Model):
    """When messages are sent. None of it changes a figure."""

    recover_after: Duration = Field(
        default=60 * SECOND_US, description="A service must be well for so long before it is told to have recovered."
    )
    remind: dict[Literal["P1", "P2"], Duration] = Field(
        default={}, description="Reminders of what nobody acknowledged; P1: 30m, P2: 2h if not said."
    )
    blind_after: Duration = Field(default=5 * 60 * SECOND_US, description="Without evidence for so long: blind.")
    before_maintenance: Duration = Field(default=DAY_US, description="When partners are reminded of a window.")
    runbooks: Runbooks | None = Field(
        default=None,
        description="Where docs/runbooks are read, for the links in messages: {runbook} stands for the page's name.",
    )
    before_deadline: Duration = Field(default=7 * DAY_US, description="When partners are reminded of a claim.")


class Root(Model):
    """The whole file."""

    store: Store = Field(default="sqlite:///var/jaga/ledger.db", description="Where the ledger is.")
    retention: Duration = Field(
        default=400 * DAY_US,
        description="How long the runs of closed months are kept; what each hour said is kept for ever.",
    )
    location: Location
    web: Web = Web()
    metrics: Metrics = Metrics()
    incidents: Incidents = Incidents()
    messages: MessagesModel = MessagesModel()
    channels: dict[Id, dict[str, Any]] = {}
    provider: Provider = Provider()
    sealing: SealingModel = SealingModel()
    contracts: dict[Id, Contract] = Field(min_length=1)
    services: dict[Id, Service] = Field(min_length=1)
    partners: dict[Id, Partner] = Field(default={})
