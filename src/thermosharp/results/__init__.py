"""What runs left in a folder: read back, reported, measured, catalogued."""

from thermosharp.results.stored import StoredScene, stored_scenes

__all__ = ["StoredScene", "stored_scenes"]
