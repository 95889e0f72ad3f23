"""nginx, redis and PostgreSQL from Debian in containers of one network, which find each other by name; as root and as an ordinary user.

The image is built by our builder from a small Debian (``NBC_TEST_DEBIAN``, the archive that .ci/debian makes) and its packages; the
ordinary user loads it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.needs import need
from tests.people import Person, person

pytestmark = [pytest.mark.user, pytest.mark.netns, pytest.mark.timeout(600)]

LONG_S = 60

# What compiles queries at run time is not needed here, and is half of what is installed.
IMAGE = r"""
FROM debian:programs
RUN export DEBIAN_FRONTEND=noninteractive \
 && printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d && chmod 755 /usr/sbin/policy-rc.d \
 && apt-get update -qq && apt-get install -y -qq --no-install-recommends nginx-light redis-server postgresql > /dev/null \
 && ln -s /usr/lib/postgresql/*/bin /pg \
 && rm -rf /var/lib/postgresql/*/main /var/lib/apt/lists/* /var/cache/apt /usr/lib/*/libLLVM* /etc/nginx/sites-enabled/*
COPY inner.conf outer.conf /
COPY --chmod=755 database /
"""
DATABASE = """#!/bin/sh -e
/pg/initdb -D /tmp/data -U postgres -A trust > /dev/null
echo host all all all trust >> /tmp/data/pg_hba.conf
exec /pg/postgres -D /tmp/data -c listen_addresses='*' -c jit=off -c unix_socket_directories=/tmp
"""
SERVER = "events { } pid /run/nginx.pid; http { access_log off; server { listen 80; location / { %s } } }"
INNER = SERVER % "default_type text/plain; return 200 'from $hostname';"
OUTER = SERVER % "proxy_pass http://inner/;"
CACHE = ("redis-server", "--bind", "0.0.0.0", "--protected-mode", "no", "--save", "")


@pytest.fixture(scope="module")
def builder() -> Iterator[Person]:
    """Root, with the image, and its archive in its home."""
    debian = os.environ.get("NBC_TEST_DEBIAN", "")
    need(debian, "archive of a Debian (NBC_TEST_DEBIAN)")
    home = Path(tempfile.mkdtemp(prefix="nbcp-", dir="/tmp"))
    home.chmod(0o755)
    try:
        who = Person(name="root", uid=0, gid=0, home=home)
        (context := home / "context").mkdir()
        for name, text in {"Dockerfile": IMAGE, "database": DATABASE, "inner.conf": INNER, "outer.conf": OUTER}.items():
            (context / name).write_text(text)
        who.nbc("import", debian, "debian:programs", timeout_s=120)
        who.nbc("build", "-q", "--network", "host", "-t", "programs", context, timeout_s=400)
        who.nbc("save", "-o", home / "programs.tar", "programs", timeout_s=120)
        (home / "programs.tar").chmod(0o644)
        yield who
    finally:
        shutil.rmtree(home)


@pytest.fixture(params=["root", "ordinary user"])
def user(request: pytest.FixtureRequest, builder: Person, no_leaks: None) -> Iterator[Person]:
    if request.param == "root":
        try:
            yield builder
        finally:
            if left := builder.nbc("ps", "-aq").split():
                builder.nbc("rm", "-f", "-v", *left)
        return
    with person(lent=True) as who:  # PostgreSQL does not run as user 0: one id is not enough
        who.nbc("load", "-q", "-i", builder.home / "programs.tar", timeout_s=120)
        yield who


def test_they_find_each_other_by_name(user: Person) -> None:
    def start(name: str, *words: str) -> None:
        user.nbc("run", "-d", "--network", "office", "--stop-timeout", "0", "--name", name, *words)

    def within(name: str, *words: str) -> str:
        return eventually(lambda: user.nbc("exec", name, *words).strip())

    user.nbc("network", "create", "office")
    start("database", "-u", "postgres", "programs", "/database")
    start("cache", "programs", *CACHE)
    start("inner", "-h", "inside", "programs", "nginx", "-c", "/inner.conf", "-g", "daemon off;")
    start("outer", "-p", "80", "programs", "nginx", "-c", "/outer.conf", "-g", "daemon off;")

    place = user.nbc("port", "outer", "80").strip()

    def visit() -> str:
        with urllib.request.urlopen(f"http://{place}/", timeout=10) as answer:
            text: str = answer.read().decode()
            return text

    def query(name: str, words: str) -> str:
        return within(name, "/pg/psql", "-h", "database", "-U", "postgres", "-qtAc", words)

    def cache(name: str, *words: str) -> str:
        return within(name, "redis-cli", "-h", "cache", *words)

    assert eventually(visit) == "from inside"
    made = "create table if not exists seen (what text primary key); insert into seen values ('by outer') on conflict do nothing"
    assert query("outer", made) == ""
    assert query("cache", "select * from seen") == "by outer"
    assert cache("database", "set", "key", "by database") == "OK"
    assert cache("inner", "get", "key") == "by database"
    # another container with the name, at another address, is found from then on
    before = within("inner", "getent", "hosts", "cache")
    user.nbc("rm", "-f", "cache")
    start("placeholder", "programs", "sleep", "1000")
    start("cache", "programs", *CACHE)
    assert eventually(lambda: cache("database", "get", "key")) == ""
    assert within("inner", "getent", "hosts", "cache") != before
    user.nbc("rm", "-f", "-v", "outer", "inner", "cache", "database", "placeholder")
    user.nbc("network", "rm", "office")


def eventually(ask: Callable[[], str]) -> str:
    """Return the answer of a program that may still be starting."""
    deadline = time.monotonic() + LONG_S
    while True:
        try:
            return ask()
        except (OSError, AssertionError, subprocess.TimeoutExpired):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
