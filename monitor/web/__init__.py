"""What the daemon shows over HTTP: `pages` serves, `status`, `samples` and `landing` are views of what it is handed."""
