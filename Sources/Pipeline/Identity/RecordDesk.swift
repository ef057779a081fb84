// Where policies leave what they want of shared records. A loop asks no store for these: the order goes to the control loop,
// which has the connection, the exchange is parked, and the outcome comes back by message. As with fetches it lives only
// while that ticket is called which waits for it.

import Core

/// What a loop wants of a record.
public struct RecordOrder: Sendable {
  /// What the loop knows it by.
  public let number: UInt64
  /// What is wanted.
  public let request: RecordRequest
}

/// A loop's orders. Not thread-safe.
public final class RecordDesk {
  /// The most exchanges of a loop that wait for records.
  public static var waitingLimit: Int { 1_024 }
  /// When an order counts as lost, in nanoseconds: a mailbox was full.
  private static var patience: Int64 { 10_000_000_000 }

  private struct Waiter {
    let ticket: UInt64
    let isLostAt: Instant
  }

  private let world: any World
  private let send: (RecordOrder) -> Bool
  private var waiters: [UInt64: Waiter] = [:]
  private var lastNumber: UInt64 = 0
  private var called = CalledTickets<RecordOutcome>()

  /// A desk whose orders are taken by `send`, which says whether it could. Each is answered by ``take(_:of:)``.
  public init(world: any World, send: @escaping (RecordOrder) -> Bool) { (self.world, self.send) = (world, send) }

  /// Has `request` done; `ticket` is called when there is an outcome, good or bad. False, and nothing is done, where too
  /// many wait.
  public func begin(_ request: RecordRequest, ticket: UInt64) -> Bool {
    if waiters.count >= Self.waitingLimit { waiters = waiters.filter { $0.value.isLostAt > world.now } }
    guard waiters.count < Self.waitingLimit else { return false }
    lastNumber += 1
    guard send(RecordOrder(number: lastNumber, request: request)) else { return false }
    waiters[lastNumber] = Waiter(ticket: ticket, isLostAt: world.now.advanced(byNanoseconds: Self.patience))
    return true
  }

  /// What became of the request that `ticket` has just been called for. Once; nil at any other time.
  public func outcome(ticket: UInt64) -> RecordOutcome? { called.take(ticket) }

  // MARK: For the loop

  /// An order has been carried out. ``nextCalled()`` has the ticket that is to be called.
  public func take(_ outcome: RecordOutcome, of number: UInt64) {
    guard let waiter = waiters.removeValue(forKey: number) else { return }
    called.add([waiter.ticket], outcome)
  }

  /// The next ticket to be called; nil where there is none. What the one before has not taken is gone.
  public func nextCalled() -> UInt64? { called.next() }

  /// How many exchanges wait.
  public var count: Int { waiters.count }
}
