"""A run as an HTTP Archive: what was asked of somebody, and nothing else."""

from __future__ import annotations

from monitor.cli import har
from probes import Outcome, transaction
from probes._net import LiveNetwork
from tests.probes.asking import ask, listening, nobody_listens


async def test_only_what_went_out_has_an_entry() -> None:
    network = LiveNetwork()
    with nobody_listens() as refusing:
        async with listening(lambda _, writer: writer.close()) as port:
            check = {
                "steps": [
                    {"name": "ping", "tcp": {"connect": f"127.0.0.1:{port}"}},
                    {
                        "name": "make",
                        "http": {"post": f"http://127.0.0.1:{refusing}/?a=b"},
                        "extract": {"made": "$.id"},
                    },
                ],
                "finally": [
                    {"name": "unmake", "http": {"delete": f"http://127.0.0.1:{port}/{{{{ made }}}}"}},
                    {"name": "leave", "http": {"get": f"http://127.0.0.1:{port}/"}},
                ],
            }
            result = await ask(network, check)
    network.close()
    assert result.outcome is Outcome.FAIL
    assert [step.name for step in result.steps] == ["ping", "make", "unmake", "leave"]
    log = har.archive(transaction.parse(check), result, started_us=0, version="1")["log"]
    assert [entry["comment"].partition(":")[0] for entry in log["entries"]] == ["make", "leave"]
    assert [entry["request"]["url"] for entry in log["entries"]] == [
        f"http://127.0.0.1:{refusing}/",
        f"http://127.0.0.1:{port}/",
    ]
