import Cluster
import Core
import Pipeline
import Testing

@testable import Gateway

/// What is in force: three parties' objects, of which two have secrets.
private let inForce = """
  {
    // everybody's
    tenants: [
      { id: "acme", hosts: ["acme.example"], endpoints: ["10.1.0.0/16"], groups: ["trial"],
        shared: { upstreams: ["open", "theirs"], policies: ["keys"] } },
      { id: "globex", paths: ["/globex"], endpoints: ["10.2.0.0/16"] }, "bare",
    ],
    upstreams: { open: { endpoints: ["192.0.2.1:80"] }, theirs: { tenant: "globex", endpoints: ["10.2.0.1:80"] } },
    consumers: [
      { id: "shop", tenant: "acme", groups: ["gold"], keys: [{ id: "k", sha256: "\(digest("1"))" }] },
      { id: "lab", tenant: "globex", keys: [{ id: "k", sha256: "\(digest("2"))" }] },
    ],
    policies: {
      keys: { type: "api-key" },
      said: { type: "respond", body: { env: "SHARED_SECRET" } },
      globex: { type: "respond", tenant: "globex", body: { env: "TENANT_GLOBEX_WORD" } },
    },
    routes: [
      { id: "everybody", match: { path: "/said" }, policies: ["said"] },
      { id: "globex", tenant: "globex", match: { path: "/globex/*" }, policies: ["globex"] },
      { id: "acme", tenant: "acme", match: { host: "acme.example" },
        policies: [{ type: "respond", body: { env: "TENANT_ACME_WORD" } }] },
    ],
  }
  """

private func digest(_ letter: Character) -> String { String(repeating: letter, count: 64) }

private let values: [SecretSource: String] = [
  .environment("SHARED_SECRET"): "everybody's word", .environment("TENANT_GLOBEX_WORD"): "globex's word",
  .environment("TENANT_ACME_WORD"): "acme's word",
]

private func make(
  _ document: String, of tenant: String = "acme", tag: String? = nil, values given: [SecretSource: String] = [:],
  on text: String = inForce, withValues present: [SecretSource: String] = values
) throws(TenantFault) -> TenantChange.Made {
  guard let base = RevisionBody(text: Array(text.utf8), values: present) else { preconditionFailure("too large") }
  let change = TenantChange(
    tenant: tenant, document: ConfigurationService.Text(Array(document.utf8), values: given), tag: tag, own: .usual,
    takenNames: { ["taken"] })
  return try change.made(from: base)
}

/// Why something is refused.
private func refusal(
  _ document: String, of tenant: String = "acme", values given: [SecretSource: String] = [:],
  on text: String = inForce, withValues present: [SecretSource: String] = values
) -> String {
  do throws(TenantFault) {
    _ = try make(document, of: tenant, values: given, on: text, withValues: present)
    return "none"
  } catch {
    switch error {
    case .refused(let reason): return reason
    case .invalid(let diagnostics): return diagnostics.map { $0.text(file: "f") }.joined(separator: "\n")
    default: return "\(error)"
    }
  }
}

private func routes(_ more: String) -> String {
  "{ routes: [{ id: \"acme\", match: { host: \"acme.example\" }, \(more) }] }"
}

@Suite("Tenant change")
struct TenantChangeTests {
  @Test(
    "names that others have are refused, and nothing is said of whose they are",
    arguments: [
      "{ consumers: [{ id: \"lab\" }] }", "{ upstreams: { theirs: { endpoints: [\"10.1.0.1:80\"] } } }",
      "{ upstreams: { open: { endpoints: [\"10.1.0.1:80\"] } } }", "{ policies: { keys: { type: \"respond\" } } }",
      "{ policies: { globex: { type: \"respond\" } } }",
      "{ routes: [{ id: \"globex\", match: { host: \"acme.example\" }, redirect: \"/\" }] }",
      "{ routes: [{ id: \"everybody\", match: { host: \"acme.example\" }, redirect: \"/\" }] }",
      "{ consumers: [{ id: \"taken\" }] }",
    ])
  func taken(document: String) {
    let reason = refusal(document)
    #expect(reason.hasSuffix("is taken."), "\(reason)")
  }

  @Test("what only together with others goes wrong is refused without a word on them")
  func collisions() {
    let key = refusal("{ consumers: [{ id: \"new\", keys: [{ id: \"k\", sha256: \"\(digest("2"))\" }] }] }")
    #expect(key.hasPrefix("It does not go with what is there already"))
    let both = inForce.replacing("{ path: \"/said\" }", with: "{ host: \"acme.example\", path: \"/x\" }")
    let tie = refusal(
      "{ routes: [{ id: \"n\", match: { host: \"acme.example\", path: \"/x\" }, redirect: \"/\" }] }", on: both)
    #expect(tie.hasPrefix("It does not go with what is there already"))
    for text in [key, tie] {
      for word in ["lab", "globex", "everybody", "said"] { #expect(!text.contains(word)) }
    }
  }

  @Test(
    "what others refer to cannot be referred to, whatever value comes along",
    arguments: ["SHARED_SECRET", "TENANT_GLOBEX_WORD", "PATH", "ACME", "TENANT_ACM", "TENANT_ACME"])
  func references(name: String) {
    let document = routes("policies: [{ type: \"respond\", body: { env: \"\(name)\" } }]")
    for given in [[:], [SecretSource.environment(name): "mine"]] {
      #expect(throws: TenantFault.self) { try make(document, values: given) }
    }
    #expect(refusal(document).hasPrefix("What a tenant's objects refer to is { env: \"TENANT_ACME_…\" }"))
  }

  @Test("what an operator had one object of the tenant's refer to nothing else of it may, and that one only as it is")
  func lent() throws {
    let lent = "{ type: \"respond\", tenant: \"acme\", body: { env: \"GATEWAY_WORD\" } }"
    let text = inForce.replacing("keys: { type: \"api-key\" },", with: "keys: { type: \"api-key\" }, lent: \(lent),")
    var present = values
    present[.environment("GATEWAY_WORD")] = "the gateway's word"
    func change(_ lent: String, _ policies: String = "[\"lent\"]") -> String {
      let route = "{ id: \"acme\", match: { host: \"acme.example\" }, policies: \(policies) }"
      return refusal("{ policies: { lent: \(lent) }, routes: [\(route)] }", on: text, withValues: present)
    }
    let message = "What a tenant's objects refer to is { env:"
    #expect(change(lent.replacing("respond\",", with: "respond\", status: 201,")).hasPrefix(message))
    #expect(change(lent, "[\"lent\", { type: \"respond\", body: { env: \"GATEWAY_WORD\" } }]").hasPrefix(message))
    let route = "{ id: \"acme\", match: { host: \"acme.example\" }, policies: [\"lent\"] }"
    let kept = try make(
      "{ policies: { lent: \(lent) }, routes: [\(route)] }", on: text, withValues: present)
    #expect(kept.body.values[.environment("GATEWAY_WORD")] == "the gateway's word")
  }

  @Test(
    "files of the node, or of whoever applies the whole next, cannot be referred to",
    arguments: [
      routes("policies: [{ type: \"respond\", body: { file: \"/etc/passwd\" } }]"),
      "{ upstreams: { u: { endpoints: [\"10.1.0.1:80\"], tls: { authorities: \"tls/ca.pem\" } } } }",
      "{ upstreams: { u: { endpoints: [\"10.1.0.1:80\"], tls: { certificate: \"a.pem\", key: \"a.key\" } } } }",
    ])
  func files(document: String) {
    #expect(refusal(document).hasPrefix("What a tenant's objects refer to is { env:"))
  }

  @Test(
    "a name by reference is refused before anybody looks at what it stands for, a free name or a taken one",
    arguments: ["lab", "taken", "fresh"],
    [
      "{ consumers: [{ id: { env: \"TENANT_ACME_WORD\" } }] }", "{ consumers: [{ id: { file: \"name\" } }] }",
      "{ routes: [{ id: { env: \"TENANT_ACME_WORD\" }, match: { host: \"acme.example\" }, redirect: \"/\" }] }",
    ])
  func namesByReference(name: String, document: String) {
    let reason = refusal(document, values: [.environment("TENANT_ACME_WORD"): name, .file("name"): name])
    #expect(reason.hasSuffix(": an id that is no plain name."), "\(reason)")
  }

  @Test(
    "whatever else a reference stands for lies within the tenant's bounds, or is refused",
    arguments: [
      ("{ policies: { p: { type: WORD, tenant: \"acme\" } } }", "oidc-login", "may not be of type \"…\""),
      ("{ policies: { p: { type: WORD } } }", "external-auth", "may not be of type \"…\""),
      (routes("policies: [{ type: WORD }]"), "any-of", "may not be of type \"…\""),
      (routes("upstream: WORD"), "theirs", "no upstream"),
      ("{ upstreams: { u: { endpoints: [WORD] } } }", "10.2.0.1:80", "may not be here"),
      (
        "{ routes: [{ id: \"n\", match: { host: WORD }, redirect: \"/\" }] }", "globex.example",
        "is not among those of the tenant"
      ),
      ("{ consumers: [{ id: \"n\", groups: [WORD] }] }", "trial", "may not be in a group"),
      ("{ consumers: [{ id: \"n\", tenant: WORD }] }", "acme", "is marked as somebody else's"),
    ])
  func boundsByReference(document: String, word: String, message: String) {
    let text = document.replacing("WORD", with: "{ env: \"TENANT_ACME_WORD\" }")
    let reason = refusal(text, values: [.environment("TENANT_ACME_WORD"): word])
    #expect(reason.contains(message), "\(reason)")
  }

  @Test("a name that others have by reference is taken all the same, and nothing is said of them")
  func othersByReference() {
    for (name, section) in [("lab", "consumers"), ("everybody", "routes")] {
      let text = inForce.replacing("id: \"\(name)\"", with: "id: { env: \"SHARED_NAME\" }")
      var present = values
      present[.environment("SHARED_NAME")] = name
      let rest = section == "routes" ? ", match: { host: \"acme.example\" }, redirect: \"/\"" : ""
      let document = "{ \(section): [{ id: \"NAME\"\(rest) }] }"
      let reason = refusal(document.replacing("NAME", with: name), on: text, withValues: present)
      #expect(reason.hasPrefix("It does not go with what is there already"), "\(reason)")
      #expect(!reason.contains(name))
      #expect(refusal(document.replacing("NAME", with: "fresh"), on: text, withValues: present) == "none")
    }
  }

  @Test("what is not the tenant's to say of a consumer does not come in by a reference that was there before")
  func plansByReference() {
    let text = inForce.replacing("groups: [\"gold\"], keys", with: "plan: { env: \"TENANT_ACME_PLAN\" }, keys")
    var present = values
    present[.environment("TENANT_ACME_PLAN")] = "small"
    for given in [[:], [SecretSource.environment("TENANT_ACME_PLAN"): "large"]] {
      let reason = refusal(
        "{ consumers: [{ id: \"shop\", plan: { env: \"TENANT_ACME_PLAN\" } }] }", values: given, on: text,
        withValues: present)
      #expect(reason == "What \"plan\" says of the consumer \"shop\" is not the tenant's to say.")
    }
  }

  @Test("a tenant's own name for a secret that somebody else refers to as well is refused")
  func sharedReference() {
    let text = inForce.replacing("SHARED_SECRET", with: "TENANT_ACME_WORD")
    let document = routes("policies: [{ type: \"respond\", body: { env: \"TENANT_ACME_WORD\" } }]")
    #expect(refusal(document, on: text) == "TENANT_ACME_WORD cannot be referred to: choose another name.")
  }

  @Test("values that come along for what is not the tenant's change nothing")
  func foreignValues() throws {
    let document = routes("policies: [{ type: \"respond\", body: { env: \"TENANT_ACME_WORD\" } }]")
    let given: [SecretSource: String] = [
      .environment("SHARED_SECRET"): "forged", .environment("TENANT_GLOBEX_WORD"): "forged",
      .environment("TENANT_ACME_WORD"): "new word",
    ]
    let made = try make(document, values: given)
    #expect(made.body.values[.environment("SHARED_SECRET")] == "everybody's word")
    #expect(made.body.values[.environment("TENANT_GLOBEX_WORD")] == "globex's word")
    #expect(made.body.values[.environment("TENANT_ACME_WORD")] == "new word")
    #expect(made.changes.map(\.name) == ["acme", "shop"])
  }

  @Test("a reference keeps its value where none comes along, and needs one where it had none")
  func keptValues() throws {
    let kept = try make(routes("policies: [{ type: \"respond\", status: 201, body: { env: \"TENANT_ACME_WORD\" } }]"))
    #expect(kept.body.values[.environment("TENANT_ACME_WORD")] == "acme's word")
    let missing = refusal(routes("policies: [{ type: \"respond\", body: { env: \"TENANT_ACME_NEW\" } }]"))
    #expect(missing.contains("no value for TENANT_ACME_NEW came with the text"))
  }

  @Test(
    "mistakes are told with places in what was brought along, and with nothing of others",
    arguments: [
      ("{\n routes: [\n{ id: \"n\", match: { host: \"acme.example\" }, upstream: \"opne\" }] }", "f:3:", "\"open\""),
      ("{\n routes: [\n{ id: \"n\", match: { host: \"acme.example\" }, upstream: \"thers\" }] }", "f:3:", "thers"),
      ("{ routes: [{ id: \"n\", match: { host: \"b.example\" }, upstream: \"open\" }] }", "f:1:", "host"),
      ("{ routes: [{ id: \"n\", match: { host: \"acme.example\" }, upstream: \"theirs\" }] }", "f:1:", "no upstream"),
      ("{ policies: { p: { type: \"external-auth\", url: \"http://10.0.0.1/\" } } }", "f:1:", "may not be of type"),
      ("{ upstreams: { u: { endpoints: [\"127.0.0.1:80\"] } } }", "f:1:", "may not be here"),
      ("{ routes: [ }", "f:1:", "bracket"),
    ])
  func mistakes(document: String, place: String, message: String) {
    let text = refusal(document)
    #expect(text.hasPrefix(place) && text.contains(message), "\(text)")
    for word in ["globex", "lab", "said", "everybody", "\"theirs\"; did"] { #expect(!text.contains(word), "\(text)") }
  }

  @Test(
    "what would lend a tenant's consumers more than it was given is refused",
    arguments: [
      "{ consumers: [{ id: \"new\", groups: [\"gold\"] }] }", "{ consumers: [{ id: \"new\", plan: \"gold\" }] }",
      "{ consumers: [{ id: \"new\", groups: [{ env: \"X\" }] }] }",
      "{ consumers: [{ id: \"shop\", groups: [\"gold\", \"staff\"] }] }",
    ])
  func consumers(document: String) {
    let reason = refusal(document)
    #expect(reason.contains("may not be in a group") || reason.contains("is not the tenant's to say"), "\(reason)")
  }

  @Test("groups that a consumer has, and those of the tenant, are taken")
  func groups() throws {
    let made = try make(
      "{ consumers: [{ id: \"shop\", groups: [\"gold\", \"trial\"] }, { id: \"n\", groups: [\"trial\"] }] }")
    #expect(made.changes.map { "\($0.kind) \($0.name)" } == ["removed acme", "changed shop", "added n"])
  }

  @Test("a tenant without hosts and paths has no place for routes, an unknown one nothing at all")
  func placeless() {
    #expect(
      refusal("{ routes: [{ id: \"n\", match: {}, redirect: \"/\" }] }", of: "bare")
        == "The tenant has neither hosts nor paths, and so no place for routes.")
    #expect(refusal("{}", of: "initech") == "unknown")
    #expect(refusal("{}", of: "bare") == "none")
  }

  @Test("what was made for another state is refused, what was made for this one is not")
  func tags() throws {
    #expect(throws: TenantFault.self) { try make("{}", tag: String(repeating: "0", count: 32)) }
    let first = try make("{ consumers: [{ id: \"n\" }] }")
    let next = try make("{}", tag: first.tag, on: String(decoding: first.body.text, as: UTF8.self))
    #expect(next.changes.map(\.name) == ["n"])
  }

  @Test("what is not the tenant's stays as it is, and what a tenant has is replaced whole")
  func replaces() throws {
    let made = try make("{ upstreams: { mine: { endpoints: [\"10.1.0.1:80\"] } } }")
    let text = String(decoding: made.body.text, as: UTF8.self)
    #expect(text.contains("// everybody's") && text.contains("id: \"globex\", paths"))
    #expect(!text.contains("TENANT_ACME_WORD") && made.body.values[.environment("TENANT_ACME_WORD")] == nil)
    #expect(
      made.changes.map { "\($0.kind) \($0.object) \($0.name)" }
        == ["removed route acme", "added upstream mine", "removed consumer shop"])
  }

  @Test("more than a tenant may have is refused, also of what it refers to")
  func tooMuch() {
    let word = String(repeating: "x", count: TenantText.longestValues + 1)
    #expect(throws: TenantFault.self) {
      try make(
        routes("policies: [{ type: \"respond\", body: { env: \"TENANT_ACME_WORD\" } }]"),
        values: [.environment("TENANT_ACME_WORD"): word])
    }
    let blanks = String(repeating: " ", count: TenantText.longestDocument)
    #expect(refusal("{\(blanks)}").hasPrefix("A tenant's objects have"))
  }
}
