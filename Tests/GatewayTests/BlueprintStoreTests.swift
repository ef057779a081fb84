import Cluster
import Core
import Gateway
import Testing

/// A file whose second line is `more`, without anything to warn of.
private func file(_ more: String) -> String {
  "{ listeners: [\"127.0.0.1:80\"], routes: [{ id: \"r\", match: { path: \"/*\" }, redirect: \"/\" }],\n\(more) }"
}

@Suite("Blueprint: store and cluster")
struct BlueprintStoreTests {
  @Test("without a store the node counts by itself, in the cluster \"sluice\" without a secret")
  func defaults() throws {
    let (blueprint, found) = readBlueprint(file(""))
    #expect(found == [])
    let plan = try #require(blueprint)
    #expect(plan.store == .embedded)
    #expect(plan.cluster.name == "sluice" && plan.cluster.secret == [])
    #expect(plan.node.name == nil)
  }

  @Test("a store, the cluster's name and secret and the node's name are taken")
  func takes() throws {
    let (blueprint, found) = readBlueprint(
      file(
        """
        node: { name: "node-1" }, store: "unix:///run/redis.sock?db=2",
        cluster: { name: "prod", secret: { env: "SLUICE_CLUSTER_SECRET" } }
        """))
    #expect(found == [])
    let plan = try #require(blueprint)
    #expect(plan.store == .redis(.single(try RedisURL.parse("unix:///run/redis.sock?db=2"))))
    #expect(plan.cluster.name == "prod" && plan.cluster.secret == Array("a-secret-that-is-long-enough".utf8))
    #expect(plan.node.name == "node-1")
  }

  @Test("a shared store without a secret is warned of, at the store")
  func warnsWithoutSecret() {
    let (blueprint, found) = readBlueprint(file("store: \"redis://h\", cluster: { name: \"c\" }"))
    #expect(blueprint != nil)
    #expect(
      found == [
        "sluice.json:2:8: warning: store: without a cluster secret nodes agree on limits only, not on revisions, keys and revocations; "
          + "and clients can guess what counters are called, and choose "
          + "names that share one; add cluster: { secret: { env: \"SLUICE_CLUSTER_SECRET\" } }, the same on all nodes"
      ])
  }

  @Test(
    "what is wrong is named with its place and a way out, and never shows a secret",
    arguments: [
      (
        "store: \"redis://h\", cluster: { secret: \"sesame\" }",
        "2:40: cluster.secret: the secret has fewer than 16 bytes; make one, for instance: openssl rand -hex 32"
      ),
      (
        "store: \"redis://h\", cluster: { secret: { env: \"NO\" } }",
        "2:40: cluster.secret: the reference leads nowhere; set NO in the environment of the process"
      ),
      (
        "store: \"redis://h\", cluster: { name: \"a b\", secret: { env: \"SLUICE_CLUSTER_SECRET\" } }",
        "2:38: cluster.name: \"a b\" is not a name of letters, digits, - _ . and at most 128 bytes; "
          + "write it like \"orders-v1\""
      ),
      (
        "store: \"memcached\"",
        "2:8: store: a store's URL begins with redis://, rediss://, unix:// or redis+unix://; "
          + "write it like redis://127.0.0.1:6379/0"
      ),
      (
        "node: { name: \"a b\" }",
        "2:15: node.name: \"a b\" is not a name of letters, digits, - _ . and at most 128 bytes; "
          + "write it like \"orders-v1\""
      ),
    ])
  func namesErrors(text: String, expected: String) {
    let (blueprint, found) = readBlueprint(file(text))
    #expect(blueprint == nil)
    #expect(found == ["sluice.json:\(expected)"])
  }
}
