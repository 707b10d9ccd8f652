"""What a client does with the rooms below: keep the configuration, take data in, evaluate, and send what happened."""
