"""Checks the import contracts of many small trees in one process; run by test_import_contracts.

Arguments: folders, each with `.importlinter`, `monitor/` and `probes/`. Prints one JSON object: folder -> names of the
broken contracts. A process of its own, because the packages of the real tree are already imported in the tests'.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import sys

from importlinter import configuration
from importlinter.application import use_cases


def broken_contracts(folder: str) -> list[str]:
    """The names of the contracts that the tree in `folder` breaks."""
    sys.path.insert(0, folder)
    importlib.invalidate_caches()
    try:
        options = use_cases.read_user_options(f"{folder}/.importlinter")
        use_cases._register_contract_types(options)
        with contextlib.redirect_stdout(sys.stderr):
            report = use_cases.create_report(options, cache_dir=None)
    finally:
        sys.path.remove(folder)
    assert not report.could_not_run, report.invalid_contract_options
    return [contract.name for contract, check in report.get_contracts_and_checks() if not check.kept]


if __name__ == "__main__":
    configuration.configure()
    json.dump({folder: broken_contracts(folder) for folder in sys.argv[1:]}, sys.stdout)
