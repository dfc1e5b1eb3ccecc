"""Services on loopback that speak the protocols of the real ones, faults included."""
