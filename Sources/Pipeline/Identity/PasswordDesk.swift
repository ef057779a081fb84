// Where policies leave passwords to be checked. To check one takes some fifty milliseconds on purpose, so no loop does it:
// the order goes to a thread that does nothing else, the exchange is parked, and the outcome comes back by message.

import Core
import Crypto

/// A password that a loop wants checked.
public struct PasswordOrder: Sendable {
  /// What the loop knows it by.
  public let number: UInt64
  /// What it is to be checked against.
  public let hash: PasswordHash
  /// The password.
  public let password: [UInt8]
  /// Who has sent it.
  public let address: IPAddress
}

/// A loop's passwords. Not thread-safe.
public final class PasswordDesk {
  /// The most exchanges of a loop that wait for passwords.
  public static var waitingLimit: Int { 1_024 }
  /// How long after it was handed over a password counts as lost, in nanoseconds: longer than any request waits.
  private static var patience: Int64 { 10_000_000_000 }

  private struct Flight {
    var tickets: [UInt64]
    let key: [UInt8]
    let isLostAt: Instant
  }

  private let world: any World
  private let send: (PasswordOrder) -> PasswordIntake
  private var flights: [UInt64: Flight] = [:]
  private var numbers: [[UInt8]: UInt64] = [:]
  private var lastNumber: UInt64 = 0
  private var waitingCount = 0
  private var called = CalledTickets<Bool>()

  /// A desk whose orders are taken by `send`, which says whether it could. Each is answered by ``take(_:of:)``.
  public init(world: any World, send: @escaping (PasswordOrder) -> PasswordIntake) {
    (self.world, self.send) = (world, send)
  }

  /// Has a password checked; `ticket` is called when it is known whether it is right. Whoever gives the same key while that
  /// is under way waits for it too: the key must stand for the name, the password and whatever else the outcome depends on.
  public func begin(
    _ hash: PasswordHash, _ password: [UInt8], of address: IPAddress, key: [UInt8], ticket: UInt64
  ) -> PasswordIntake {
    if waitingCount >= Self.waitingLimit { dropLost() }
    guard waitingCount < Self.waitingLimit else { return .full }
    if let number = numbers[key] {
      flights[number]?.tickets.append(ticket)
    } else {
      lastNumber += 1
      let order = PasswordOrder(number: lastNumber, hash: hash, password: password, address: address)
      let intake = send(order)
      guard intake == .taken else { return intake }
      let isLostAt = world.now.advanced(byNanoseconds: Self.patience)
      flights[lastNumber] = Flight(tickets: [ticket], key: key, isLostAt: isLostAt)
      numbers[key] = lastNumber
    }
    waitingCount += 1
    return .taken
  }

  /// Whether the password was right that `ticket` has just been called for. Once; nil at any other time.
  public func outcome(ticket: UInt64) -> Bool? { called.take(ticket) }

  private func dropLost() {
    for number in flights.filter({ $0.value.isLostAt <= world.now }).keys { _ = remove(number) }
  }

  private func remove(_ number: UInt64) -> [UInt64] {
    guard let flight = flights.removeValue(forKey: number) else { return [] }
    numbers[flight.key] = nil
    waitingCount -= flight.tickets.count
    return flight.tickets
  }

  // MARK: For the loop

  /// A password was checked. ``nextCalled()`` has the tickets that are to be called.
  public func take(_ isRight: Bool, of number: UInt64) { called.add(remove(number), isRight) }

  /// The next ticket to be called; nil where there is none. What the one before has not taken is gone.
  public func nextCalled() -> UInt64? { called.next() }

  /// How many exchanges wait.
  public var count: Int { waitingCount }
}
