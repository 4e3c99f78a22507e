"""The configuration: a strict YAML file becomes frozen settings, or every problem at once with its place."""

from __future__ import annotations

from monitor.config.compact import compact
from monitor.config.explain import explain
from monitor.config.load import Loaded, load
from monitor.config.problems import ConfigError, Problem
from monitor.config.schema import schema, schema_text
from monitor.config.settings import ChannelSettings, CheckSettings, ServiceSettings, Settings, secret
from monitor.config.shipped import shipped
from monitor.config.starter import STARTER, AlreadyThereError, initialise
from monitor.config.zones import TZ_VERSION, ZoneError, zone

__all__ = [
    "STARTER",
    "TZ_VERSION",
    "AlreadyThereError",
    "ChannelSettings",
    "CheckSettings",
    "ConfigError",
    "Loaded",
    "Problem",
    "ServiceSettings",
    "Settings",
    "ZoneError",
    "compact",
    "explain",
    "initialise",
    "load",
    "schema",
    "schema_text",
    "secret",
    "shipped",
    "zone",
]
