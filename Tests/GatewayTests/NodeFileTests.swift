import Cluster
import Core
import Gateway
import Pipeline
import Testing

@Suite("NodeFile")
struct NodeFileTests {
  private static let own = """
    listeners: ["127.0.0.1:8080"], store: "redis://127.0.0.1", cluster: { secret: "0123456789abcdef" }
    """

  private func read(_ text: String) -> NodeFile {
    NodeFile(text: Array(text.utf8)) { source in
      source == .environment("A") ? .success("127.0.0.1:9001") : .failure(SecretFault("nobody knows \(source.name)"))
    }
  }

  @Test("a node that has no cluster needs a file without a mistake")
  func refusesMistakes() {
    let file = read("{ listeners: [\"127.0.0.1:8080\"], routes: 7 }")
    #expect(file.blueprint == nil && !file.isPartial && file.body == nil)
  }

  @Test("a node of a cluster does with its own sections, and says nothing of what it cannot read")
  func doesWithItsOwn() {
    let file = read("{ \(Self.own), upstreams: { a: { endpoints: [{ env: \"B\" }] } } }")
    #expect(file.isPartial && file.blueprint?.routes.isEmpty == true && file.body == nil)
    #expect(file.diagnostics.map(\.severity) == [.error])
    #expect(read("{ \(Self.own), listener: [] }").blueprint == nil)
  }

  @Test("what a file says in the cluster's place comes with what that refers to, and with nothing else")
  func saysWhatItRefersTo() throws {
    let file = read("{ \(Self.own), accessLog: { file: \"log\" }, upstreams: { a: { endpoints: [{ env: \"A\" }] } } }")
    let body = try #require(file.body)
    #expect(!file.isPartial && body.values == [.environment("A"): "127.0.0.1:9001"])
  }

  @Test("a file without any of the cluster's sections says nothing in its place")
  func maySayNothing() {
    let file = read("{ \(Self.own) }")
    #expect(file.blueprint != nil && !file.isPartial && file.body == nil)
  }
}
