import Core
import Crypto
import Testing

@testable import Pipeline

@Suite("PasswordDesk and CredentialCache")
struct PasswordDeskTests {
  private final class Checks {
    var orders: [PasswordOrder] = []
    var intake = PasswordIntake.taken

    func take(_ order: PasswordOrder) -> PasswordIntake {
      if intake == .taken { orders.append(order) }
      return intake
    }
  }

  private let checks = Checks()
  private let world = DeskWorld()
  private let hash = PasswordHash(of: [1], cost: 14)
  private let address = IPAddress(v4: 1)

  private func desk() -> PasswordDesk { PasswordDesk(world: world) { [checks] in checks.take($0) } }

  @Test("What is not taken is not waited for")
  func refused() {
    let desk = desk()
    for intake in [PasswordIntake.crowded, .full] {
      checks.intake = intake
      #expect(desk.begin(hash, [2], of: address, key: [1], ticket: 1) == intake && desk.count == 0)
    }
  }

  @Test("No more wait than may, until those are lost that nobody has answered")
  func bounded() {
    let desk = desk()
    for ticket in 0..<UInt64(PasswordDesk.waitingLimit) {
      #expect(desk.begin(hash, [2], of: address, key: [UInt8(ticket & 3)], ticket: ticket) == .taken)
    }
    #expect(desk.begin(hash, [2], of: address, key: [0], ticket: 9_999) == .full && checks.orders.count == 4)
    world.now = world.now.advanced(byNanoseconds: 10_000_000_000)
    #expect(desk.begin(hash, [2], of: address, key: [0], ticket: 9_999) == .taken && desk.count == 1)
  }

  @Test("Each who waits for the same is called once, and finds the outcome then")
  func called() {
    let desk = desk()
    for ticket in 1...2 { _ = desk.begin(hash, [2], of: address, key: [1], ticket: UInt64(ticket)) }
    _ = desk.begin(hash, [3], of: address, key: [2], ticket: 3)
    #expect(checks.orders.map(\.password) == [[2], [3]] && desk.outcome(ticket: 1) == nil)
    desk.take(true, of: checks.orders[0].number)
    var outcomes: [UInt64: Bool] = [:]
    while let ticket = desk.nextCalled() { outcomes[ticket] = desk.outcome(ticket: ticket) }
    #expect(outcomes == [1: true, 2: true] && desk.count == 1)
    desk.take(false, of: checks.orders[0].number)
    #expect(desk.nextCalled() == nil)
  }

  @Test("Credentials are remembered for their time; the oldest make room, right ones and wrong ones apart")
  func remembers() {
    let cache = CredentialCache()
    let (policy, other) = (Checks(), Checks())
    let code = cache.code([97], [98], of: policy)
    #expect(cache.find(code, now: world.now) == .unknown)
    cache.remember(code, for: 5, now: world.now)
    #expect(cache.find(code, now: world.now) == .right)
    #expect(cache.find(cache.code([97], [98], of: other), now: world.now) == .unknown)
    #expect(cache.find(cache.code([97, 0], [98], of: policy), now: world.now) == .unknown)
    #expect(cache.code([97], [98], of: policy) != CredentialCache().code([97], [98], of: policy))
    for number in 0..<CredentialCache.wrongCapacity + 1 {
      cache.rememberWrong([UInt8(truncatingIfNeeded: number), UInt8(number >> 8)], now: world.now)
    }
    #expect(cache.find([0, 0], now: world.now) == .unknown && cache.find([1, 0], now: world.now) == .wrong)
    #expect(cache.find(code, now: world.now.advanced(byNanoseconds: 4)) == .right)
    #expect(cache.find(code, now: world.now.advanced(byNanoseconds: 5)) == .unknown)
  }
}

/// A world in which only time passes, when a test says so.
private final class DeskWorld: World {
  var now = Instant(nanoseconds: 1_000_000_000_000)
  let previousTurnNanoseconds: Int64 = 0
  let wallTime = WallTime(microseconds: 0)

  func random() -> UInt64 { 4 }
  func listen(_ address: SocketAddress, _ options: ListenOptions, token: UInt64) throws(NetworkError) -> Socket {
    throw .notPermitted
  }
  func localAddress(of socket: Socket) -> SocketAddress? { nil }
  func accept(_ listener: Socket) -> AcceptResult { .wouldBlock }
  func connect(to address: SocketAddress, token: UInt64) throws(NetworkError) -> Socket { throw .notPermitted }
  func connectFailure(_ socket: Socket) -> NetworkError? { .notPermitted }
  func register(_ socket: Socket, token: UInt64) throws(NetworkError) { throw .notPermitted }
  func receive(_ socket: Socket, into buffer: ByteBuffer, limit: Int) -> TransferResult { .wouldBlock }
  func send(_ socket: Socket, _ bytes: RawSpan) -> TransferResult { .wouldBlock }
  func send(_ socket: Socket, _ first: RawSpan, _ second: RawSpan) -> TransferResult { .wouldBlock }
  func endSending(_ socket: Socket) {}
  func close(_ socket: Socket, reset: Bool) {}
}
