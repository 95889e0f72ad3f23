"""Templates of ``--format``: Go's text/template and Docker's functions, as far as people use them."""

from __future__ import annotations

import pytest

from notebook_containers.commands import filling, formatting
from notebook_containers.errors import InvalidArgument

DOCUMENT: dict[str, object] = {
    "Name": "/web",
    "State": {"Running": True, "ExitCode": 0, "Error": ""},
    "Mounts": [{"Type": "bind", "Destination": "/a"}, {"Type": "volume", "Destination": "/b"}],
    "Config": {"Labels": {"a.b": "c", "x": "y"}, "Env": ["A=1", "B=2"], "Cmd": None},
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{.Name}} is {{.State.Running}}", "/web is true"),
        ("{{ .State.ExitCode }}", "0"),
        ("{{json .State}}", '{"Running":true,"ExitCode":0,"Error":""}'),
        ("{{.Config.Cmd}}", "<no value>"),
        ("{{.Config.Labels}} {{.Config.Env}}", "map[a.b:c x:y] [A=1 B=2]"),
        ('{{index .Config.Labels "a.b"}}{{index .Config.Env 1}}{{index .Config.Labels "none"}}', "cB=2"),
        ("{{range .Mounts}}{{.Type}}={{.Destination}} {{end}}", "bind=/a volume=/b "),
        ("{{range $i, $m := .Mounts}}{{$i}}:{{$m.Type}}:{{$.Name}} {{end}}", "0:bind:/web 1:volume:/web "),
        ("{{range $k, $v := .Config.Labels}}{{$k}}={{$v}};{{end}}", "a.b=c;x=y;"),
        ("{{range .Config.Cmd}}x{{else}}none{{end}}", "none"),
        ("{{if .State.Running}}up{{else}}down{{end}}", "up"),
        ("{{if .State.Error}}bad{{else if eq .State.ExitCode 0}}good{{else}}odd{{end}}", "good"),
        ("{{with .State}}{{.ExitCode}}{{end}}", "0"),
        ("{{if and .State.Running (not .State.Error)}}yes{{end}}", "yes"),
        ("{{if or .State.Error .Config.Cmd}}yes{{else}}no{{end}}", "no"),
        ("{{len .Mounts}} {{len .Name}}", "2 4"),
        ('{{join .Config.Env ","}}', "A=1,B=2"),
        ('{{.Config.Env | join ","}}', None),
        ("{{.Name | upper}} {{upper .Name | lower}} {{title `two words`}}", "/WEB /web Two Words"),
        ('{{index (split .Name "/") 1}}', "web"),
        ('{{printf "%s|%5d|%-4v|%q|%t|%%" .Name 7 true "x" true}}', '/web|    7|true|"x"|true|%'),
        ("{{slice .Name 1}}", "web"),
        ('{{println "a" 1}}', "a 1\n"),
        ("{{$n := .Name}}{{$n}}{{$n}}", "/web/web"),
        ("a  {{- .State.ExitCode -}}  b", "a0b"),
        ("a{{/* nothing */}}b", "ab"),
        ("{{pad .Name 1 2}}|{{truncate .Name 2}}", " /web  |/w"),
        ("{{(index .Mounts 0).Type}}", "bind"),
        ("{{eq .Name `x` `/web`}} {{ne 1 2}} {{lt 1 2}} {{gt 1 2}}", "true true true false"),
        ('{{"\\u00e4\\n"}}', "ä\n"),
        ("no action } {", "no action } {"),
    ],
)
def test_what_go_makes_of_it(template: str, text: str | None) -> None:
    if text is None:
        with pytest.raises(InvalidArgument, match="do not fit"):
            filling.fill(template, DOCUMENT)
    else:
        assert filling.fill(template, DOCUMENT) == text


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{{.Nope}}", "no field 'Nope'"),
        ("{{.State.Nope}}", "no field 'Nope'"),
        ("{{nope .Name}}", "'nope' is no function"),
        ("{{.Name", "braces are not closed"),
        ("{{if .Name}}x", "no {{end}}"),
        ("{{end}}", "closes nothing"),
        ("{{}}", "nothing in it"),
        ("{{.Name | }}", "nothing in it"),
        ("{{.Name .Name}}", "no function"),
        ("{{$x}}", "there is no $x"),
        ("{{range .Name}}{{end}}", "no list"),
        ("{{(len .Name}}", "not closed"),
        ("{{index .Mounts 9}}", "do not fit"),
        ("{{len 5}}", "do not fit"),
        ("{{#}}", "not understood"),
        ("{{if .Name}}" * 60 + "{{end}}" * 60, "too many blocks"),
    ],
)
def test_what_is_wrong_is_shown_in_one_line_with_the_next_step(template: str, says: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        filling.fill(template, DOCUMENT)
    assert says in caught.value.one_line()
    assert caught.value.hint
    assert "\n" not in caught.value.one_line()


def test_a_template_that_would_never_end_is_stopped() -> None:
    many = list(range(1000))
    with pytest.raises(InvalidArgument, match="too long"):
        filling.fill("{{range .}}{{range $}}x{{end}}{{end}}", many)


def volume_row(name: str, mountpoint: str, size: int) -> dict[str, object]:
    common: dict[str, object] = {"driver": "local", "created": 0.0, "containers": ["web"], "labels": {"b": "2", "a": "1"}}
    return {**common, "name": name, "mountpoint": mountpoint, "size": size}


ROWS = [volume_row("one", "/m/one", 4096), volume_row("a-much-longer-name", "/m", 0)]


def test_tables_have_dockers_columns() -> None:
    assert formatting.formatted("volumes", ROWS, "table") == (
        "DRIVER    VOLUME NAME          SIZE\nlocal     one                  4.1kB\nlocal     a-much-longer-name   0B"
    )
    assert formatting.formatted("volumes", ROWS, "table {{.Name}}\\t{{upper .Driver}}") == (
        "VOLUME NAME          DRIVER\none                  LOCAL\na-much-longer-name   LOCAL"
    )
    assert formatting.formatted("volumes", ROWS, "{{.Name}}:{{.Driver}}") == "one:local\na-much-longer-name:local"
    assert formatting.formatted("volumes", ROWS[:1], "json") == (
        '{"CreatedAt":"1970-01-01 00:00:00 +0000 UTC","Driver":"local","Labels":"a=1,b=2","Links":"1",'
        '"Mountpoint":"/m/one","Name":"one","Scope":"local","Size":"4.1kB"}'
    )


def test_ports_of_ipv6_stand_in_brackets() -> None:
    ports = [
        {"host_ip": "::1", "host_port": 8080, "container_port": 80, "protocol": "tcp"},
        {"host_ip": "127.0.0.1", "host_port": 53, "container_port": 53, "protocol": "udp"},
        {"container_port": 81, "protocol": "tcp"},
    ]
    assert formatting.ports_text({"ports": ports}) == "[::1]:8080->80/tcp, 127.0.0.1:53->53/udp, 81/tcp"
