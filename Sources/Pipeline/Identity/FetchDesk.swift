// Where policies leave what they want fetched. Nothing is fetched on a loop: the order goes to the control loop, the
// exchange is parked, and what became of it comes back by message. An outcome lives only while those are called who
// wait for it, so that one whose exchange has gone is not kept.

import Core

/// What a loop wants fetched.
public struct FetchOrder: Sendable {
  /// What the loop knows it by.
  public let number: UInt64
  /// What is fetched.
  public let request: FetchRequest
}

/// A loop's fetches. Not thread-safe.
public final class FetchDesk {
  /// The most exchanges of a loop that wait for fetches.
  public static var waitingLimit: Int { 1_024 }
  /// How long after its own time limit a fetch counts as lost, in nanoseconds: a mailbox was full.
  private static var patience: Int64 { 10_000_000_000 }

  private struct Flight {
    var tickets: [UInt64]
    let key: [UInt8]?
    let isLostAt: Instant
  }

  private let world: any World
  private let send: (FetchOrder) -> Bool
  private var flights: [UInt64: Flight] = [:]
  private var numbers: [[UInt8]: UInt64] = [:]
  private var lastNumber: UInt64 = 0
  private var waitingCount = 0
  private var called = CalledTickets<FetchOutcome>()

  /// A desk whose orders are taken by `send`, which says whether it could. Each is answered by ``take(_:of:)``.
  public init(world: any World, send: @escaping (FetchOrder) -> Bool) {
    (self.world, self.send) = (world, send)
  }

  /// Has `request` fetched; `ticket` is called when there is an outcome, good or bad. False, and nothing is fetched,
  /// where too many wait.
  public func begin(_ request: FetchRequest, ticket: UInt64) -> Bool { begin(request, key: nil, ticket) }

  /// The same, except that whoever gives the same key while the fetch is under way waits for this one, and gets its
  /// outcome:
  /// the key must stand for all that the answer depends on.
  public func begin(_ request: FetchRequest, key: [UInt8], ticket: UInt64) -> Bool { begin(request, key: key, ticket) }

  /// Whether whoever gives this key now would share the fetch of somebody else.
  public func isUnderWay(_ key: [UInt8]) -> Bool { numbers[key] != nil }

  /// What became of the fetch that `ticket` has just been called for. Once; nil at any other time.
  public func outcome(ticket: UInt64) -> FetchOutcome? { called.take(ticket) }

  private func begin(_ request: FetchRequest, key: [UInt8]?, _ ticket: UInt64) -> Bool {
    if waitingCount >= Self.waitingLimit { dropLost() }
    guard waitingCount < Self.waitingLimit else { return false }
    if let key, let number = numbers[key] {
      flights[number]?.tickets.append(ticket)
    } else {
      lastNumber += 1
      guard send(FetchOrder(number: lastNumber, request: request)) else { return false }
      let endsAt = world.now.advanced(byNanoseconds: request.timeoutNanoseconds)
      let isLostAt = endsAt.advanced(byNanoseconds: Self.patience)
      flights[lastNumber] = Flight(tickets: [ticket], key: key, isLostAt: isLostAt)
      if let key { numbers[key] = lastNumber }
    }
    waitingCount += 1
    return true
  }

  private func dropLost() {
    for number in flights.filter({ $0.value.isLostAt <= world.now }).keys { _ = remove(number) }
  }

  private func remove(_ number: UInt64) -> [UInt64] {
    guard let flight = flights.removeValue(forKey: number) else { return [] }
    if let key = flight.key { numbers[key] = nil }
    waitingCount -= flight.tickets.count
    return flight.tickets
  }

  // MARK: For the loop

  /// An order has been carried out. ``nextCalled()`` has the tickets that are to be called.
  public func take(_ outcome: FetchOutcome, of number: UInt64) {
    called.add(remove(number), outcome)
  }

  /// The next ticket to be called; nil where there is none. What the one before has not taken is gone.
  public func nextCalled() -> UInt64? { called.next() }

  /// How many exchanges wait.
  public var count: Int { waitingCount }
}

/// Tickets to be called one after the other, each with something that is there as long as its call lasts.
struct CalledTickets<Content> {
  private var waiting: [(ticket: UInt64, content: Content)] = []
  private var current: (ticket: UInt64, content: Content)?

  mutating func add(_ tickets: [UInt64], _ content: Content) {
    // The first to be called stands last.
    waiting.insert(contentsOf: tickets.reversed().map { ($0, content) }, at: 0)
  }

  mutating func next() -> UInt64? {
    current = waiting.popLast()
    return current?.ticket
  }

  mutating func take(_ ticket: UInt64) -> Content? {
    guard let current, current.ticket == ticket else { return nil }
    self.current = nil
    return current.content
  }
}
