import Core
import Synchronization

/// What each address has lately done of something that costs the node much: handshakes of TLS, one of which costs more than a
/// hundred requests, or connections of HTTP/2 that had to be ended for what was done on them.
///
/// The bound is the node's, not a loop's; the lock is taken when a connection is opened or ends badly, never by a request, as
/// that of ``ConnectionLedger`` is.
final class AddressLedger: Sendable {
  /// Addresses that are kept in mind, beyond which those that are within their bounds are forgotten.
  private static let capacity = 65_536

  /// When each address would have used up what it began, in nanoseconds since the machine started.
  private let times = Mutex<[IPAddress: Int64]>([:])

  /// How often an address may do it: so many times at once, and as many in each span of time.
  struct Rate {
    /// Of one time, in nanoseconds.
    let cost: Int64
    let span: Int64

    /// `count` times, at least one, in `span` nanoseconds.
    init(count: Int32, span: Int64) { (cost, self.span) = (span / Int64(count), span) }
  }

  /// Whether `address` may do it once more, which then counts. Those of one network of IPv6 (64 bits) are one address.
  func admits(_ address: IPAddress, _ rate: Rate, now: Instant) -> Bool {
    let (key, now) = (Self.key(address), now.nanoseconds)
    return times.withLock { times in
      guard Self.isWithin(times[key], rate, now) else { return false }
      Self.charge(key, rate, now, &times)
      return true
    }
  }

  /// Whether `address` might do it once more.
  func isWithin(_ address: IPAddress, _ rate: Rate, now: Instant) -> Bool {
    times.withLock { Self.isWithin($0[Self.key(address)], rate, now.nanoseconds) }
  }

  /// Counts that `address` has done it, allowed or not; what is counted beyond the bound is one time more at most.
  func charge(_ address: IPAddress, _ rate: Rate, now: Instant) {
    times.withLock { Self.charge(Self.key(address), rate, now.nanoseconds, &$0) }
  }

  private static func key(_ address: IPAddress) -> IPAddress {
    address.isV4 ? address : IPAddress(high: address.high, low: 0)
  }

  private static func isWithin(_ usedUntil: Int64?, _ rate: Rate, _ now: Int64) -> Bool {
    max(usedUntil ?? now, now) - now <= rate.span - rate.cost
  }

  private static func charge(_ key: IPAddress, _ rate: Rate, _ now: Int64, _ times: inout [IPAddress: Int64]) {
    if times.count >= capacity { times = times.filter { $0.value > now } }
    // Where all of so many addresses are at work, the node has other worries than one of them.
    if times.count >= capacity { times = [:] }
    times[key] = min(max(times[key] ?? now, now) + rate.cost, now + rate.span + rate.cost)
  }
}
