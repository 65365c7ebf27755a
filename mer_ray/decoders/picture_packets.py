"""Compressed pictures: when each is shown, and which ones a decoder needs for a few of them."""

from collections.abc import Collection, Sequence
from typing import Any

from av.packet import Packet
from av.video.stream import VideoStream


def shown_at(packet: "Packet[Any]") -> int:
    """The time at which a picture is shown, in the stream's ticks; its decoding time where a container stores no other."""
    ticks = packet.pts if packet.pts is not None else packet.dts
    assert ticks is not None
    return ticks


def needed_runs(packets: "Sequence[Packet[VideoStream]]", wanted: Collection[int]) -> "list[list[Packet[VideoStream]]]":
    """The packets without which the pictures shown at `wanted` cannot be decoded, as runs that follow one another without a gap.

    A picture needs only packets before it, back to its key frame; pictures shown before that key frame also need the group before.
    The decoder has to be drained and flushed between runs.
    """
    starts = [index for index, packet in enumerate(packets) if packet.is_keyframe or index == 0]
    runs: list[list[Packet[VideoStream]]] = []
    joins_next = False
    for start, end in reversed(list(zip(starts, [*starts[1:], len(packets)], strict=True))):
        group = packets[start:end]
        wanted_here = [index for index, packet in enumerate(group) if shown_at(packet) in wanted and not packet.is_discard]
        kept = list(group if joins_next else group[: max(wanted_here, default=-1) + 1])
        if joins_next:
            runs[-1] = kept + runs[-1]
        elif kept:
            runs.append(kept)
        joins_next = any(shown_at(group[index]) < shown_at(group[0]) for index in wanted_here)
    return runs[::-1]
