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
  /// The most of them that wait for one server: there is room for others, whatever becomes of it.
  public static var waitingPerServer: Int { 768 }
  /// How long after its own time limit a fetch counts as lost, in nanoseconds: a mailbox was full.
  private static var patience: Int64 { 10_000_000_000 }

  private struct Flight {
    var tickets: [UInt64]
    let key: [UInt8]?
    let host: String
    let isLostAt: Instant
    let note: ((FetchOutcome) -> Void)?
  }

  private let world: any World
  private let send: (FetchOrder) -> Bool
  private var flights: [UInt64: Flight] = [:]
  private var numbers: [[UInt8]: UInt64] = [:]
  private var lastNumber: UInt64 = 0
  private var waitingCount = 0
  /// How many wait for each server for which anybody does.
  private var waiting: [String: Int] = [:]
  private var called = CalledTickets<FetchOutcome>()

  /// Tells the operator something: a line without secrets.
  public var report: (String) -> Void = { _ in }

  /// A desk whose orders are taken by `send`, which says whether it could. Each is answered by ``take(_:of:)``.
  public init(world: any World, send: @escaping (FetchOrder) -> Bool) {
    (self.world, self.send) = (world, send)
  }

  /// Has `request` fetched; `ticket` is called when there is an outcome, good or bad. False, and nothing is fetched,
  /// where too many wait.
  public func begin(_ request: FetchRequest, ticket: UInt64) -> Bool { begin(key: nil, ticket, { request }, nil) }

  /// The same, except that whoever gives the same key while the fetch is under way waits for this one, and gets its
  /// outcome:
  /// the key must stand for all that the answer depends on.
  public func begin(_ request: FetchRequest, key: [UInt8], ticket: UInt64) -> Bool {
    begin(key: key, ticket, { request }, nil)
  }

  /// The same for what is kept beyond the exchange: `request` is asked for only where no fetch with this key is under way, and
  /// `note` is given the outcome of the fetch that this call begins, once, before anybody is called. Without a ticket nobody
  /// waits. False, too, where `request` has nothing.
  public func begin(
    key: [UInt8], ticket: UInt64?, request: () -> FetchRequest?, note: @escaping (FetchOutcome) -> Void
  ) -> Bool { begin(key: key, ticket, request, note) }

  /// Whether whoever gives this key now would share the fetch of somebody else.
  public func isUnderWay(_ key: [UInt8]) -> Bool { numbers[key] != nil }

  /// What became of the fetch that `ticket` has just been called for. Once; nil at any other time.
  public func outcome(ticket: UInt64) -> FetchOutcome? { called.take(ticket) }

  private var isFull: Bool { waitingCount >= Self.waitingLimit || flights.count >= Self.waitingLimit }

  private func begin(
    key: [UInt8]?, _ ticket: UInt64?, _ request: () -> FetchRequest?, _ note: ((FetchOutcome) -> Void)?
  ) -> Bool {
    if isFull { dropLost() }
    guard !isFull else { return false }
    if let key, let number = numbers[key] {
      // One that is lost keeps nobody from asking again.
      if let flight = flights[number], flight.isLostAt > world.now {
        guard hasRoom(flight.host) else { return false }
        wait(ticket, for: number)
        return true
      }
      _ = remove(number)
    }
    guard let request = request(), hasRoom(request.url.host) else { return false }
    lastNumber += 1
    guard send(FetchOrder(number: lastNumber, request: request)) else { return false }
    let endsAt = world.now.advanced(byNanoseconds: request.timeoutNanoseconds)
    let isLostAt = endsAt.advanced(byNanoseconds: Self.patience)
    flights[lastNumber] = Flight(
      tickets: [], key: key, host: request.url.host, isLostAt: isLostAt, note: note)
    if let key { numbers[key] = lastNumber }
    wait(ticket, for: lastNumber)
    return true
  }

  private func wait(_ ticket: UInt64?, for number: UInt64) {
    guard let ticket else { return }
    guard let host = flights[number]?.host else { return }
    flights[number]?.tickets.append(ticket)
    waiting[host, default: 0] += 1
    waitingCount += 1
  }

  private func hasRoom(_ host: String) -> Bool {
    if waiting[host, default: 0] >= Self.waitingPerServer { dropLost() }
    return waiting[host, default: 0] < Self.waitingPerServer
  }

  private func dropLost() {
    for number in flights.filter({ $0.value.isLostAt <= world.now }).keys { _ = remove(number) }
  }

  private func remove(_ number: UInt64) -> Flight? {
    guard let flight = flights.removeValue(forKey: number) else { return nil }
    if let key = flight.key { numbers[key] = nil }
    let left = waiting[flight.host, default: 0] - flight.tickets.count
    waiting[flight.host] = left > 0 ? left : nil
    waitingCount -= flight.tickets.count
    return flight
  }

  // MARK: For the loop

  /// An order has been carried out. ``nextCalled()`` has the tickets that are to be called.
  public func take(_ outcome: FetchOutcome, of number: UInt64) {
    guard let flight = remove(number) else { return }
    flight.note?(outcome)
    called.add(flight.tickets, outcome)
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
