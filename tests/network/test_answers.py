"""What a container is answered, from bytes to bytes; dnspython asks as a client would."""

from __future__ import annotations

from dataclasses import replace

import dns.flags
import dns.message
import dns.rcode
import pytest
from hypothesis import given, strategies as st

from notebook_containers.network.answers import Answers
from notebook_containers.network.directory import Directory, Member, Place, member_from, message_of


def place(name: str, *addresses: str, network: str = "n1", title: str = "web", internal: bool = False) -> Place:
    subnets = ("10.1.0.0/24", "fd00:1::/64")
    return Place(network=network, title=title, names=tuple(name.split()), addresses=addresses, subnets=subnets, internal=internal)


DB = Member(id="db", places=(place("db store", "10.1.0.2", "fd00:1::2"),))
APP = Member(id="app", places=(place("app", "10.1.0.3"),))
OTHER = Member(id="other", places=(place("db", "10.2.0.2", network="n2", title="data"),))


def answers(*members: Member) -> Answers:
    directory = Directory()
    for member in members or (DB, APP, OTHER):
        directory.put(member)
    return Answers(directory)


def ask(answering: Answers, asker: Member, name: str, kind: str = "A", *, stream: bool = False) -> dns.message.Message | None:
    query = dns.message.make_query(name, kind)
    wire = answering.answer(asker, query.to_wire(), stream=stream)
    if wire is None:
        return None
    answer = dns.message.from_wire(wire)
    assert query.is_response(answer)
    return answer


def found(answer: dns.message.Message | None) -> list[str]:
    assert answer is not None
    return [item.to_text() for rrset in answer.answer for item in rrset]


def test_names_of_one_network_and_nobody_else() -> None:
    all_of_them = answers()
    assert found(ask(all_of_them, APP, "db")) == ["10.1.0.2"]
    assert found(ask(all_of_them, APP, "STORE")) == ["10.1.0.2"]
    assert found(ask(all_of_them, APP, "db.web.")) == ["10.1.0.2"]
    assert found(ask(all_of_them, APP, "db", "AAAA")) == ["fd00:1::2"]
    assert found(ask(all_of_them, OTHER, "db")) == ["10.2.0.2"]
    assert ask(all_of_them, APP, "db.data") is None
    assert ask(all_of_them, OTHER, "store") is None


def test_a_link_is_a_name_for_the_one_that_has_it_and_what_it_leads_to_may_change() -> None:
    linking = Member(id="linking", places=(replace(APP.places[0], links={"database": "store", "app": "db", "gone": "nobody"}),))
    linking = member_from(message_of(linking))
    all_of_them = answers(DB, OTHER, linking)
    assert found(ask(all_of_them, linking, "DataBase")) == ["10.1.0.2"]
    assert found(ask(all_of_them, linking, "app")) == ["10.1.0.2"]  # a link comes before what others are called
    assert ask(all_of_them, linking, "gone") is None
    assert ask(all_of_them, DB, "database") is None


def test_a_name_without_such_records_is_no_unknown_name() -> None:
    for name, kind in (("app", "AAAA"), ("db", "MX"), ("db", "TXT")):
        answer = ask(answers(), DB, name, kind)
        assert answer is not None
        assert (answer.rcode(), answer.answer) == (dns.rcode.NOERROR, [])


def test_in_two_networks_the_first_one_s_name_counts() -> None:
    both = Member(id="both", places=(place("both", "10.2.0.9", network="n2", title="data"), place("both", "10.1.0.9")))
    known = answers(DB, OTHER, both)
    assert found(ask(known, both, "db")) == ["10.2.0.2"]
    assert found(ask(known, both, "db.web")) == ["10.1.0.2"]


def test_reverse_look_ups() -> None:
    assert found(ask(answers(), APP, "2.0.1.10.in-addr.arpa", "PTR")) == ["db.web."]
    assert found(ask(answers(), APP, "9.0.1.10.in-addr.arpa", "PTR")) == []  # in the network, and nobody's
    assert ask(answers(), APP, "2.0.2.10.in-addr.arpa", "PTR") is None
    assert ask(answers(), APP, "_http._tcp.example.org", "PTR") is None


def test_replicas_take_turns() -> None:
    replicas = [Member(id=f"r{n}", places=(place("api", f"10.1.0.{n}"),)) for n in range(10, 14)]
    known = answers(APP, *replicas)
    firsts = [found(ask(known, APP, "api"))[0] for _ in range(8)]
    assert {firsts.count(first) for first in firsts} == {2}
    assert len(set(firsts)) == 4


def test_more_than_a_datagram_holds_is_asked_again_by_tcp() -> None:
    replicas = [Member(id=f"r{n}", places=(place("api", f"10.1.0.{n}"),)) for n in range(10, 200)]
    known = answers(APP, *replicas)
    short = ask(known, APP, "api")
    assert short is not None
    assert short.flags & dns.flags.TC
    assert len(found(ask(known, APP, "api", stream=True))) == 190


def test_net07_a_container_without_a_way_out_asks_nobody_outside() -> None:
    inner = Member(id="inner", places=(place("inner", "10.1.0.8", internal=True),))
    for name, kind in (("secret.example.org", "A"), ("secret.example.org", "TXT"), ("8.8.8.8.in-addr.arpa", "PTR"), ("nosuch", "A")):
        answer = ask(answers(inner), inner, name, kind)
        assert answer is not None
        assert answer.rcode() == dns.rcode.NXDOMAIN
    outward = Member(id="inner", places=(*inner.places, place("inner", "10.2.0.8", network="n2")))
    assert ask(answers(outward), outward, "example.org") is None


def test_a_change_is_answered_at_once() -> None:
    directory = Directory()
    directory.put(APP)
    answering = Answers(directory)
    assert ask(answering, APP, "db") is None
    directory.put(DB)
    answering.forget()
    assert found(ask(answering, APP, "db")) == ["10.1.0.2"]
    directory.drop("db")
    answering.forget()
    assert ask(answering, APP, "db") is None


@pytest.mark.parametrize("kind", ["CH", "two"])
def test_odd_questions_are_refused(kind: str) -> None:
    query = dns.message.make_query("db", "A", rdclass="CH") if kind == "CH" else dns.message.make_query("db", "A")
    if kind == "two":
        query.question *= 2
    wire = answers().answer(APP, query.to_wire())
    assert wire
    assert dns.message.from_wire(wire).rcode() == dns.rcode.FORMERR


@given(st.binary(max_size=80))
def test_net11_bytes_that_are_no_question_are_not_answered(data: bytes) -> None:
    wire = answers().answer(APP, data)
    assert wire is None or wire == b"" or wire[:2] == data[:2]


def test_a_member_is_the_same_behind_the_control_socket() -> None:
    assert member_from(message_of(DB)) == DB
