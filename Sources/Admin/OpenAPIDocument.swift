import Core
import Gateway
import HTTP

/// Describes the admin API (OpenAPI 3.1) from the table that serves it, so that the two cannot disagree.
struct OpenAPIDocument {
  let routes: [AdminRoute]
  let version: String
  /// Whether requests must carry a token.
  let hasTokens: Bool

  /// The routes, and the one that serves the description of them all.
  static func withItself(_ routes: [AdminRoute], version: String, hasTokens: Bool) -> [AdminRoute] {
    let outcome = AdminRoute.Outcome(200, "This document.", "application/json", schema: "Any")
    let operation = "getOpenAPI"
    let summary = "What this port offers, as OpenAPI 3.1."
    func described(_ handle: @escaping @Sendable (AdminRequest) -> AdminResponse) -> AdminRoute {
      AdminRoute(
        .get, "/openapi.json", role: .viewer, operation: operation, summary: summary, outcomes: [outcome],
        handle: handle)
    }
    let all = routes + [described { _ in .text("") }]
    let response = AdminResponse.json {
      OpenAPIDocument(routes: all, version: version, hasTokens: hasTokens).write(&$0)
    }
    return routes + [described { _ in response }]
  }

  private func write(_ json: inout JSONWriter) {
    json.beginObject()
    json.key("openapi")
    json.string("3.1.0")
    json.key("info")
    json.beginObject()
    json.key("title")
    json.string("Sluice admin API")
    json.key("version")
    json.string(version)
    json.endObject()
    json.key("paths")
    json.beginObject()
    var paths: [String] = []
    for route in routes where !paths.contains(route.path) { paths.append(route.path) }
    for path in paths {
      json.key(path)
      json.beginObject()
      for route in routes where route.path == path { write(route, &json) }
      json.endObject()
    }
    json.endObject()
    json.key("components")
    json.raw(Self.components)
    json.endObject()
  }

  private func write(_ route: AdminRoute, _ json: inout JSONWriter) {
    json.key("\(route.method)")
    json.beginObject()
    json.key("operationId")
    json.string(route.operation)
    json.key("summary")
    json.string(route.summary)
    if !route.parameters.isEmpty { writeParameters(of: route, &json) }
    if let body = route.body { write(body, &json) }
    json.key("security")
    json.beginArray()
    if hasTokens, route.role != nil { json.raw(#"{"token":[]}"#) }
    json.endArray()
    if let role = route.role {
      json.key("x-sluice-role")
      json.string(role.rawValue)
      json.key("x-sluice-tenants")
      json.bool(route.isForTenants)
    }
    json.key("responses")
    json.beginObject()
    for outcome in route.outcomes + Self.refusals(of: route, hasTokens: hasTokens) { write(outcome, &json) }
    json.endObject()
    json.endObject()
  }

  private func writeParameters(of route: AdminRoute, _ json: inout JSONWriter) {
    json.key("parameters")
    json.beginArray()
    for parameter in route.parameters {
      json.beginObject()
      json.key("name")
      json.string(parameter.name)
      json.key("in")
      json.literal(parameter.isInPath ? "path" : "query")
      json.key("required")
      json.bool(parameter.isInPath)
      json.key("description")
      json.string(parameter.meaning)
      json.key("schema")
      json.raw(parameter.kind.schema)
      json.endObject()
    }
    json.endArray()
  }

  private func write(_ body: AdminRoute.Body, _ json: inout JSONWriter) {
    json.key("requestBody")
    json.beginObject()
    json.key("description")
    json.string(body.meaning)
    json.key("required")
    json.bool(body.isRequired)
    json.key("content")
    json.beginObject()
    for type in body.contentTypes {
      json.key(type)
      json.raw("{\"schema\":{\"$ref\":\"#/components/schemas/\(body.schema)\"}}")
    }
    json.endObject()
    json.endObject()
  }

  private func write(_ outcome: AdminRoute.Outcome, _ json: inout JSONWriter) {
    json.key(String(outcome.status))
    json.beginObject()
    json.key("description")
    json.string(outcome.meaning)
    json.key("content")
    json.beginObject()
    json.key(outcome.contentType)
    json.beginObject()
    json.key("schema")
    if let schema = outcome.schema {
      json.raw("{\"$ref\":\"#/components/schemas/\(schema)\"}")
    } else {
      json.raw(#"{"type":"string"}"#)
    }
    json.endObject()
    json.endObject()
    json.endObject()
  }

  /// What every operation may answer.
  private static func refusals(of route: AdminRoute, hasTokens: Bool) -> [AdminRoute.Outcome] {
    let problem = "application/problem+json"
    var list = [AdminRoute.Outcome(400, "The request or a parameter is malformed.", problem, schema: "Problem")]
    if hasTokens, route.role != nil {
      list.append(.init(401, "The token is missing or unknown.", problem, schema: "Problem"))
      list.append(.init(403, "The token's role does not suffice.", problem, schema: "Problem"))
    }
    if case .later = route.handler {
      list.append(.init(504, "The loops did not answer in time.", problem, schema: "Problem"))
    }
    if route.body != nil {
      list.append(.init(415, "The body is of another media type.", problem, schema: "Problem"))
      list.append(
        .init(422, "The body is not what the operation reads, or contradicts itself.", problem, schema: "Problem"))
    }
    list.append(.init(408, "The request did not arrive in time.", problem, schema: "Problem"))
    list.append(.init(413, "The body is too large.", problem, schema: "Problem"))
    list.append(.init(414, "The request line is too long.", problem, schema: "Problem"))
    list.append(.init(421, "Host or Origin is not of this machine.", problem, schema: "Problem"))
    list.append(.init(431, "The head is too large.", problem, schema: "Problem"))
    return list
  }

  /// How limits stand; see the README for what the members mean.
  private static let limits = #"""
    "Moment":{"type":["object","null"],"properties":{"seconds":{"type":"integer","minimum":0},
    "at":{"type":"string","format":"date-time"}}},
    "Limit":{"type":"object","required":["name","policy","per","kind","limit","cost","mode"],
    "properties":{"name":{"type":"string"},"policy":{"type":"string"},"per":{"type":"string"},"key":{"type":"string"},
    "kind":{"enum":["rate","window","sliding","calendar","concurrency"]},"limit":{"type":"integer","minimum":1},
    "seconds":{"type":["integer","null"]},"cost":{"type":"integer","minimum":1},
    "mode":{"enum":["auto","exact","leased"]},"onStoreFailure":{"enum":["local","open","closed"]},"routes":{"type":"array","items":{"type":"string"}},
    "source":{"enum":["embedded","exact","leased","denycache","local","open","closed",null]},
    "used":{"type":["integer","null"]},"remaining":{"type":["integer","null"]},"exhausted":{"type":["boolean","null"]},
    "reset":{"$ref":"#/components/schemas/Moment"},"forecast":{"$ref":"#/components/schemas/Moment"},
    "binding":{"type":"boolean"}}},
    "Usage":{"type":"object","required":["node","time","limits","complete"],
    "properties":{"consumer":{"type":"string"},"tenant":{"type":"string"},"key":{"type":"string"},
    "node":{"type":"string"},"time":{"type":"string","format":"date-time"},"complete":{"type":"boolean"},
    "limits":{"type":"array","items":{"$ref":"#/components/schemas/Limit"}},
    "plans":{"type":"array","items":{"$ref":"#/components/schemas/Plan"}}}},
    "Plan":{"type":"object","required":["name","policy","price","charge"],
    "properties":{"name":{"type":"string"},"policy":{"type":"string"},
    "price":{"type":["object","null"],"required":["currency","base","included","request"],
    "properties":{"currency":{"type":"string","pattern":"^[A-Z]{3}$"},"base":{"type":"string"},
    "included":{"type":"integer","minimum":0},"request":{"type":["string","null"]}}},
    "charge":{"type":["object","null"],"required":["amount","currency","requests","since"],
    "properties":{"amount":{"type":"string"},"currency":{"type":"string"},"requests":{"type":"integer","minimum":0},
    "since":{"type":"string","format":"date-time"}}}}},
    "Explanation":{"type":"object","required":["node","time","outcome","code","explanation","levels"],
    "properties":{"decision":{"type":"string","pattern":"^[0-9a-f]{32}$"},"client":{"type":"string"},
    "status":{"type":"integer"},"retryAfter":{"type":["integer","null"]},
    "consumer":{"type":"string"},"tenant":{"type":"string"},"key":{"type":"string"},
    "node":{"type":"string"},"time":{"type":"string","format":"date-time"},"route":{"type":["string","null"]},
    "outcome":{"enum":["admitted","refused","unknown"]},"code":{"type":["string","null"]},
    "explanation":{"type":"string"},"source":{"type":["string","null"]},"plan":{"type":"string"},
    "levels":{"type":"array","items":{"$ref":"#/components/schemas/Limit"}},
    "unknown":{"type":"array","items":{"$ref":"#/components/schemas/Limit"}},
    "rules":{"type":"array","items":{"type":"object","required":["name","allows","holds","reason","terms"],
    "properties":{"name":{"type":"string"},"allows":{"type":"boolean"},"holds":{"type":"boolean"},
    "reason":{"type":"string"},"terms":{"type":"array","items":{"type":"object",
    "required":["text","found","holds","decisive"],"properties":{"text":{"type":"string"},
    "found":{"type":["string","null"]},"holds":{"type":"boolean"},"decisive":{"type":"boolean"}}}}}}}}}
    """#

  /// The cluster and its members.
  private static let members = #"""
    "Member":{"type":"object","additionalProperties":false,
    "required":["id","name","role","alive","listed","ageMilliseconds","since","version","libraries","listeners","admin",
    "ready","draining","revision","digest","kept","facts","load","storeMicroseconds"],
    "properties":{"id":{"type":"string","pattern":"^[0-9a-f]{16}$"},"name":{"type":"string"},
    "role":{"enum":["leader","member","router"]},"alive":{"type":"boolean"},"listed":{"type":"boolean"},
    "ageMilliseconds":{"type":"integer","minimum":0},"since":{"type":"string","format":"date-time"},
    "version":{"type":"string"},"libraries":{"type":"array","items":{"type":"string"}},
    "listeners":{"type":"array","items":{"type":"string"}},"admin":{"type":["string","null"]},
    "ready":{"type":"boolean"},"draining":{"type":"boolean"},"revision":{"type":"integer","minimum":0},
    "digest":{"type":"string"},"kept":{"type":"boolean"},"facts":{"type":"object","required":["epoch","sequence"],
    "properties":{"epoch":{"type":"integer"},"sequence":{"type":"integer"}}},
    "load":{"type":"object","required":["requestsPerSecond","connections"],
    "properties":{"requestsPerSecond":{"type":"number"},"connections":{"type":"integer"}}},
    "storeMicroseconds":{"type":"integer","minimum":0}}},
    "Nodes":{"type":"object","additionalProperties":false,
    "required":["node","time","leader","generation","storeUp","ageMilliseconds","nodes","routers"],
    "properties":{"node":{"type":"string"},"time":{"type":"string","format":"date-time"},
    "leader":{"type":["object","null"],"required":["id","name","epoch","since"],
    "properties":{"id":{"type":"string"},"name":{"type":"string"},"epoch":{"type":"integer","minimum":0},
    "since":{"type":["string","null"],"format":"date-time"}}},
    "generation":{"type":"integer","minimum":0},"storeUp":{"type":"boolean"},
    "ageMilliseconds":{"type":"integer","minimum":0},
    "nodes":{"type":"array","items":{"$ref":"#/components/schemas/Member"}},
    "routers":{"type":"array","items":{"$ref":"#/components/schemas/Member"}}}}
    """#

  /// Keys and revocations.
  private static let facts = #"""
    "Receipt":{"type":"object","additionalProperties":false,"required":["nodes","of","milliseconds","missing"],
    "properties":{"nodes":{"type":"integer","minimum":0},"of":{"type":"integer","minimum":0},
    "milliseconds":{"type":"integer","minimum":0},"missing":{"type":"array","items":{"type":"string"}}}},
    "Name":{"type":"string","pattern":"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"},
    "Instant":{"type":["string","null"],"format":"date-time"},
    "Key":{"type":"object","required":["id","consumer","own","tenant","groups","state","created","notBefore","expires"],
    "properties":{"id":{"type":"string","pattern":"^[0-9A-Za-z]{10}$"},"consumer":{"type":"string"},
    "own":{"type":"boolean"},"tenant":{"type":["string","null"]},"groups":{"type":"array","items":{"type":"string"}},
    "plan":{"type":"string"},
    "state":{"enum":["active","disabled","deleted"]},"created":{"type":"string","format":"date-time"},
    "notBefore":{"$ref":"#/components/schemas/Instant"},"expires":{"$ref":"#/components/schemas/Instant"}}},
    "ChangedKey":{"allOf":[{"$ref":"#/components/schemas/Key"},
    {"type":"object","properties":{"receipt":{"$ref":"#/components/schemas/Receipt"}}}]},
    "CreatedKey":{"allOf":[{"$ref":"#/components/schemas/Key"},{"type":"object","required":["key"],
    "properties":{"key":{"type":"string","pattern":"^slk_[0-9A-Za-z]{10}_[0-9A-Za-z]{33}$"},
    "receipt":{"$ref":"#/components/schemas/Receipt"}}}]},
    "KeyPage":{"type":"object","additionalProperties":false,"required":["keys","next"],
    "properties":{"keys":{"type":"array","maxItems":500,"items":{"$ref":"#/components/schemas/Key"}},
    "next":{"type":["string","null"]}}},
    "NewKey":{"type":"object","additionalProperties":false,"required":["consumer"],"properties":{
    "consumer":{"oneOf":[{"$ref":"#/components/schemas/Name"},{"type":"object","additionalProperties":false,
    "required":["id"],"properties":{"id":{"$ref":"#/components/schemas/Name"},
    "tenant":{"oneOf":[{"$ref":"#/components/schemas/Name"},{"type":"null"}]},
    "plan":{"oneOf":[{"$ref":"#/components/schemas/Name"},{"type":"null"}]},
    "groups":{"type":"array","maxItems":16,"items":{"$ref":"#/components/schemas/Name"}}}}]},
    "notBefore":{"$ref":"#/components/schemas/Instant"},"expires":{"$ref":"#/components/schemas/Instant"}}},
    "KeyChange":{"type":"object","additionalProperties":false,"minProperties":1,"properties":{
    "state":{"enum":["active","disabled"]},"expires":{"$ref":"#/components/schemas/Instant"}}},
    "KeyRotation":{"type":"object","additionalProperties":false,"properties":{
    "overlap":{"type":"string","pattern":"^([0-9]{1,8}(ms|s)|[0-9]{1,4}(m|h)|[0-9]{1,3}d)$"},
    "expires":{"$ref":"#/components/schemas/Instant"}}},
    "NewRevocation":{"type":"object","additionalProperties":false,"required":["kind","id"],"properties":{
    "kind":{"enum":["jti","key","session","subject","client","tenant","signing-key"]},
    "id":{"type":"string","minLength":1,"maxLength":255},"reason":{"type":"string","maxLength":255},
    "expires":{"$ref":"#/components/schemas/Instant"},"issuedBefore":{"$ref":"#/components/schemas/Instant"}}},
    "Revocation":{"type":"object","required":["kind","id","mark","issuedBefore","expires","reason","by","revoked"],
    "properties":{"kind":{"type":["string","null"]},"id":{"type":["string","null"]},"mark":{"type":"string"},
    "issuedBefore":{"$ref":"#/components/schemas/Instant"},"expires":{"$ref":"#/components/schemas/Instant"},
    "reason":{"type":"string"},"by":{"type":"string"},"revoked":{"$ref":"#/components/schemas/Instant"}}},
    "CreatedRevocation":{"allOf":[{"$ref":"#/components/schemas/Revocation"},
    {"type":"object","properties":{"receipt":{"$ref":"#/components/schemas/Receipt"}}}]},
    "RevocationPage":{"type":"object","additionalProperties":false,"required":["revocations","next"],
    "properties":{"revocations":{"type":"array","items":{"$ref":"#/components/schemas/Revocation"}},
    "next":{"type":["string","null"]}}}
    """#

  private static let components = #"""
    {"securitySchemes":{"token":{"type":"http","scheme":"bearer"}},"schemas":{
    "Any":{"type":"object"},
    "Audit":{"type":"object","additionalProperties":false,"required":["last","publicKeys","lines"],
    "properties":{"last":{"type":"integer","minimum":0},"publicKeys":{"type":"array","items":{"type":"string"}},
    "lines":{"type":"array","maxItems":200,"items":{"type":"string"}}}},
    "Problem":{"type":"object","description":"RFC 9457","required":["type","title","status","detail","instance"],
    "properties":{"type":{"type":"string","pattern":"^urn:sluice:problem:[a-z0-9-]+$"},"title":{"type":"string"},
    "status":{"type":"integer","minimum":400,"maximum":599},"detail":{"type":"string"},
    "instance":{"type":"string","pattern":"^urn:sluice:decision:[0-9a-f]{32}$"}}},
    "Status":{"type":"object","additionalProperties":false,
    "required":["version","revision","ready","draining","uptimeSeconds","upstreams","certificates","issuers","shadow"],
    "properties":{"version":{"type":"string"},"revision":{"type":"integer","minimum":0},"ready":{"type":"boolean"},
    "draining":{"type":"boolean"},"uptimeSeconds":{"type":"integer","minimum":0},
    "upstreams":{"type":"array","items":{"$ref":"#/components/schemas/Endpoint"}},
    "certificates":{"type":"array","items":{"type":"object","additionalProperties":false,
    "required":["certificate","expires","staple"],
    "properties":{"certificate":{"type":"string"},"expires":{"type":"string","format":"date-time"},
    "staple":{"type":["object","null"],"additionalProperties":false,"required":["present","expires","fault"],
    "properties":{"present":{"type":"boolean"},"expires":{"type":["string","null"],"format":"date-time"},
    "fault":{"type":["string","null"]}}}}}},
    "issuers":{"type":"array","items":{"type":"object","additionalProperties":false,
    "required":["issuer","keys","fetched","fault"],
    "properties":{"issuer":{"type":"string"},"keys":{"type":"integer","minimum":0},
    "fetched":{"type":["string","null"],"format":"date-time"},"fault":{"type":["string","null"]}}}},
    "shadow":{"type":"array","items":{"type":"object","additionalProperties":false,"required":["policy","passed","refused"],
    "properties":{"policy":{"type":"string"},"passed":{"type":"integer","minimum":0},
    "refused":{"type":"integer","minimum":0}}}}}},
    "Endpoint":{"type":"object","additionalProperties":false,
    "required":["upstream","endpoint","healthy","ejected","activeRequests","requests","failures"],
    "properties":{"upstream":{"type":"string"},"endpoint":{"type":"string"},"healthy":{"type":"boolean"},
    "ejected":{"type":"boolean"},"activeRequests":{"type":"integer","minimum":0},
    "requests":{"type":"integer","minimum":0},"failures":{"type":"integer","minimum":0}}},
    \#(limits),\#(members),\#(facts),\#(revisions),\#(clients),\#(tenants)}}
    """#
}
