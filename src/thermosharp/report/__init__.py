"""Figures that show what sharpening gained."""
