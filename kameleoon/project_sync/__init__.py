"""Flags as code: a project file compared with the service, applied to it, written from it, and what a change does to visitors."""
