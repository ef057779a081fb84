import Core

/// Which addresses and names have lately failed to prove who they are, where each try costs the node more than a request, or is a
/// guess. Plain data of one loop.
public struct FailureBook {
  /// The time in which failures are counted, in nanoseconds.
  public static let span: Int64 = 10_000_000_000
  /// How long who is shut out stays so, in nanoseconds.
  public static let blocked: Int64 = 60_000_000_000
  /// Addresses remembered before those whose failures are over are forgotten; likewise names.
  static let capacity = 16_384

  /// When each address's failures are over.
  private var clearAt: [IPAddress: Instant] = [:]
  /// Until when each name is shut out.
  private var namesUntil: [QuotaKey: Instant] = [:]

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

  /// A failure of `address` was none.
  public mutating func forgive(_ address: IPAddress, limit: Int64) {
    let key = Self.key(address)
    clearAt[key] = clearAt[key]?.advanced(byNanoseconds: -(Self.span / limit))
  }

  /// Nobody listens to `address` for ``blocked`` any more.
  public mutating func block(_ address: IPAddress, now: Instant) {
    clearAt[Self.key(address)] = now.advanced(byNanoseconds: Self.span + Self.blocked)
  }

  // MARK: Names

  /// Whether any name is shut out.
  public var hasNames: Bool { !namesUntil.isEmpty }

  /// Whether a name is shut out.
  public func isBlocked(_ name: QuotaKey, now: Instant) -> Bool { namesUntil[name].map { $0 > now } ?? false }

  /// Nobody listens to who calls itself `name` for ``blocked`` any more.
  public mutating func block(_ name: QuotaKey, now: Instant) {
    if namesUntil.count >= Self.capacity {
      namesUntil = namesUntil.filter { $0.value > now }
      // As with addresses.
      if namesUntil.count >= Self.capacity { namesUntil = [:] }
    }
    namesUntil[name] = now.advanced(byNanoseconds: Self.blocked)
  }

  /// What stands for an address: its network of IPv6 (64 bits).
  static func key(_ address: IPAddress) -> IPAddress {
    address.isV4 ? address : IPAddress(high: address.high, low: 0)
  }
}
