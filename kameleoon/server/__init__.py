"""The local server: gives out a data file, takes tracking and shows results, all on one loopback port and without an account."""
