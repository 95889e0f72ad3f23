"""What a registry has: tags, referrers, repositories; and the search of those that can be searched."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlencode

from notebook_containers.errors import InvalidArgument, RegistryError
from notebook_containers.lean import dataclass
from notebook_containers.oci.documents import JSON, MAX_DOCUMENT_BYTES, untrusted_json
from notebook_containers.oci.image import INDEX, Descriptor, Digest, Index
from notebook_containers.registry.client import Client, pull_scope
from notebook_containers.registry.reading import whole

_MAX_PAGES = 1000
_MOST_REFERRERS = 1000
_HUB_SEARCH = "https://index.docker.io/v1/search"
_MOST_RESULTS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One repository that a search found; ``stars`` and the rest are 0, empty or False where the registry does not say."""

    name: str
    description: str = ""
    stars: int = 0
    official: bool = False


def tags(client: Client, repository: str) -> list[str]:
    """Return all tags of the repository, in the registry's order."""
    return list(_pages(client, f"/v2/{repository}/tags/list", "tags", f"tags of {repository}", scope=pull_scope(repository)))


def repositories(client: Client) -> Iterator[str]:
    """Yield the names of the registry's repositories (``_catalog``); RegistryError where it does not tell them."""
    return _pages(client, "/v2/_catalog", "repositories", "list of repositories", scope="registry:catalog:*")


def referrers(client: Client, repository: str, digest: Digest, *, artifact_type: str = "") -> list[Descriptor]:
    """Return the manifests that name this one as their subject (signatures, attestations); an older registry's tag for them is read too.

    Nothing they lead to is followed.
    """
    query = f"?{urlencode({'artifactType': artifact_type})}" if artifact_type else ""
    url, what = f"/v2/{repository}/referrers/{digest}{query}", f"the referrers of {digest.short}"
    with closing(client.call("GET", url, pull_scope(repository), headers={"Accept": INDEX})) as response:
        if response.status == 404:
            return _tagged_referrers(client, repository, digest, artifact_type)
        client.expect(response, (200,), what)
        data = whole(response, MAX_DOCUMENT_BYTES, what, client.registry)
    return _fitting(Index.from_json(untrusted_json(data, what=what)), artifact_type)


def _tagged_referrers(client: Client, repository: str, digest: Digest, artifact_type: str) -> list[Descriptor]:
    """Read the fallback of distribution-spec 1.1: an index under the tag ``sha256-<hex>``."""
    tag = f"{digest.algorithm}-{digest.hex}"[:128]
    if not client.manifest_digest(repository, tag):
        return []
    fetched = client.manifest(repository, tag)
    return _fitting(Index.from_json(untrusted_json(fetched.data, what="the referrers")), artifact_type)


def _fitting(index: Index, artifact_type: str) -> list[Descriptor]:
    return [each for each in index.manifests[:_MOST_REFERRERS] if not artifact_type or each.artifact_type == artifact_type]


def search(client: Client, term: str, *, limit: int = 25) -> list[Found]:
    """Return the repositories whose name has the term: Docker Hub's own search, else the registry's list of repositories.

    RegistryError says so where a registry can do neither.
    """
    if not term or not 1 <= limit <= _MOST_RESULTS:
        raise InvalidArgument(f"a search needs a word, and a limit from 1 to {_MOST_RESULTS}")
    if client.registry == "docker.io":
        return _hub_search(client, term, limit)
    if not client.transport.said.search:
        raise RegistryError(f"registry {client.registry} is not to be searched", hint="registries.toml says so (search = false)")
    found = []
    for name in repositories(client):
        if term.lower() in name.lower():
            found.append(Found(name=f"{client.registry}/{name}"))
        if len(found) == limit:
            break
    return found


def _hub_search(client: Client, term: str, limit: int) -> list[Found]:
    with closing(client.transport.request("GET", f"{_HUB_SEARCH}?{urlencode({'q': term, 'n': limit})}")) as response:
        client.expect(response, (200,), "the search")
        document = untrusted_json(whole(response, MAX_DOCUMENT_BYTES, "the search", client.registry), what="the search")
    return [_result(each) for each in _list(document, "results", client)[:limit] if isinstance(each, dict)]


def _result(item: dict[str, JSON]) -> Found:
    stars = item.get("star_count")
    return Found(
        name=str(item.get("name", ""))[:255],
        description=" ".join(str(item.get("description") or "").split())[:1000],
        stars=stars if isinstance(stars, int) else 0,
        official=item.get("is_official") is True,
    )


def _pages(client: Client, url: str, key: str, what: str, *, scope: str) -> Iterator[str]:
    for _ in range(_MAX_PAGES):
        with closing(client.call("GET", url, scope)) as response:
            if response.status in (404, 405) and key == "repositories":
                raise RegistryError(f"registry {client.registry} cannot be searched", hint="name the image in full")
            if response.status == 404:
                raise RegistryError(f"registry {client.registry} has no repository {what.rpartition(' ')[2]}", hint="check the name")
            client.expect(response, (200,), f"the {what}")
            document = untrusted_json(whole(response, MAX_DOCUMENT_BYTES, f"the {what}", client.registry), what=f"the {what}")
            link = response.headers.get("Link", "")
        yield from (name for name in _list(document, key, client) if isinstance(name, str))
        if 'rel="next"' not in link:
            return
        url = client.transport.next_url(client.transport.base + url, link.partition("<")[2].partition(">")[0])
    raise RegistryError(f"registry {client.registry} has no end of {key}")


def _list(document: dict[str, JSON], key: str, client: Client) -> list[JSON]:
    found = document.get(key) or []
    if not isinstance(found, list):
        raise RegistryError(f"registry {client.registry} sent {json.dumps(key)} that are no list")
    return found
