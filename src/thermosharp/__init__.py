"""Sharpen satellite land surface temperature to the scale of streets and fields."""
