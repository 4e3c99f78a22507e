"""Tools of the documentation; no part of what is installed."""
