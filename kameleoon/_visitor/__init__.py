"""What is known of one visitor: the record the engine reads, the facts that change it, and what of it is unsent."""
