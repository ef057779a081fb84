import Core
import Testing

@testable import Traffic

@Suite("UpstreamDirectory")
struct UpstreamDirectoryTests {
  private func spec(_ name: String, _ addresses: [Int]) -> UpstreamSpec {
    UpstreamSpec(name: name, endpoints: addresses.map { EndpointSpec(address: .socket(address($0))) })
  }

  @Test("What is known of an endpoint outlives a reload; the same address in another upstream is another endpoint")
  func kept() {
    let directory = UpstreamDirectory()
    let before = directory.endpoints(of: spec("u", [1, 2]), now: .at(1))
    before.endpoints[1].state.setHealth(.unhealthy, now: .at(1))
    let after = directory.endpoints(of: spec("u", [3, 2]), now: .at(2))
    #expect(after.endpoints[1].state === before.endpoints[1].state)
    #expect(after.endpoints[1].state.health == .unhealthy)
    #expect(after.state === before.state)
    let other = directory.endpoints(of: spec("v", [2]), now: .at(2))
    #expect(other.endpoints[0].state !== before.endpoints[1].state)
  }

  @Test("The id of an endpoint that is gone is not used again while anyone holds the endpoint")
  func heldIds() {
    let directory = UpstreamDirectory()
    var old: EndpointSet? = directory.endpoints(of: spec("u", [1, 2]), now: .at(1))
    let ids = Set(old?.endpoints.map(\.state.id) ?? [])
    let new = directory.endpoints(of: spec("w", [5]), now: .at(2))
    directory.retain(only: [new])
    let third = directory.endpoints(of: spec("x", [6]), now: .at(3))
    #expect(!ids.contains(third.endpoints[0].state.id))
    old = nil
    #expect(old == nil)
    let fourth = directory.endpoints(of: spec("y", [7, 8]), now: .at(4))
    #expect(Set(fourth.endpoints.map(\.state.id)) == ids)
    #expect(directory.idBound == 4)
  }

  @Test("An endpoint that comes back while it is still held is the same")
  func comesBack() {
    let directory = UpstreamDirectory()
    let first = directory.endpoints(of: spec("u", [1, 2]), now: .at(1))
    let without = directory.endpoints(of: spec("u", [1]), now: .at(2))
    directory.retain(only: [without])
    let again = directory.endpoints(of: spec("u", [1, 2]), now: .at(3))
    #expect(again.endpoints[1].state === first.endpoints[1].state)
  }

  @Test("An address that occurs twice counts once, with both weights")
  func twice() {
    var spec = spec("u", [1, 2, 1])
    spec.endpoints[0].weight = 3
    let set = UpstreamDirectory().endpoints(of: spec, now: .at(1))
    #expect(set.endpoints.map(\.weight) == [4, 1])
  }

  @Test("A name stands for its addresses, and for none until it is resolved")
  func names() {
    var spec = spec("u", [1])
    spec.endpoints.append(EndpointSpec(address: .name("svc.example", port: 80), weight: 2))
    let directory = UpstreamDirectory()
    #expect(directory.endpoints(of: spec, now: .at(1)).count == 1)
    let set = directory.endpoints(of: spec, addresses: [1: [address(7), address(8)]], now: .at(1))
    #expect(set.endpoints.map(\.state.address) == [address(1), address(7), address(8)])
    #expect(set.endpoints.map(\.weight) == [1, 2, 2])
    #expect(set.endpoints[2].name == "svc.example")
  }
}

@Suite("NameResolution")
struct NameResolutionTests {
  private func spec() -> UpstreamSpec {
    UpstreamSpec(
      name: "u",
      endpoints: [
        EndpointSpec(address: .socket(address(1))), EndpointSpec(address: .name("a.example", port: 80)),
        EndpointSpec(address: .name("b.example", port: 81)),
      ])
  }

  private func ip(_ last: Int) -> IPAddress { IPAddress(v4: 0x0a00_0000 + UInt32(last)) }

  @Test("An upstream of addresses asks nothing")
  func nothing() {
    var resolution = NameResolution(UpstreamSpec(name: "u", endpoints: []), now: .at(0))
    #expect(!resolution.isNeeded && resolution.isComplete)
    #expect(resolution.advance(now: .at(9)) == .wait(until: .never))
  }

  @Test("A failure, or no address, keeps the last good ones and is tried again sooner")
  func failure() {
    var resolution = NameResolution(spec(), known: [1: [address(7)]], now: .at(0))
    #expect(resolution.advance(now: .at(0)) == .lookUp(endpoint: 1, name: "a.example", port: 80))
    #expect(resolution.resolved(endpoint: 1, nil, now: .at(1), random: .max / 2) == false)
    #expect(resolution.addresses == [1: [address(7)]])
    #expect(resolution.advance(now: .at(1)) == .lookUp(endpoint: 2, name: "b.example", port: 81))
    #expect(resolution.resolved(endpoint: 2, [], now: .at(1), random: 0) == false)
    #expect(!resolution.isComplete)
    guard case .wait(let next) = resolution.advance(now: .at(1)) else { return #expect(Bool(false)) }
    #expect((Instant.at(5)...Instant.at(7)).contains(next))
  }

  @Test("The same addresses in another order change nothing, other ones do")
  func change() {
    var resolution = NameResolution(spec(), now: .at(0))
    _ = resolution.advance(now: .at(0))
    #expect(resolution.resolved(endpoint: 1, [ip(8), ip(7), ip(8)], now: .at(0), random: 0) == true)
    #expect(resolution.addresses[1] == [address(7), address(8)])
    _ = resolution.advance(now: .at(100))
    #expect(resolution.resolved(endpoint: 1, [ip(7), ip(8)], now: .at(100), random: 0) == false)
    _ = resolution.advance(now: .at(200))
    _ = resolution.advance(now: .at(200))
    #expect(resolution.resolved(endpoint: 1, [ip(9)], now: .at(200), random: 0) == true)
    #expect(resolution.addresses[1] == [address(9)])
  }

  @Test("A question is asked once until it is answered, and an answer nobody asked for is ignored")
  func once() {
    var resolution = NameResolution(spec(), now: .at(0))
    _ = resolution.advance(now: .at(0))
    _ = resolution.advance(now: .at(0))
    #expect(resolution.advance(now: .at(1_000)) == .wait(until: .never))
    #expect(resolution.resolved(endpoint: 0, [ip(1)], now: .at(0), random: 0) == false)
    #expect(resolution.resolved(endpoint: 2, [ip(1)], now: .at(0), random: 0) == true)
    #expect(resolution.resolved(endpoint: 2, [ip(2)], now: .at(0), random: 0) == false)
    #expect(resolution.addresses[2] == [.ip(ip(1), port: 81)])
  }

  @Test("No more addresses of a name are used than the bound allows")
  func bound() {
    var spec = spec()
    spec.resolution.maxAddresses = 2
    var resolution = NameResolution(spec, now: .at(0))
    _ = resolution.advance(now: .at(0))
    #expect(resolution.resolved(endpoint: 1, [ip(3), ip(2), ip(1)], now: .at(0), random: 0) == true)
    #expect(resolution.addresses[1] == [address(1), address(2)])
  }
}
