"""Jaga, the daemon: it keeps watch over a service and keeps the ledger of what the contract says about it."""
