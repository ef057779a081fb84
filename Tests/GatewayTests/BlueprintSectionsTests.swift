import Core
import Gateway
import Pipeline
import Testing

/// What is read for a revision, with secrets of its own.
private func readRevision(_ own: NodeSections, _ text: String, _ secrets: [SecretSource: String] = [:])
  -> (blueprint: Blueprint?, found: [String])
{
  let result = Blueprint.read(own, revision: Array(text.utf8)) { source in
    secrets[source].map { .success($0) } ?? .failure(SecretFault("the reference leads nowhere"))
  }
  return (result.blueprint, result.diagnostics.map { $0.text(file: "revision") })
}

private func readOwn(_ text: String) -> (sections: NodeSections?, found: [String]) {
  let result = NodeSections.read(text: Array(text.utf8)) { source in
    source == .environment("CLUSTER_SECRET") ? .success("0123456789abcdef") : .failure(SecretFault("unknown"))
  }
  return (result.sections, result.diagnostics.map { $0.text(file: "node") })
}

@Suite("NodeSections")
struct BlueprintSectionsTests {
  private static let node = """
    { listeners: ["127.0.0.1:8080"], store: "redis://127.0.0.1", cluster: { secret: { env: "CLUSTER_SECRET" } },
      node: { limits: { body: "3MiB" } } }
    """

  @Test("a slip in the node's own sections is an error, wherever the rest comes from")
  func refusesSlips() {
    let (sections, found) = readOwn("{ listeners: [\"127.0.0.1:8080\"], nod: {}, routes: 7 }")
    #expect(sections == nil)
    #expect(found.count == 1 && found[0].contains("there is no option \"nod\" here; did you mean \"node\"?"))
  }

  @Test("the cluster's sections of a node's file are not looked at")
  func leavesTheClustersAlone() {
    let (sections, found) = readOwn("{ listeners: [\"127.0.0.1:8080\"], routes: 7, upstreams: { a: 1 } }")
    #expect(found == [])
    #expect(sections?.listeners.count == 1 && sections?.hasRevisions == false)
  }

  @Test("a slip in a revision is an error, with its place in the revision's text")
  func refusesSlipsOfRevisions() throws {
    let own = try #require(readOwn(Self.node).sections)
    let (blueprint, found) = readRevision(own, "{ route: [],\n upstreams: { a: { endpoint: [] } } }")
    #expect(blueprint == nil)
    #expect(found.contains { $0.hasPrefix("revision:1:3: ") && $0.hasSuffix("did you mean \"routes\"?") })
    #expect(found.contains { $0.hasPrefix("revision:2:") && $0.contains("endpoint") })
  }

  @Test("the sections that are a node's own are not looked at in a revision, nor what they refer to")
  func leavesTheNodesAlone() throws {
    let own = try #require(readOwn(Self.node).sections)
    let text = """
      { $schema: "x", listeners: 5, admin: { token: { env: "NOBODY_KNOWS" } }, store: { env: "NEITHER" },
        upstreams: { a: { endpoints: [{ env: "ADDRESS" }] } },
        routes: [{ id: "r", match: { path: "/" }, upstream: "a" }] }
      """
    let (blueprint, found) = readRevision(own, text, [.environment("ADDRESS"): "127.0.0.1:9001"])
    #expect(found == [])
    let plan = try #require(blueprint)
    #expect(plan.own == own && plan.listeners == own.listeners && plan.store == own.store)
    #expect(plan.routes.map(\.id) == ["r"])
    #expect(plan.routes[0].bodyLimit == 3 << 20)
  }

  @Test("a secret that a revision refers to shows in no remark")
  func hidesSecrets() throws {
    let own = try #require(readOwn(Self.node).sections)
    let text = "{ upstreams: { a: { endpoints: [{ env: \"S\" }] } } }"
    let (blueprint, found) = readRevision(own, text, [.environment("S"): "not-an-address"])
    #expect(blueprint == nil && found.count == 1)
    #expect(!found[0].contains("not-an-address"))
  }

  @Test("a node has revisions exactly if it has a store to share and a secret")
  func knowsWhoTakesPart() {
    #expect(readOwn(Self.node).sections?.hasRevisions == true)
    #expect(readOwn("{ listeners: [\"127.0.0.1:1\"], store: \"redis://127.0.0.1\" }").sections?.hasRevisions == false)
    let alone = "{ listeners: [\"127.0.0.1:1\"], cluster: { secret: { env: \"CLUSTER_SECRET\" } } }"
    #expect(readOwn(alone).sections?.hasRevisions == false)
  }

  @Test("a former secret needs a present one")
  func refusesALoneFormerSecret() {
    let (sections, found) = readOwn(
      "{ listeners: [\"127.0.0.1:1\"], cluster: { formerSecret: { env: \"CLUSTER_SECRET\" } } }")
    #expect(sections == nil && found.count == 1)
    #expect(found[0].contains("there is a former secret and no present one; add secret"))
  }
}
