"""Outputs: COG, PNG, JSON and CSV that exist under their final names only when complete."""

from thermosharp.writing.cog import cog_bytes
from thermosharp.writing.files import check_writable, sweep, write_files
from thermosharp.writing.ledger import Ledger
from thermosharp.writing.scene import finished, write_scene
from thermosharp.writing.summary import SUMMARY_COLUMNS, summary_row, write_summary

__all__ = [
    "SUMMARY_COLUMNS",
    "Ledger",
    "check_writable",
    "cog_bytes",
    "finished",
    "summary_row",
    "sweep",
    "write_files",
    "write_scene",
    "write_summary",
]
