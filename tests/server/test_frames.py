"""Frames on pipes."""

import asyncio
import io

from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.server.frames import Frame, read_frame, receive_frame, write_frame

frames = st.builds(Frame, st.dictionaries(st.text(), st.none() | st.integers() | st.text()), st.binary())


@given(st.lists(frames, max_size=4), st.integers(0, 400))
@settings(max_examples=40)
def test_what_is_written_is_read_up_to_where_the_stream_ends(sent: list[Frame], cut: int) -> None:
    stream = io.BytesIO()
    ends = [0]
    for frame in sent:
        write_frame(stream, frame)
        ends.append(stream.tell())
    whole = io.BytesIO(stream.getvalue()[:cut])
    n_whole = sum(end <= cut for end in ends[1:])
    assert [read_frame(whole) for _ in range(n_whole)] == sent[:n_whole]
    assert read_frame(whole) is None


@given(frames)
def test_both_readers_agree(frame: Frame) -> None:
    stream = io.BytesIO()
    write_frame(stream, frame)

    async def receive() -> Frame:
        reader = asyncio.StreamReader()
        reader.feed_data(stream.getvalue())
        return await receive_frame(reader)

    assert asyncio.run(receive()) == frame
