"""Settings: what there are, how each is read, what comes of them."""
