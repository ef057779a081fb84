import Core

/// Shares the requests of a route among upstreams by weight.
public struct WeightedSplit: Hashable, Sendable {
  /// One upstream and its share.
  public struct Share: Hashable, Sendable, BitwiseCopyable {
    /// The upstream's index in the configuration.
    public var upstream: Int32
    /// Its share against the others; 0 for none.
    public var weight: UInt32

    /// A share.
    public init(upstream: Int32, weight: UInt32) {
      self.upstream = upstream
      self.weight = weight
    }
  }

  private let shares: ContiguousArray<Share>
  private let total: UInt64
  private let salt: UInt64

  /// All requests to one upstream.
  public init(upstream: Int32) {
    shares = [Share(upstream: upstream, weight: 1)]
    total = 1
    salt = 0
  }

  /// A split; nil if all weights are 0. `salt`, as a rule the route's id, keeps the same consumers from being the first
  /// to meet the new version of everything.
  public init?(_ shares: [Share], salt: String) {
    let total = shares.reduce(0) { $0 + UInt64($1.weight) }
    guard total > 0 else { return nil }
    self.shares = ContiguousArray(shares)
    self.total = total
    self.salt = StableHash.of(RawSpan(Array(salt.utf8)))
  }

  /// The upstream for a request by 64 random bits; linear in the number of upstreams.
  @inline(__always)
  public func pick(random: UInt64) -> Int32 { shares.count == 1 ? shares[0].upstream : choose(random) }

  /// The upstream for a key, the same each time: `hash` is the ``StableHash`` of the consumer, or of the client's
  /// address where there is none. When the weights change, only keys at the moved borders change sides.
  public func pick(stickyHash hash: UInt64) -> Int32 {
    shares.count == 1 ? shares[0].upstream : choose(StableHash.of(high: hash, low: salt))
  }

  private func choose(_ bits: UInt64) -> Int32 {
    var left = bits.multipliedFullWidth(by: total).high
    for share in shares {
      if left < UInt64(share.weight) { return share.upstream }
      left &-= UInt64(share.weight)
    }
    return shares[0].upstream
  }

  /// The upstreams that get a share.
  public var upstreams: [Int32] { shares.filter { $0.weight > 0 }.map(\.upstream) }
}

/// Sends copies of a percentage of requests to a second upstream, fire and forget.
public struct Mirror: Hashable, Sendable {
  /// The upstream that gets the copies, by its index in the configuration.
  public let upstream: Int32
  private let threshold: UInt64

  /// A mirror of `percent` (0...100) of the requests.
  public init(upstream: Int32, percent: Double) {
    self.upstream = upstream
    let share = min(1, max(0, percent / 100))
    threshold = share >= 1 ? .max : UInt64(share * 0x1p64)
  }

  /// Whether the request with these random bits is mirrored.
  @inline(__always)
  public func selects(random: UInt64) -> Bool { random < threshold || threshold == .max }
}
