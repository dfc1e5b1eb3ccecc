"""One module per sharpening method, all with the contract of :class:`Sharpener`."""
