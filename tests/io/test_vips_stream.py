import io

import numpy as np
import pytest

from pellucid.io.vips_stream import Feed, save


def bands_of(image, height):
    yield from (image[top : top + height] for top in range(0, len(image), height))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize(
    ("n_bands", "has_alpha"), [(n, False) for n in (1, 2, 3, 4, 7)] + [(n, True) for n in (2, 3, 4, 7)]
)
@pytest.mark.parametrize("height", [1, 16, 100])
def test_what_is_fed_is_what_libvips_reads(dtype, n_bands, has_alpha, height):
    image = (np.random.default_rng(0).random((53, 19, n_bands)) * 250).astype(dtype)
    feed = Feed(bands_of(image, height), image.shape, image.dtype, has_alpha=has_alpha)
    assert (feed.image.width, feed.image.height, feed.image.bands) == (19, 53, n_bands)
    stream = io.BytesIO()
    save("rawsave_target", feed, stream)
    np.testing.assert_array_equal(np.frombuffer(stream.getvalue(), dtype).reshape(image.shape), image)


def test_what_making_a_row_raises_is_raised_and_the_maker_closed():
    closed = []

    def bands():
        try:
            yield np.zeros((64, 64, 3), np.uint8)
            raise RuntimeError("no more")
        finally:
            closed.append(True)

    feed = Feed(bands(), (256, 64, 3), np.dtype(np.uint8), has_alpha=False)
    with pytest.raises(RuntimeError, match="no more"):
        save("pngsave_target", feed, io.BytesIO())
    assert closed == [True]


def test_a_stream_that_fails_ends_the_making():
    made = []

    def bands():
        for number in range(1000):
            made.append(number)
            yield np.random.default_rng(number).integers(0, 255, (64, 256, 3), dtype=np.uint8)

    class Full(io.BytesIO):
        def write(self, _data):
            raise OSError(28, "full")

    feed = Feed(bands(), (64_000, 256, 3), np.dtype(np.uint8), has_alpha=False)
    with pytest.raises(OSError, match="full"):
        save("pngsave_target", feed, Full())
    assert len(made) < 500
