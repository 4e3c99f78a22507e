"""The demo's configuration file: an ordinary one, with terms under which a minute is enough to miss a promise."""

from __future__ import annotations

from monitor.demo.saas import PASSWORD, USER

SERVICE = "cloud"
PARTNER = "acme"
NOTICE_US = 10_000_000
GUARANTEE = "99.999%"

_TEMPLATE = """\
# The demo's configuration. The real agreement promises 95 % and asks for 48 h of notice; here it is {guarantee} and
# 10 s, so that a minute shows what otherwise takes a month. The code is the same.
store: sqlite:///ledger.db
location: {{id: demo-1}}
web: {{listen: 127.0.0.1:0}}
contracts:
  demo:
    terms:
      - effective_from: 2020-01-01
        timezone: Asia/Jakarta
        guarantee: {guarantee}
        credits: [{{below: {guarantee}, credit: 10%}}, {{below: 99.9%, credit: 25%}}]
        maintenance_notice: 10s
        claim_within: 30d
services:
  {service}:
    name: Sample cloud
    interval: 1s
    timeout: 400ms
    checks:
      log-in:
        steps:
          - name: log in
            http: {{post: "{url}/login", json: {{user: "{user}", password: "{password}"}}}}
            expect: {{status: 200, json: {{"$.token": {{type: string}}}}}}
      list-servers:
        steps:
          - name: log in
            http: {{post: "{url}/login", json: {{user: "{user}", password: "{password}"}}}}
            expect: {{status: 200}}
            extract: {{token: "$.token"}}
          - name: list
            http: {{get: "{url}/servers", headers: {{authorization: "Bearer {{{{ token }}}}"}}}}
            expect: {{status: 200, json: {{"$.servers[0].state": running}}}}
      order:
        steps:
          - name: log in
            http: {{post: "{url}/login", json: {{user: "{user}", password: "{password}"}}}}
            expect: {{status: 200}}
            extract: {{token: "$.token"}}
          - name: order
            http:
              post: "{url}/orders"
              headers: {{authorization: "Bearer {{{{ token }}}}"}}
              json: {{sku: test}}
            expect: {{status: 201}}
            extract: {{order: "$.id"}}
        finally:
          - name: clean up
            http: {{delete: "{url}/orders/{{{{ order }}}}", headers: {{authorization: "Bearer {{{{ token }}}}"}}}}
            expect: {{status: [204, 404]}}
      health:
        http: {{get: "{url}/health"}}
        expect: {{status: 200, json: {{"$.status": ok}}}}
partners:
  {partner}: {{name: Yayasan Acme, contract: demo, services: {{{service}: {{fee: IDR 12500000}}}}}}
"""


def configuration(url: str) -> str:
    """The YAML that watches the sample SaaS at `url`."""
    return _TEMPLATE.format(
        url=url,
        user=USER,
        password=PASSWORD,
        service=SERVICE,
        partner=PARTNER,
        guarantee=GUARANTEE,
    )
