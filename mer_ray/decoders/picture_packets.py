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


def needed_packets(packets: "Sequence[Packet[VideoStream]]", wanted: Collection[int]) -> "list[Packet[VideoStream]]":
    """The packets, in decoding order, without which the pictures shown at `wanted` cannot be decoded.

    A picture needs only packets before it, back to its key frame; pictures shown before that key frame also need the group before.
    """
    starts = [index for index, packet in enumerate(packets) if packet.is_keyframe or index == 0]
    kept_groups: list[Sequence[Packet[VideoStream]]] = []
    needs_whole_group = False
    for start, end in reversed(list(zip(starts, [*starts[1:], len(packets)], strict=True))):
        group = packets[start:end]
        wanted_here = [index for index, packet in enumerate(group) if shown_at(packet) in wanted and not packet.is_discard]
        kept = len(group) if needs_whole_group else max(wanted_here, default=-1) + 1
        kept_groups.append(group[:kept])
        key_ticks = shown_at(group[0])
        needs_whole_group = any(shown_at(group[index]) < key_ticks for index in wanted_here)
    return [packet for group in reversed(kept_groups) for packet in group]
