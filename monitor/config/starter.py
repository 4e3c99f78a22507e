"""The starter configuration: one service, one contract, one partner, explained; `jaga check` accepts it unchanged."""

from __future__ import annotations

from pathlib import Path

from monitor.config.schema import NAME, schema_text

STORE = "sqlite:///var/jaga/ledger.db"
STARTER = """\
# yaml-language-server: $schema=jaga.schema.json
#
# What Jaga watches, and what was promised for it.
#   jaga check            says what is wrong in this file, everything at once; --explain shows all defaults
#   jaga probe SHOP/PAGE  runs one check once and shows each step, as in: jaga probe shop/page
#   jaga run              watches, records, serves pages and metrics
#
# Ids (the keys such as shop, page, acme) stay for ever, as the record speaks of them; names may change at any time.
# Secrets do not belong in this file: write ${NAME} for an environment variable or ${file:/run/secrets/name}.

store: sqlite:///var/jaga/ledger.db # the ledger, relative to this file; or postgresql://user:${DB_PASSWORD}@host/jaga

location:
  id: here # where this daemon stands, such as jkt-1; every measurement carries it
  # Controls are independent targets, asked whenever a check fails. If most of them fail too, it was our own network,
  # and nobody is blamed. None, or at least three, and not all of one operator:
  # controls: ["tcp://1.1.1.1:443", "tcp://9.9.9.9:443", "tcp://8.8.8.8:443"]

web:
  listen: 127.0.0.1:9464 # pages, and /metrics for Prometheus

contracts:
  standard:
    terms: # one entry per version of the agreement; a new one begins on its effective_from
      - effective_from: 2026-01-01
        timezone: Asia/Jakarta # whose calendar months are judged
        guarantee: 95% # of every calendar month
        objective: 99.9% # reported beside it, promised to nobody
        credits: # below 95 % the partner is owed 10 % of the monthly fee, and so on
          - { below: 95%, credit: 10% }
          - { below: 90%, credit: 25% }
          - { below: 85%, credit: 50% }
        maintenance_notice: 48h # maintenance announced this long before does not count as downtime
        claim_within: 30d # a credit is claimed within so many days after the month

services:
  shop:
    name: Our shop
    interval: 60s # every check runs once in it
    timeout: 10s # for one attempt; a failure is confirmed by a second attempt before it counts
    checks:
      # The service is down while more than half of its checks fail. Replace the address by your own.
      page:
        http: { get: "https://shop.example.com/" }
        expect: { status: 200, time: "< 3s" }

      # A transaction does what a customer does, step by step. Take the marks off, and replace what is yours.
      # order:
      #   steps:
      #     - name: log in
      #       http: { post: "https://shop.example.com/login", json: { user: probe, password: "${PROBE_PASSWORD}" } }
      #       expect: { status: 200, json: { "$.token": { type: string } } }
      #       extract: { token: "$.token" } # later steps write {{ token }}
      #     - name: order
      #       http:
      #         post: "https://shop.example.com/orders"
      #         headers: { authorization: "Bearer {{ token }}" }
      #         json: { sku: test }
      #       expect: { status: 201 }
      #       extract: { order: "$.id" }
      #   finally: # always runs, and cannot fail the check
      #     - name: clean up
      #       http: { delete: "https://shop.example.com/orders/{{ order }}" }
      #       expect: { status: [204, 404] }

partners:
  acme:
    name: Yayasan Acme
    contract: standard
    services:
      shop: { fee: IDR 12500000 } # a month; or with dates: [{ from: 2026-01-01, amount: IDR 12500000 }]

# Who is told. A channel is one of email, webhook, alertmanager, heartbeat, apprise; jaga notify test CHANNEL tries it.
# channels:
#   ops: { webhook: { url: "https://hooks.example.com/jaga", secret: "${HOOK_SECRET}" } }
#   partners: { email: { host: smtp.example.com, from: jaga@example.com }, partners: all, lang: id } # to their contacts
"""

CONFIGURATION = Path("config/jaga.yaml")


class AlreadyThereError(Exception):
    """A file that would be written is there already; nothing was written."""


def initialise(folder: Path) -> list[Path]:
    """Write `config/jaga.yaml` and the schema beside it in `folder`; the paths written.

    AlreadyThereError, before anything is written, where a configuration is there. A schema that is there belongs to an
    earlier version and is replaced. OSError where the folder cannot be written.
    """
    configuration = folder / CONFIGURATION
    described = configuration.with_name(NAME)
    configuration.parent.mkdir(parents=True, exist_ok=True)
    try:
        with configuration.open("x", encoding="utf-8") as file:
            file.write(STARTER)
    except FileExistsError:
        raise AlreadyThereError(f"{configuration} is there already; it is not overwritten") from None
    described.write_text(schema_text(), encoding="utf-8")
    return [configuration, described]
