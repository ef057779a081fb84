import Core
import Pipeline
import Testing

@Suite("OnceGuard")
struct OnceGuardTests {
  private let once = OnceGuard(purpose: "test", lifetimeSeconds: 60)

  private func use(_ name: String, _ once: OnceGuard, _ bench: Bench) -> OnceGuard.Finding {
    var exchange = Exchange()
    let bytes = Array(name.utf8)
    let finding = once.use(RawSpan(bytes), &exchange, bench.services)
    #expect(exchange.limits.count == 0)
    return finding
  }

  @Test("A name that was used is not let through again before its lifetime is over")
  func refusesAgain() throws {
    let bench = try Bench()
    #expect(use("one", once, bench) == .first)
    #expect(use("one", once, bench) == .again)
    bench.world.advance(seconds: 59.9)
    #expect(use("one", once, bench) == .again)
    bench.world.advance(seconds: 0.2)
    #expect(use("one", once, bench) == .first)
  }

  @Test("To look whether a name was used does not use it")
  func looks() throws {
    let bench = try Bench()
    var exchange = Exchange()
    let name = Array("one".utf8)
    for _ in 0..<3 { #expect(once.look(RawSpan(name), &exchange, bench.services) == .first) }
    #expect(use("one", once, bench) == .first)
    #expect(once.look(RawSpan(name), &exchange, bench.services) == .again && exchange.limits.count == 0)
  }

  @Test("Other names and other purposes have nothing to do with it")
  func distinguishes() throws {
    let bench = try Bench()
    #expect(use("one", once, bench) == .first)
    #expect(use("two", once, bench) == .first)
    #expect(use("one", OnceGuard(purpose: "other", lifetimeSeconds: 60), bench) == .first)
  }
}
