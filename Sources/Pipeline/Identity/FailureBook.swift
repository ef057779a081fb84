import Core

/// Which addresses have lately failed to prove who they are, where each try costs the node more than a request: signatures.
/// Plain data of one loop.
public struct FailureBook {
  /// The time in which failures are counted, in nanoseconds.
  public static let span: Int64 = 10_000_000_000
  /// Addresses remembered before those whose failures are over are forgotten.
  static let capacity = 16_384

  /// When each address's failures are over.
  private var clearAt: [IPAddress: Instant] = [:]

  /// Nobody has failed.
  public init() {}

  /// Whether `address` has failed as often as it may, `limit` times in ``span``, 1 or more. Those of one network of IPv6 (64
  /// bits) are one address.
  public func isExhausted(_ address: IPAddress, limit: Int64, now: Instant) -> Bool {
    guard !clearAt.isEmpty, let clear = clearAt[Self.key(address)] else { return false }
    return clear.nanoseconds(since: now) > Self.span - Self.span / limit
  }

  /// `address` has failed once more.
  public mutating func note(_ address: IPAddress, limit: Int64, now: Instant) {
    let key = Self.key(address)
    let clear = max(clearAt[key] ?? now, now)
    if clearAt.count >= Self.capacity, clearAt[key] == nil {
      clearAt = clearAt.filter { $0.value > now }
      // Where so many fail at the same time, none of them is slowed by what it did before.
      if clearAt.count >= Self.capacity { clearAt = [:] }
    }
    clearAt[key] = min(clear.advanced(byNanoseconds: Self.span / limit), now.advanced(byNanoseconds: Self.span))
  }

  private static func key(_ address: IPAddress) -> IPAddress {
    address.isV4 ? address : IPAddress(high: address.high, low: 0)
  }
}
