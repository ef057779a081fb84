import Core
import Pipeline
import Policies
import Testing

@testable import Policies

@Suite("ip-filter")
struct IPFilterTests {
  func verdict(_ options: String, _ address: String) throws -> String {
    let bench = try Bench()
    #expect(try bench.use("{ type: \"ip-filter\", \(options) }") == [])
    return bench.send("GET / HTTP/1.1\nHost: a", from: address).verdict
  }

  @Test(
    "Who is not on a list of allowed networks is refused", arguments: ["192.0.2.1", "11.0.0.0", "2001:db8::1", "::1"])
  func notAllowed(address: String) throws {
    #expect(try verdict("allow: [\"10.0.0.0/8\", \"2001:db8:1::/48\"]", address) == "403")
  }

  @Test("Who is on it passes", arguments: ["10.0.0.0", "10.255.255.255", "2001:db8:1:ffff::1", "::ffff:10.1.2.3"])
  func allowed(address: String) throws {
    #expect(try verdict("allow: [\"10.0.0.0/8\", \"2001:db8:1::/48\"]", address) == "next")
  }

  @Test(
    "The smallest network decides",
    arguments: [
      ("10.1.2.3", "403"), ("10.1.9.9", "next"), ("10.9.9.9", "403"), ("10.1.2.4", "next"), ("9.9.9.9", "next"),
    ])
  func nested(address: String, expected: String) throws {
    #expect(try verdict("deny: [\"10.0.0.0/8\", \"10.1.2.3\"]", address) == (address.hasPrefix("10.") ? "403" : "next"))
    let mixed = "allow: [\"0.0.0.0/0\", \"10.1.0.0/16\"], deny: [\"10.0.0.0/8\", \"10.1.2.3\"]"
    #expect(try verdict(mixed, address) == expected)
  }

  @Test("::/0 says nothing about IPv4")
  func families() throws {
    #expect(try verdict("deny: [\"::/0\"]", "192.0.2.1") == "next")
    #expect(try verdict("deny: [\"::/0\"]", "2001:db8::1") == "403")
  }

  @Test("A network on both lists, a wrong one, and no list at all are named")
  func wrong() {
    #expect(
      make("{ type: \"ip-filter\", allow: [\"10.0.0.0/8\"], deny: [\"10.0.0.0/8\"] }").remarks
        == ["deny[0]: 10.0.0.0/8 is allowed already"])
    #expect(
      make("{ type: \"ip-filter\", deny: [\"10.0.0.1/8\"] }").remarks
        == ["deny[0]: \"10.0.0.1/8\" is not an address or a network"])
    #expect(make("{ type: \"ip-filter\" }").remarks == ["allow: there is nothing to filter"])
  }

  @Test("The tree finds what looking through all networks finds", arguments: 1...8 as ClosedRange<UInt64>)
  func model(seed: UInt64) {
    var state = seed
    func random(_ bound: UInt64) -> UInt64 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return (state >> 33) % bound
    }
    var tree = AddressTree()
    var networks: [(IPNetwork, AddressTree.Mark)] = []
    for _ in 0..<300 {
      let isV4 = random(2) == 0
      let base =
        isV4
        ? IPAddress(v4: UInt32(random(4) << 24 | random(8) << 16)) : IPAddress(high: random(16) << 60, low: random(4))
      let network = IPNetwork(base: base, prefixLength: Int(isV4 ? 96 + random(33) : random(129)))
      let mark: AddressTree.Mark = random(2) == 0 ? .allow : .deny
      let isKnown = networks.contains { $0.0 == network && $0.1 != mark }
      #expect(tree.insert(network, mark) == !isKnown)
      if !isKnown { networks.append((network, mark)) }
    }
    for _ in 0..<2000 {
      let isV4 = random(2) == 0
      let address =
        isV4
        ? IPAddress(v4: UInt32(random(4) << 24 | random(8) << 16 | random(3)))
        : IPAddress(high: random(16) << 60 | random(2), low: random(4))
      let best = networks.filter { $0.0.contains(address) && $0.0.isV4 == isV4 }.max {
        $0.0.prefixLength < $1.0.prefixLength
      }
      #expect(tree.find(address) == best?.1 ?? .none)
    }
  }
}
