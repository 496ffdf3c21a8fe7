"""Ops: tables in, dataset indices out, by torch ops that run on the device of their output."""
