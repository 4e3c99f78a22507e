"""From the configured channels to what the daemon sends over: posts for the outbox, levels, and the routes to both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from monitor.app.discreet import Confidence, DiscreetChannel, DiscreetLevel
from monitor.clock import wall_us
from monitor.config import ChannelSettings, Settings, secret
from monitor.config.models import ChannelModel, Contact
from monitor.core.instant import SECOND_US
from monitor.dispatcher import Manner, Post
from monitor.dispatcher.levels import KIND as LEVEL
from monitor.dispatcher.levels import Standing
from monitor.dispatcher.tally import Tally
from monitor.messages import FOR_OPERATORS, FOR_PARTNERS, Kind
from monitor.messages.compose import compose
from monitor.messages.links import Links
from monitor.messages.routing import EVERY_PARTNER, OPERATORS, Route
from monitor.notify import LOG, Alert, Channel, DeliveryError, Message, Quiet, Receipt, Secret
from monitor.notify.alertmanager import AlertmanagerLevel
from monitor.notify.apprise import AppriseChannel
from monitor.notify.email import EmailChannel
from monitor.notify.heartbeat import HeartbeatLevel
from monitor.notify.log import LogChannel
from monitor.notify.webhook import WebhookChannel
from monitor.storage import Waiting
from monitor.telemetry.snapshot import ChannelSample, NotificationsSample

LOGGED_PER_MINUTE = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """In place of a channel that is misconfigured: it takes nothing until the file is put right."""

    why: str

    async def deliver(self, message: Message) -> Receipt:  # noqa: ARG002 - it is not even looked at
        """Refuse it."""
        raise DeliveryError(f"misconfigured: {self.why}", retryable=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """Who has which mail address: the contacts of both sides, by the name that messages are addressed to."""

    contacts: Mapping[str, Sequence[Contact]] = field(repr=False)

    @staticmethod
    def of(settings: Settings) -> Book:
        """The contacts of a configuration."""
        return Book(contacts={OPERATORS: settings.provider.contacts, **dict(settings.contacts)})

    def addresses(self, to: str) -> Sequence[str]:
        """The addresses of a partner's contacts, of the provider's, or of those of it with a name or role."""
        named = self.contacts.get(to)
        if named is None:
            own = self.contacts[OPERATORS]
            named = [contact for contact in own if to in {contact.name, contact.role}] or own
        return [contact.email for contact in named if contact.email]


@dataclass(frozen=True, slots=True, kw_only=True)
class Channels:
    """Everything that messages go over."""

    posts: Mapping[str, Post]
    levels: Mapping[str, Standing]


def routes(channels: Iterable[ChannelSettings]) -> tuple[Route, ...]:
    """Which messages go where: what those who run the services are told goes to the log besides."""
    return (
        Route(channel=LOG),
        *(
            Route(
                channel=channel.id,
                partners=channel.model.partners,
                services=frozenset(channel.model.services),
                kinds=frozenset(channel.model.kinds),
                severity=channel.model.severity,
            )
            for channel in channels
            if channel.model.alertmanager is None and channel.model.heartbeat is None
        ),
    )


def open_channels(
    settings: Sequence[ChannelSettings],
    book: Book,
    *,
    secret: Callable[[str], str],
    now_us: Callable[[], int],
    not_well: Callable[[], str | None],
    quiet: Callable[[], Sequence[Quiet]] = tuple,
    links: Links | None = None,
) -> Channels:
    """The channels of a configuration, none of which is spoken to yet. `links`: for those who run the services."""
    own = links or Links()
    posts = {LOG: Post(channel=LogChannel(), manner=Manner(group_us=0, per_minute=LOGGED_PER_MINUTE, links=own))}
    levels: dict[str, Standing] = {}
    for channel in settings:
        told = Confidence(secret)
        level = None if channel.fault else _level(channel, told.look_up, not_well, quiet)
        if level is not None:
            levels[channel.id] = Standing(level=DiscreetLevel(level.level, told), every_us=level.every_us)
            continue
        model = channel.model
        manner = Manner(
            lang=model.lang,
            per_minute=model.per_minute,
            group_us=model.group or 0,
            links=Links() if model.partners else own,
        )
        post = DiscreetChannel(_post(channel, book, told.look_up, now_us), told)
        posts[channel.id] = Post(channel=post, manner=manner)
    return Channels(posts=posts, levels=levels)


async def tried(settings: Settings, name: str, to: str | None) -> str:
    """Send a test message over a channel; what it answered. DeliveryError where it was not taken."""
    channels = open_channels(settings.channels, Book.of(settings), secret=secret, now_us=wall_us, not_well=lambda: None)
    standing = channels.levels.get(name)
    if standing is not None:
        now_us = wall_us()
        alert = Alert(labels={"alertname": "JagaTest", "severity": "info"}, since_us=now_us)
        await standing.level.sync((alert,), now_us)
        await standing.level.sync((), now_us + SECOND_US)
        return "stated, and stated to be over"
    (model,) = (channel.model for channel in settings.channels if channel.id == name)
    whom = to or _first_addressee(model, settings)
    key = f"test/{name}/{wall_us()}"
    fields = {"channel": name, "to": whom}
    words = compose(key, Kind.TEST, fields, model.lang)
    message = Message(
        key=key,
        kind=Kind.TEST.value,
        to=whom,
        payload=fields,
        subject=words.subject,
        text=words.text,
        lang=model.lang.value,
    )
    return (await channels.posts[name].channel.deliver(message)).text


def _first_addressee(model: ChannelModel, settings: Settings) -> str:
    """The first partner a channel is for; those who run the services where it is for none."""
    if not model.partners:
        return OPERATORS
    named = [partner for partner in model.partners if partner != EVERY_PARTNER]
    return next(iter([*named, *(partner for partner, _contacts in settings.contacts)]), OPERATORS)


def sample(
    channels: Sequence[ChannelSettings], tally: Tally, waiting: Mapping[str, Waiting], suppressed: Mapping[str, int]
) -> NotificationsSample:
    """What the metrics show of the configured channels, and of any other that has something waiting."""
    kinds: dict[str, tuple[str, ...]] = {}
    for route in routes(channels):
        usual = FOR_PARTNERS if route.partners else FOR_OPERATORS
        kinds[route.channel] = tuple(kind.value for kind in Kind if kind in (route.kinds or usual))
    for channel in channels:
        kinds.setdefault(channel.id, (LEVEL,))
    for name in waiting:
        kinds.setdefault(name, ())
    return NotificationsSample(
        channels=tuple(_channel_sample(name, declared, tally, waiting.get(name)) for name, declared in kinds.items()),
        suppressed=dict(suppressed),
    )


def _channel_sample(name: str, kinds: tuple[str, ...], tally: Tally, waiting: Waiting | None) -> ChannelSample:
    durations = tally.durations.get(name)
    return ChannelSample(
        channel=name,
        kinds=kinds,
        attempted={kind: count for (channel, kind), count in list(tally.attempted.items()) if channel == name},
        failures=tally.failures[name],
        waiting=0 if waiting is None else waiting.count,
        last_success_us=tally.last_success_us.get(name, 0),
        durations=None if durations is None else durations.tally(),
    )


def _level(
    channel: ChannelSettings,
    look_up: Secret,
    not_well: Callable[[], str | None],
    quiet: Callable[[], Sequence[Quiet]],
) -> Standing | None:
    model = channel.model
    if model.alertmanager is not None:
        every_us, urls = model.alertmanager.every, model.alertmanager.urls
        level = AlertmanagerLevel(
            urls=urls,
            every_us=every_us,
            look_up=look_up,
            labels=model.alertmanager.labels,
            quiet=quiet if model.alertmanager.silences else None,
        )
        return Standing(level=level, every_us=every_us)
    if model.heartbeat is not None:
        beat = HeartbeatLevel(url=model.heartbeat.url, look_up=look_up, not_well=not_well)
        return Standing(level=beat, every_us=model.heartbeat.every)
    return None


def _post(channel: ChannelSettings, book: Book, look_up: Secret, now_us: Callable[[], int]) -> Channel:
    model = channel.model
    if channel.fault is not None:
        return Broken(why=channel.fault)
    if model.email is not None:
        fixed = model.email.to
        return EmailChannel(
            host=model.email.host,
            port=model.email.port,
            sender=model.email.from_,
            recipients=(lambda _to: fixed) if fixed else book.addresses,
            now_us=now_us,
            look_up=look_up,
            tls=model.email.tls,
            user=model.email.user,
            password=model.email.password,
        )
    if model.webhook is not None:
        hook = model.webhook
        return WebhookChannel(url=hook.url, now_us=now_us, look_up=look_up, secret=hook.secret, headers=hook.headers)
    assert model.apprise is not None, "a channel without a fault is of some kind"
    return AppriseChannel(urls=model.apprise.urls, look_up=look_up)
