from loadtest.http2 import ACK, PING, SETTINGS, Frames, frame


def test_frames_are_cut_out_of_any_pieces() -> None:
    sent = frame(SETTINGS, 0, b"abcdef") + frame(PING, ACK, b"12345678") + frame(SETTINGS, ACK)
    for size in (1, 2, 5, 9, 100):
        frames = Frames()
        found = [each for start in range(0, len(sent), size) for each in frames.feed(sent[start : start + size])]
        assert found == [(SETTINGS, 0, b"abcdef"), (PING, ACK, b"12345678"), (SETTINGS, ACK, b"")]


def test_a_frame_is_as_the_standard_says() -> None:
    assert frame(PING, ACK, bytes(8), stream=3) == b"\0\0\x08\x06\x01\0\0\0\x03" + bytes(8)
