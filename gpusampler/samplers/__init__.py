"""Samplers: what a caller constructs, one kind a file."""
