"""What a probe costs: ours against blackbox_exporter and, for HTTP and TLS, a floor in C, in paired rounds.

    python -m bench.probes [--rounds 5] [--count 2000] [--only http-saturated …]

Targets are nginx and nsd on another core. A contender's figure is its own CPU (user and system) a probe; what drives
blackbox_exporter is not counted. Wrong answers are planted in the targets first: a contender that calls one of them
right is out. blackbox_exporter builds a registry, writes some twenty series and answers an HTTP request for each
probe: that is its architecture, and counted.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import trustme

from bench import harness
from bench.harness import MissingError, accepts, free_port, say

ROOT = Path(__file__).parents[1]
PROBER_CORE, TARGET_CORE = 0, 1
AT_ONCE = 32
NGINX = """
daemon off; master_process off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log crit;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder}; default_type text/plain;
  ssl_session_cache off; ssl_session_tickets off;
  server {{
    listen 127.0.0.1:{http} backlog=1024; listen 127.0.0.1:{https} ssl backlog=1024;
    ssl_certificate {folder}/chain.pem; ssl_certificate_key {folder}/key.pem;
    location / {{ return 200 "all is well, and this is some text that says so\\n"; }}
    location /broken {{ return 500 "broken\\n"; }}
  }}
}}
"""
NSD = """
server:
  ip-address: 127.0.0.1@{dns}
  zonesdir: "{folder}"
  database: ""
  pidfile: "{folder}/nsd.pid"
  xfrdfile: "{folder}/xfrd.state"
  zonelistfile: "{folder}/zone.list"
  username: ""
  server-count: 1
  rrl-ratelimit: 0
remote-control:
  control-enable: no
zone:
  name: "bench.test"
  zonefile: "bench.zone"
"""
ZONE = """$ORIGIN bench.test.
@ 60 IN SOA ns hostmaster 1 3600 600 86400 60
@ 60 IN NS ns
ns 60 IN A 127.0.0.1
www 60 IN A 192.0.2.7
"""


@dataclass(frozen=True)
class Servers:
    """Where the targets are."""

    folder: Path
    http: int
    https: int
    dns: int
    blackbox: int

    @property
    def ca_file(self) -> str:
        return str(self.folder / "ca.pem")


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One kind of probe: the same question to each contender, and one whose answer is wrong."""

    check: Callable[[Servers], Mapping[str, Any]]
    wrong: Callable[[Servers], Mapping[str, Any]]
    module: str
    target: Callable[[Servers], str]
    wrong_module: str
    wrong_target: Callable[[Servers], str]
    floor: bool = False
    rate: float | None = None
    share: float = 1.0  # of --count, for what is slow


def _https(servers: Servers, path: str = "/") -> dict[str, Any]:
    return {
        "http": {
            "get": f"https://localhost:{servers.https}{path}",
            "resolve": {"localhost": "127.0.0.1"},
            "tls": {"ca_file": servers.ca_file},
        },
        "expect": {"status": 200},
    }


def _http(servers: Servers, path: str = "/") -> dict[str, Any]:
    return {"http": {"get": f"http://127.0.0.1:{servers.http}{path}"}, "expect": {"status": 200}}


def _dns(servers: Servers, name: str = "www") -> dict[str, Any]:
    return {
        "dns": {"query": f"{name}.bench.test", "server": f"127.0.0.1:{servers.dns}"},
        "expect": {"records": ["192.0.2.7"]},
    }


HTTP = Scenario(
    check=_http,
    wrong=lambda s: _http(s, "/broken"),
    module="http",
    target=lambda s: f"http://127.0.0.1:{s.http}/",
    wrong_module="http",
    wrong_target=lambda s: f"http://127.0.0.1:{s.http}/broken",
    floor=True,
)
HTTPS = Scenario(
    check=_https,
    wrong=lambda s: _https(s, "/broken"),
    module="https",
    target=lambda s: f"https://127.0.0.1:{s.https}/",
    wrong_module="https",
    wrong_target=lambda s: f"https://127.0.0.1:{s.https}/broken",
    floor=True,
    share=0.5,
)


def paced(scenario: Scenario, rate: float) -> Scenario:
    """The same, one at a time at a rate, as a schedule is."""
    changed = dict(scenario.__dict__) | {"rate": rate, "share": scenario.share / 2}
    return Scenario(**changed)


SCENARIOS = {
    "http-saturated": HTTP,
    "http-paced": paced(HTTP, 200),
    "https-saturated": HTTPS,
    "https-paced": paced(HTTPS, 100),
    "tcp": Scenario(
        check=lambda s: {"tcp": {"connect": f"127.0.0.1:{s.http}"}},
        wrong=lambda _: {"tcp": {"connect": "127.0.0.1:1"}},
        module="tcp",
        target=lambda s: f"127.0.0.1:{s.http}",
        wrong_module="tcp",
        wrong_target=lambda _: "127.0.0.1:1",
    ),
    "dns": Scenario(
        check=_dns,
        wrong=lambda s: _dns(s, "nobody"),
        module="dns",
        target=lambda s: f"127.0.0.1:{s.dns}",
        wrong_module="dns_wrong",
        wrong_target=lambda s: f"127.0.0.1:{s.dns}",
    ),
    "icmp": Scenario(
        check=lambda _: {"icmp": {"ping": "127.0.0.1"}},
        wrong=lambda _: {"icmp": {"ping": "240.0.0.1"}},
        module="icmp",
        target=lambda _: "127.0.0.1",
        wrong_module="icmp_wrong",
        wrong_target=lambda _: "240.0.0.1",
    ),
}
GOALS = {
    "http-saturated": {"blackbox": 1 / 6, "floor": 1.8},
    "http-paced": {"blackbox": 1 / 3.5},
    "https-saturated": {"blackbox": 1 / 1.2, "floor": 1.25},
    "tcp": {"blackbox": 1 / 5},
    "dns": {"blackbox": 1 / 6},
    "icmp": {"blackbox": 1 / 15},
}


def blackbox_modules(ca_file: str) -> dict[str, Any]:
    """The modules, as a user would write them for the same questions."""
    http = {"preferred_ip_protocol": "ip4", "valid_status_codes": [200]}
    tls = {"tls_config": {"ca_file": ca_file, "server_name": "localhost"}}
    dns = {"preferred_ip_protocol": "ip4", "query_type": "A", "transport_protocol": "udp"}
    validate = {"validate_answer_rrs": {"fail_if_not_matches_regexp": [r".*\t192\.0\.2\.7"]}}
    ip4 = {"preferred_ip_protocol": "ip4"}
    return {
        "http": {"prober": "http", "timeout": "5s", "http": http},
        "https": {"prober": "http", "timeout": "5s", "http": http | tls},
        "tcp": {"prober": "tcp", "timeout": "5s", "tcp": ip4},
        "dns": {"prober": "dns", "timeout": "5s", "dns": dns | validate | {"query_name": "www.bench.test"}},
        "dns_wrong": {"prober": "dns", "timeout": "5s", "dns": dns | validate | {"query_name": "nobody.bench.test"}},
        "icmp": {"prober": "icmp", "timeout": "5s", "icmp": ip4},
        "icmp_wrong": {"prober": "icmp", "timeout": "1s", "icmp": ip4},
    }


def certificates(folder: Path) -> None:
    ca = trustme.CA(key_type=trustme.KeyType.ECDSA)
    ca.cert_pem.write_to_path(folder / "ca.pem")
    leaf = ca.issue_cert("localhost", key_type=trustme.KeyType.ECDSA)
    (folder / "chain.pem").write_bytes(b"".join(pem.bytes() for pem in leaf.cert_chain_pems))
    leaf.private_key_pem.write_to_path(folder / "key.pem")


@contextmanager
def serving(folder: Path) -> Iterator[tuple[Servers, subprocess.Popen[bytes]]]:
    """Nginx and nsd as targets, and blackbox_exporter."""
    found = Servers(folder, free_port(), free_port(), free_port(), free_port())
    certificates(folder)
    values = {"folder": folder, "http": found.http, "https": found.https, "dns": found.dns}
    (folder / "nginx.conf").write_text(NGINX.format(**values), encoding="utf-8")
    (folder / "nsd.conf").write_text(NSD.format(**values), encoding="utf-8")
    (folder / "bench.zone").write_text(ZONE, encoding="utf-8")
    (folder / "blackbox.yml").write_text(json.dumps({"modules": blackbox_modules(found.ca_file)}), encoding="utf-8")
    nginx = (harness.tool("nginx", "nginx-light"), "-p", str(folder), "-c", str(folder / "nginx.conf"))
    nsd = (harness.tool("nsd", "nsd"), "-d", "-c", str(folder / "nsd.conf"))
    blackbox = (
        harness.tool("prometheus-blackbox-exporter", "prometheus-blackbox-exporter"),
        f"--config.file={folder}/blackbox.yml",
        f"--web.listen-address=127.0.0.1:{found.blackbox}",
        "--log.level=error",
    )
    with ExitStack() as undo:
        undo.enter_context(harness.running(*nginx, core=TARGET_CORE, cwd=folder, ready=accepts(found.http)))
        undo.enter_context(harness.running(*nsd, core=TARGET_CORE, cwd=folder, ready=accepts(found.dns)))
        process = undo.enter_context(
            harness.running(*blackbox, core=PROBER_CORE, cwd=folder, ready=accepts(found.blackbox))
        )
        yield found, process


class Ours:
    """Our prober in a process of its own, on the standard library's event loop or on another."""

    def __init__(self, *loop: str) -> None:
        words = [sys.executable, "-m", "bench.prober", *loop]
        self._child = subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        harness.pin(self._child.pid, PROBER_CORE)

    def ask(self, **order: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(json.dumps(order) + "\n")
        self._child.stdin.flush()
        answer: dict[str, Any] = json.loads(self._child.stdout.readline())
        return answer

    def close(self) -> None:
        self._child.kill()
        self._child.wait()


class Blackbox:
    """blackbox_exporter, asked over kept connections by this process."""

    def __init__(self, port: int, pid: int) -> None:
        self._url, self._pid = f"http://127.0.0.1:{port}/probe", pid

    def ask(self, module: str, target: str, *, count: int, rate: float | None = None) -> dict[str, Any]:
        return asyncio.run(self._ask({"module": module, "target": target}, count, rate))

    async def _ask(self, params: dict[str, str], count: int, rate: float | None) -> dict[str, Any]:
        said = {"pass": 0, "fail": 0}
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=AT_ONCE)) as session:

            async def one() -> None:
                async with session.get(self._url, params=params) as answer:
                    said["pass" if "\nprobe_success 1\n" in await answer.text() else "fail"] += 1

            await one()
            said.update({"pass": 0, "fail": 0})
            before, left = harness.cpu_s(self._pid), count
            loop = asyncio.get_running_loop()

            async def some() -> None:
                nonlocal left
                while left > 0:
                    left -= 1
                    await one()

            if rate is None:
                await asyncio.gather(*(some() for _ in range(AT_ONCE)))
            else:
                begun = loop.time()
                for number in range(count):
                    await asyncio.sleep(max(0.0, begun + number / rate - loop.time()))
                    await one()
            return {"cpu_ms": (harness.cpu_s(self._pid) - before) * 1000 / count, "said": said}


def compiled_floor(folder: Path) -> str:
    """The floor, compiled against the OpenSSL that is there."""
    program = str(folder / "floor")
    command = [harness.tool("gcc", "gcc"), "-O2", "-o", program, str(Path(__file__).with_name("floor.c"))]
    done = subprocess.run([*command, "-lssl", "-lcrypto"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise MissingError(f"the floor does not compile (libssl-dev?): {done.stderr[:300]}")
    return program


def floor(program: str, scenario: Scenario, servers: Servers, count: int) -> dict[str, Any]:
    """One run of the floor."""
    tls = scenario.module == "https"
    words = [program, str(servers.https if tls else servers.http), str(count), str(AT_ONCE), str(scenario.rate or 0)]
    words = ["taskset", "-c", str(PROBER_CORE), *words, *([servers.ca_file, "localhost"] if tls else [])]
    cpu_ms, good = subprocess.run(words, capture_output=True, text=True, check=True, timeout=300).stdout.split()
    return {"cpu_ms": float(cpu_ms), "said": {"pass": int(good), "fail": count - int(good)}}


def plant_wrong_answers(scenario: Scenario, probers: Mapping[str, Ours], blackbox: Blackbox, servers: Servers) -> None:
    """Each contender must see what is wrong, before its speed counts for anything."""
    for name, ours in probers.items():
        told = ours.ask(check=scenario.wrong(servers), count=3, at_once=3)["said"]
        assert sum(told.values()) == 3, told
        assert not told.get("pass"), f"{name} calls a wrong answer right: {told}"
    theirs = blackbox.ask(scenario.wrong_module, scenario.wrong_target(servers), count=3)["said"]
    assert theirs["pass"] == 0, f"blackbox_exporter calls a wrong answer right: {theirs}"


def measure(
    name: str,
    rounds: int,
    count: int,
    probers: Mapping[str, Ours],
    blackbox: Blackbox,
    servers: Servers,
    program: str,
) -> Any:  # noqa: ANN401 - JSON
    """The rounds of one scenario."""
    scenario = SCENARIOS[name]
    count = max(100, round(count * scenario.share))
    plant_wrong_answers(scenario, probers, blackbox, servers)
    pace = {"rate": scenario.rate} if scenario.rate else {"at_once": AT_ONCE}
    check = scenario.check(servers)
    contenders: dict[str, Callable[[], dict[str, Any]]] = {
        who: functools.partial(ours.ask, check=check, count=count, **pace) for who, ours in probers.items()
    }
    contenders["blackbox"] = lambda: blackbox.ask(
        scenario.module, scenario.target(servers), count=count, rate=scenario.rate
    )
    if scenario.floor:
        contenders["floor"] = lambda: floor(program, scenario, servers, count)
    done: list[dict[str, float]] = []
    for turn in range(rounds + 1):
        one: dict[str, float] = {}
        for contender in harness.rotated(list(contenders), turn):
            answer = contenders[contender]()
            assert answer["said"].get("pass") == count, f"{name}: {contender} said {answer['said']} of {count}"
            one[contender] = answer["cpu_ms"]
        if turn:  # the first round warms everything up
            done.append(one)
            say(f"{name} {turn}/{rounds}: " + ", ".join(f"{who} {ms:.3f} ms" for who, ms in one.items()))
    figures: dict[str, Any] = {
        "cpu_ms": {who: harness.spread([one[who] for one in done]) for who in contenders},
        **{
            f"{who}_to": {other: harness.median_ratio(done, who, other) for other in contenders if other != who}
            for who in probers
        },
        "probes_each": rounds * count,
    }
    goals = GOALS.get(name, {})
    reached = figures["ours_to"]
    figures["goals"] = {who: {"at_most": round(goal, 3), "met": reached[who] <= goal} for who, goal in goals.items()}
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=2000, help="probes of each contender in a round")
    parser.add_argument("--only", nargs="*", choices=SCENARIOS, default=list(SCENARIOS))
    asked = parser.parse_args()
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as (servers, process):
        probers = {"ours": Ours()}
        if importlib.util.find_spec("uvloop") is None:
            say("uvloop is not installed: the figures on it are left out")
        else:
            probers["ours_on_uvloop"] = Ours("uvloop")
        try:
            blackbox = Blackbox(servers.blackbox, process.pid)
            program = compiled_floor(Path(folder))
            for name in asked.only:
                figures[name] = measure(name, asked.rounds, asked.count, probers, blackbox, servers, program)
        finally:
            for ours in probers.values():
                ours.close()
    peers = {
        "blackbox_exporter": harness.version("prometheus-blackbox-exporter", "--version"),
        "floor": f"C, gcc -O2, {harness.version('openssl', 'version')}",
        "targets": [harness.version("nginx", "-v"), harness.version("nsd", "-v")],
    }
    harness.finish("probes", figures, peers)


if __name__ == "__main__":
    try:
        main()
    except MissingError as error:
        sys.exit(f"bench: {error}")
