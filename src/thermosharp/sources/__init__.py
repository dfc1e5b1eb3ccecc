"""Queries to files: who has images of an area and time, and how they get to the disk.

Nothing here understands pixels beyond writing them; :mod:`thermosharp.products` reads what is
written here.
"""
