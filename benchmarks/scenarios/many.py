"""A large configuration, as text: keys, routes and the paths that reach them."""

import harness as h


def path(i):
    """Where route `i` lives: 100 services of some depth, a few kinds of match."""
    return f"/service-{i % 100}/v{i % 3 + 1}/resource-{i}"


def route(i, upstream="bench", suffix=""):
    tail = ("", "/*", "/{id}")[i % 3]
    return f'{{ id: "r{i}", match: {{ path: "{path(i)}{tail}" }}, upstream: "{upstream}"{suffix} }}'


def url(i):
    """A request path that route `i` answers."""
    return path(i) + ("", "/below/it", "/4711")[i % 3]


def configuration(port, upstream_port, routes, keys=0, comment=""):
    listed = ",\n    ".join(route(i) for i in range(routes)) if routes else '{ id: "all", match: { path: "/*" }, upstream: "bench" }'
    return f"""// {comment}
{{
  node: {{ threads: 1 }},
  listeners: [{{ address: "127.0.0.1:{port}" }}],
  accessLog: "off",
  upstreams: {{ bench: {{ endpoints: ["127.0.0.1:{upstream_port}"] }} }},
  consumers: [{h.consumers(keys) if keys else ""}],
  routes: [
    {listed}
  ],
}}
"""


def server(name, upstream_port, routes, keys=0, cores=h.SERVER_CORES):
    port = h.free_port()
    file = h.WORK / f"{name}.json"
    file.write_text(configuration(port, upstream_port, routes, keys))
    made = h.Server(name, [str(h.SLUICE), "run", "-c", str(file)], port, cores)
    made.file = file
    return made


def lua(count, name):
    """A wrk script that asks for the paths of all routes in turn."""
    script = h.WORK / name
    script.write_text(
        "local requests, i = {}, 0\nlocal paths = {\n" + "".join(f'"{url(i)}",\n' for i in range(count)) + "}\n"
        'init = function() for n, p in ipairs(paths) do requests[n] = wrk.format("GET", p) end end\n'
        "request = function() i = i % #requests + 1; return requests[i] end\n"
    )
    return script
