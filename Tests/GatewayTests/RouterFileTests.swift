import Core
import Pipeline
import Testing

@testable import Gateway
@testable import Traffic

private func readRouter(_ text: String) -> (blueprint: Blueprint?, found: [String]) {
  let result = Blueprint.readRouter(text: Array(text.utf8)) { _ in .success("0123456789abcdef") }
  return (result.blueprint, result.diagnostics.map { $0.text(file: "router") })
}

@Suite("A router's file")
struct RouterFileTests {
  private static let store =
    "listeners: [\"127.0.0.1:8080\"], store: \"redis://127.0.0.1\", cluster: { secret: { env: \"S\" } }"

  @Test(
    "a file that does not say where the nodes are is refused, and so is what only nodes have",
    arguments: [
      ("{ listeners: [\"127.0.0.1:8080\"] }", "nothing says where the nodes are"),
      ("{ listeners: [\"127.0.0.1:8080\"], store: \"redis://127.0.0.1\" }", "nothing says where the nodes are"),
      (
        "{ listeners: [{ address: \"127.0.0.1:1\", passThrough: true }], router: { nodes: [\"127.0.0.1:2\"] } }",
        "nothing says where the nodes are"
      ),
      ("{ \(store), routes: [] }", "there is no option \"routes\""),
      ("{ \(store), router: { affinity: \"consumer\" } }", "affinity"),
      ("{ \(store), router: { affinity: { by: \"address\", boundPercent: 99 } } }", "boundPercent"),
      ("{ \(store), router: { nodes: [\"127.0.0.1:2\", \"127.0.0.1:2\"] } }", "for the second time"),
      ("{ \(store), router: { balance: \"consistent-hash\" } }", "balance"),
    ])
  func refusals(text: String, says: String) {
    let (blueprint, found) = readRouter(text)
    #expect(blueprint == nil)
    #expect(found.contains { $0.contains(says) }, "\(found)")
  }

  @Test("a node's file knows nothing of connections that are passed on")
  func passThroughIsARouters() {
    let text = "{ listeners: [{ address: \"127.0.0.1:1\", passThrough: true }], routes: [] }"
    let (blueprint, found) = Blueprint.read(text: Array(text.utf8)) { _ in .failure(SecretFault("none")) }
    #expect(blueprint == nil && found.contains { $0.message.contains("passThrough") })
  }

  @Test("all requests go to the nodes, with limits and times that are the nodes' own")
  func everything() throws {
    let (blueprint, found) = readRouter("{ \(Self.store) }")
    let read = try #require(blueprint)
    #expect(found.isEmpty && read.isRouter && read.routes.count == 1)
    #expect(read.routes[0].bodyLimit == .max && read.routes[0].timeouts.total == .max)
    let nodes = read.upstreams[0]
    #expect(nodes.endpoints.isEmpty && nodes.balance == .leastRequest && nodes.health?.path == "/.sluice/ready")
    #expect(nodes.ejection?.consecutiveFailures == 1 && nodes.retries.attempts == 3)
  }

  @Test("affinity hashes what it is told, within a bound")
  func affinity() throws {
    let nodes = try #require(readRouter("{ \(Self.store), router: { affinity: \"header:X-API-Key\" } }").blueprint)
      .upstreams[0]
    #expect(nodes.balance == .consistentHash && nodes.hashKey == .header("x-api-key") && nodes.boundPercent == 125)
  }

  @Test("a listener that is open on all addresses is reached by one of them, and each kind for itself")
  func reach() throws {
    let text = """
      { listeners: ["0.0.0.0:80", "127.0.0.1:81", "unix:/run/s", { address: "[::]:443", proxyProtocol: true },
          { address: "0.0.0.0:82", redirectToHTTPS: 444 }, { address: "0.0.0.0:444", \(FlowSetup.secure) }], routes: [] }
      """
    let listeners = try #require(
      Blueprint.read(text: Array(text.utf8), secrets: FlowSetup.file).blueprint
    ).listeners
    let own = IPAddress("10.0.0.7")
    #expect(Node.reach(listeners, isProxied: false, by: own) == ["10.0.0.7:80", "127.0.0.1:81", "unix:/run/s"])
    #expect(Node.reach(listeners, isProxied: true, by: own) == ["10.0.0.7:443"])
    #expect(Node.reach(listeners, isProxied: true, by: nil) == ["127.0.0.1:443"])
    let secured = listeners.filter { $0.tls != nil }
    #expect(Node.reach(secured, isProxied: false, by: own) == ["10.0.0.7:444"])
  }
}
