"""What `jaga demo` shows: a small SaaS that breaks on demand, and the story told with it."""
