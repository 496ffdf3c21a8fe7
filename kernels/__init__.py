"""Triton kernels: plan tables in, dataset indices out. Imports torch and triton only."""
