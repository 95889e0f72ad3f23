"""A question's bytes to an answer's bytes, by dnspython; the same question again is answered from memory.

A container asks the same few names over and over, and to read and write a message takes a hundred times longer than to look it up. So an
answer is kept, without its id, for the bytes of its question, in as many orders as it has addresses; every change of the directory forgets
all.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Sequence

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.reversename
import dns.rrset

from notebook_containers.network.directory import Directory, Member

_MOST_KEPT = 4096
_MOST_ORDERS = 32
_TTL_S = 0  # a container may start again with another address at any moment
_SMALLEST, _LARGEST = 512, 65535
_LOOPBACK = ("127.0.0.1", "::1")


class Answers:
    """What containers are answered. None for a question is: ask a name server outside."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._kept: dict[tuple[str, bool, bytes], list[bytes]] = {}

    def forget(self) -> None:
        """Forget every kept answer: the directory has changed."""
        self._kept.clear()

    def answer(self, asker: Member, query: bytes, *, stream: bool = False) -> bytes | None:
        """Return the answer, empty for what is no question at all, or None when somebody outside is to be asked."""
        key = (asker.id, stream, query[2:])
        kept = self._kept.get(key)
        if kept is None:
            made = self._made(asker, query, stream=stream)
            if not made:
                return None if made is None else b""
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            kept = self._kept[key] = [wire[2:] for wire in made]
            random.shuffle(kept)
        tail = kept[0]
        if len(kept) > 1:
            kept.append(kept.pop(0))  # round robin
        return query[:2] + tail

    def _made(self, asker: Member, query: bytes, *, stream: bool) -> Sequence[bytes] | None:
        """Return every order of the answer; None for a question that is not ours."""
        try:
            question = dns.message.from_wire(query)
            if question.flags & dns.flags.QR:
                return ()
            answer = dns.message.make_response(question, recursion_available=True)
        except Exception:  # whatever a container sends, the others are answered
            return ()
        if question.opcode() != dns.opcode.QUERY:
            return self._refused(answer, dns.rcode.NOTIMP)
        if len(question.question) != 1 or question.question[0].rdclass != dns.rdataclass.IN:
            return self._refused(answer, dns.rcode.FORMERR)
        asked = question.question[0]
        found = self._found(asker, asked)
        if found is None:
            return None if asker.reaches_outside else self._refused(answer, dns.rcode.NXDOMAIN)
        room = _LARGEST if stream else max(_SMALLEST, question.payload)
        orders = max(1, min(len(found), _MOST_ORDERS))
        return [_wire(answer, asked, [*found[turn:], *found[:turn]], room) for turn in range(orders)]

    @staticmethod
    def _refused(answer: dns.message.Message, code: dns.rcode.Rcode) -> Sequence[bytes]:
        answer.set_rcode(code)
        return (answer.to_wire(),)

    def _found(self, asker: Member, asked: dns.rrset.RRset) -> Sequence[str] | None:
        """Return the texts of the records that answer, none of them for a name without such records; None for a name that is not ours."""
        if asked.rdtype == dns.rdatatype.PTR:
            return self._reverse(asker, asked.name)
        name = asked.name.to_text(omit_final_dot=True).lower()
        addresses = _LOOPBACK if name == "localhost" or name.endswith(".localhost") else self._directory.addresses(asker, name)
        if addresses is None:
            return None
        version = {dns.rdatatype.A: 4, dns.rdatatype.AAAA: 6}.get(asked.rdtype)
        return [address for address in addresses if ipaddress.ip_address(address).version == version]

    def _reverse(self, asker: Member, name: dns.name.Name) -> Sequence[str] | None:
        try:
            address = dns.reversename.to_address(name)
        except (dns.exception.DNSException, ValueError):
            return None
        found = self._directory.name_of(asker, address)
        if found is not None:
            return [f"{found}."]
        return [] if self._directory.covers(asker, address) else None


def _wire(answer: dns.message.Message, asked: dns.rrset.RRset, texts: Sequence[str], room: int) -> bytes:
    answer.flags |= dns.flags.AA
    answer.answer = [dns.rrset.from_text(asked.name, _TTL_S, "IN", asked.rdtype, *texts)] if texts else []
    return answer.to_wire(max_size=room, prefer_truncation=True, want_shuffle=False)
