"""What makes the record believable to others: the signing key, and checkpoints signed with it each hour and close."""
