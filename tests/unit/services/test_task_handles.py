"""Handles of move tasks: what was made is read, and nothing else."""

from __future__ import annotations

import pytest

from broker.base.errors import InvalidArgument
from broker.base.ids import QueueId
from broker.machine.envelope import RequestId
from broker.services.task_handles import TaskHandle, decode, encode, label_of

SESSION = bytes(range(16))
HANDLE = TaskHandle(QueueId((1 << 63) + 5), label_of(RequestId(SESSION, 7)))


def test_what_was_encoded_is_decoded() -> None:
    assert decode(encode(HANDLE)) == HANDLE


def test_a_label_is_of_one_request_and_does_not_betray_its_session() -> None:
    label = label_of(RequestId(SESSION, 7))
    assert label == label_of(RequestId(SESSION, 7))
    others = {label_of(RequestId(SESSION, 8)), label_of(RequestId(SESSION[::-1], 7))}
    assert len(others | {label}) == 3
    assert SESSION.hex()[:8] not in encode(HANDLE)


@pytest.mark.parametrize("text", ["", "abc", encode(HANDLE) + "00", encode(HANDLE)[:-2]])
def test_another_length_is_no_handle(text: str) -> None:
    with pytest.raises(InvalidArgument, match=f"has 50 digits, this has {len(text)}"):
        decode(text)


def test_other_characters_are_no_handle() -> None:
    with pytest.raises(InvalidArgument, match="hexadecimal digits only"):
        decode("x" + encode(HANDLE)[1:])


@pytest.mark.parametrize("place", range(50))
def test_a_changed_digit_is_noticed(place: int) -> None:
    text = encode(HANDLE)
    other = "0" if text[place] != "0" else "1"
    with pytest.raises(InvalidArgument, match="damaged"):
        decode(text[:place] + other + text[place + 1 :])
