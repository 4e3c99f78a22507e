"""What the daemon says of itself: log lines (`logs`) and metrics (`snapshot` -> `families` -> `exposition`)."""
