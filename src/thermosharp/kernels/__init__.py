"""Compiled loops: ndarrays in, ndarrays out; no IO, no validation, no logging."""
