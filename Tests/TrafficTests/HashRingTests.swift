import Core
import Testing

@testable import Traffic

@Suite("Consistent hash")
struct HashRingTests {
  private static let keys: [UInt64] = (0..<20_000).map { StableHash.of(high: $0, low: 42) }

  /// The address that each key goes to.
  private func owners(_ addresses: [Int], weights: [Int]? = nil) -> [SocketAddress] {
    var spec = UpstreamSpec(
      name: "u",
      endpoints: addresses.enumerated().map {
        EndpointSpec(address: .socket(address($0.element)), weight: weights?[$0.offset] ?? 1)
      })
    spec.balance = .consistentHash
    var balancer = Balancer(plan(spec), random: 0)
    return Self.keys.map { key in
      let index = balancer.pick(hash: key, tried: TriedEndpoints(), now: .at(1), random: 0)
      return balancer.current.endpoints[Int(index)].state.address
    }
  }

  @Test("Removing one of n moves the keys of that one and no others, about 1/n", arguments: [2, 3, 5, 10, 30])
  func removal(count: Int) {
    let before = owners(Array(1...count))
    let after = owners(Array(1..<count))
    let moved = zip(before, after).count { $0 != $1 }
    #expect(zip(before, after).allSatisfy { $0 == $1 || $0 == address(count) })
    let share = Double(moved) / Double(Self.keys.count) * Double(count)
    #expect((0.75...1.25).contains(share), "\(share)")
  }

  @Test("Adding one to n takes about 1/(n+1), all of them to the new one", arguments: [1, 4, 9])
  func addition(count: Int) {
    let before = owners(Array(1...count))
    let after = owners(Array(1...(count + 1)))
    #expect(zip(before, after).allSatisfy { $0 == $1 || $1 == address(count + 1) })
    let share = Double(zip(before, after).count { $0 != $1 }) / Double(Self.keys.count) * Double(count + 1)
    #expect((0.75...1.25).contains(share), "\(share)")
  }

  @Test("The order of the file does not matter")
  func order() {
    #expect(owners([1, 2, 3, 4]) == owners([3, 1, 4, 2]))
  }

  @Test("Weights are kept to within a quarter")
  func weights() {
    let owners = owners([1, 2, 3], weights: [1, 2, 5])
    for (index, expected) in [2_500, 5_000, 12_500].enumerated() {
      let count = owners.count { $0 == address(index + 1) }
      #expect(abs(count - expected) < expected / 4, "\(count)")
    }
  }

  @Test("While an endpoint is out its keys go elsewhere, and all come back to it")
  func outage() {
    let plan = plan(spec(.consistentHash, weights: [1, 1, 1, 1]))
    var balancer = Balancer(plan, random: 0)
    func owners(_ balancer: inout Balancer) -> [Int32] {
      Self.keys.prefix(2_000).map { balancer.pick(hash: $0, tried: TriedEndpoints(), now: .at(1), random: 0) }
    }
    let before = owners(&balancer)
    plan.endpoints.endpoints[2].state.setHealth(.unhealthy, now: .at(1))
    let during = owners(&balancer)
    #expect(zip(before, during).allSatisfy { $0 == $1 || $0 == 2 && $1 != 2 })
    #expect(Set(zip(before, during).filter { $0.0 == 2 }.map(\.1)).count == 3)
    plan.endpoints.endpoints[2].state.setHealth(.healthy, now: .at(1))
    #expect(owners(&balancer) == before)
  }

  @Test(
    "The hash of known bytes never changes: nodes of different versions must agree",
    arguments: [
      ("", 0x0683_0790_65f4_2fe4), ("a", 0xe5c5_73f8_556a_32cb), ("consumer-1", 0x3001_5e4a_dd5b_5d69),
      ("consumer-2", 0x5491_f69d_a221_e06f), ("a key longer than one word", 0x9568_50f4_7bb6_d426),
    ] as [(String, UInt64)])
  func stable(key: String, hash: UInt64) {
    let bytes = Array(key.utf8)
    let found = StableHash.of(RawSpan(bytes))
    #expect(found == hash)
  }
}
