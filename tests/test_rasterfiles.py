"""What GDAL is told for the whole process."""

from threading import Barrier, Thread

from rasterio.env import get_gdal_config

from thermosharp.rasterfiles import few_blocks


def kept() -> int:
    """Bytes that GDAL may keep blocks in."""
    return int(get_gdal_config("GDAL_CACHEMAX"))


def test_few_blocks_are_kept_until_the_last_thread_is_done() -> None:
    """However two of them overlap; then all is as it was."""
    usual, seen, together = kept(), [], Barrier(2, timeout=10)

    def other() -> None:
        with few_blocks:
            together.wait()  # both are in
            together.wait()  # the first is out
            seen.append(kept())

    thread = Thread(target=other)
    with few_blocks:
        thread.start()
        together.wait()
        seen.append(kept())
    together.wait()
    thread.join()
    assert seen == [min(few_blocks.LIMIT, usual)] * 2
    assert kept() == usual > few_blocks.LIMIT
