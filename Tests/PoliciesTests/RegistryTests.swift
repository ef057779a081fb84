import Core
import Pipeline
import Policies
import Testing

@testable import Policies

@Suite("Registry")
struct RegistryTests {
  @Test("Every policy describes itself, with help for every option, and has a name of its own")
  func descriptions() {
    #expect(Set(Registry.policies.map { $0.name }).count == Registry.policies.count)
    for type in Registry.policies {
      #expect(type.summary.hasSuffix("."))
      let options = Registry.options(of: type)
      #expect(!options.isEmpty)
      #expect(options.allSatisfy { !$0.help.isEmpty })
    }
    #expect(Registry.type(named: "nonsense") == nil)
  }

  @Test("A chain runs in phase order, whatever order its policies are given in")
  func order() throws {
    let bench = try Bench()
    try bench.use(
      "{ type: \"respond\" }", "{ type: \"rate-limit\", limits: [{ per: \"ip\", window: \"1/1h\" }] }",
      "{ type: \"api-key\", optional: true }", "{ type: \"ip-filter\", deny: [\"203.0.113.0/24\"] }")
    for _ in 0..<3 { #expect(bench.send("GET / HTTP/1.1\nHost: a", from: "203.0.113.1").verdict == "403") }
    #expect(bench.send("GET / HTTP/1.1\nHost: a", from: "203.0.113.1").responseFields == "")
    #expect(bench.send("GET / HTTP/1.1\nHost: a").verdict == "200")
    #expect(bench.send("GET / HTTP/1.1\nHost: a").verdict == "429")
  }
}
