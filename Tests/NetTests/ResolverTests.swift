import Core
import Synchronization
import Testing

@testable import Net

/// Collects answers and waits for them.
private final class Answers: Sendable {
  private let all = Mutex<[Resolver.Answer]>([])
  private let wakeUp: WakeUp

  init() throws { wakeUp = try WakeUp() }

  func add(_ answer: Resolver.Answer) {
    all.withLock { $0.append(answer) }
    wakeUp.signal()
  }

  func first(_ count: Int) -> [Resolver.Answer] {
    while true {
      let answers = all.withLock { $0 }
      if answers.count >= count { return answers }
      wakeUp.wait(milliseconds: -1)
    }
  }
}

private let one = IPAddress(v4: 0x0a00_0001)
private let two = IPAddress(v4: 0x0a00_0002)

@Suite struct ResolverTests {
  @Test("A look-up that takes too long is answered in time, and its late result is dropped")
  func timeLimit() throws {
    let gate = Gate(try WakeUp())
    let resolver = try Resolver(threads: 1, limit: 8) { _ in
      gate.wakeUp.wait(milliseconds: -1)
      return .addresses([one])
    }
    let answers = try Answers()
    resolver.resolve("slow", timeout: .milliseconds(5)) { answers.add($0) }
    resolver.resolve("behind", timeout: .milliseconds(5)) { answers.add($0) }
    #expect(answers.first(2) == [.failed(.timedOut), .failed(.timedOut)])
    resolver.resolve("later", timeout: .seconds(60)) { answers.add($0) }
    gate.wakeUp.signal()
    gate.wakeUp.signal()
    resolver.stop()
    #expect(answers.first(3).count == 3)
  }

  private final class Gate: Sendable {
    let wakeUp: WakeUp
    init(_ wakeUp: consuming WakeUp) { self.wakeUp = wakeUp }
  }

  @Test("Too many waiting names are refused, and stopping answers the others")
  func overload() throws {
    let gate = Gate(try WakeUp())
    let resolver = try Resolver(threads: 1, limit: 1) { _ in
      gate.wakeUp.wait(milliseconds: -1)
      return .failed(.notFound)
    }
    let answers = try Answers()
    // One is being looked up or waits; of three at least one is too many.
    for _ in 0..<3 { resolver.resolve("name", timeout: .seconds(60)) { answers.add($0) } }
    #expect(answers.first(1)[0] == .failed(.overloaded))
    resolver.stop()
    #expect(answers.first(3).contains(.failed(.unavailable)))
    resolver.resolve("name") { answers.add($0) }
    #expect(answers.first(4).last == .failed(.unavailable))
    gate.wakeUp.signal()
  }

  @Test("An address needs no look-up")
  func literal() throws {
    let resolver = try Resolver(threads: 1, limit: 1) { _ in .failed(.notFound) }
    defer { resolver.stop() }
    let answers = try Answers()
    resolver.resolve("::1") { answers.add($0) }
    #expect(answers.first(1) == [.addresses([IPAddress(high: 0, low: 1)])])
  }

  @Test("A watched name is reported first, then only when its addresses change")
  func watch() throws {
    let script = Mutex<[Resolver.Answer]>([
      .failed(.notFound), .failed(.notFound), .addresses([one, two]), .addresses([two, one]), .failed(.unavailable),
      .addresses([two]),
    ])
    let resolver = try Resolver(threads: 2, limit: 8) { _ in
      script.withLock { $0.count > 1 ? $0.removeFirst() : $0[0] }
    }
    defer { resolver.stop() }
    let answers = try Answers()
    let id = resolver.watch("name", every: .milliseconds(1)) { answers.add($0) }
    #expect(answers.first(3) == [.failed(.notFound), .addresses([one, two]), .addresses([two])])
    resolver.endWatch(id)
  }

  @Test("The machine's own resolver knows its own name and not an impossible one")
  func system() throws {
    let resolver = try Resolver()
    defer { resolver.stop() }
    let answers = try Answers()
    resolver.resolve("localhost") { answers.add($0) }
    guard case .addresses(let addresses) = answers.first(1)[0] else {
      Issue.record("localhost is unknown")
      return
    }
    #expect(addresses.allSatisfy { $0.isLoopback })
    resolver.resolve("no..such..name") { answers.add($0) }
    guard case .failed = answers.first(2)[1] else {
      Issue.record("an impossible name was found")
      return
    }
  }
}
