"""Compile a configuration into a ruleset, and decide for one visitor: no clock, network, lock or log in this room."""
