"""structlog, imported without rich: where that is installed, as it is for the verbs' tables, structlog loads it for
tracebacks in colour, which no log of ours has. It would be 5 MiB of a daemon. To be imported before anything else.
"""

from __future__ import annotations

import sys

if "structlog" not in sys.modules and "rich" not in sys.modules:
    # The import system's own sign for what cannot be had.
    sys.modules["rich"] = None  # type: ignore[assignment]
    try:
        import structlog  # noqa: F401 - for what it does not load
    finally:
        del sys.modules["rich"]
