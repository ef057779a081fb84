/// What a ``SharedQuota`` has done since it began, for metrics.
public struct SharedQuotaStatistics: Equatable, Sendable {
  /// Commands that were sent to decide something.
  public var calls: UInt64 = 0
  /// Items in those commands; equal questions are one.
  public var items: UInt64 = 0
  /// Questions that the store did not answer in time.
  public var misses: UInt64 = 0
  /// Units that were granted on lease.
  public var leasedUnits: UInt64 = 0
  /// Of those the units that were spent.
  public var spentUnits: UInt64 = 0
  /// Of those the units that were given back. What is neither spent nor returned nor held is stranded.
  public var returnedUnits: UInt64 = 0
  /// Units on lease that are held now.
  public var heldUnits: UInt64 = 0
  /// How often slices were called in, by this loop.
  public var recalls: UInt64 = 0
  /// How often the breaker of a primary has opened.
  public var openings: UInt64 = 0
  /// How many of them are open now.
  public var openBreakers: UInt64 = 0

  /// Nothing.
  public init() {}

  /// Adds what another loop has done.
  public mutating func add(_ other: SharedQuotaStatistics) {
    calls &+= other.calls
    items &+= other.items
    misses &+= other.misses
    leasedUnits &+= other.leasedUnits
    spentUnits &+= other.spentUnits
    returnedUnits &+= other.returnedUnits
    heldUnits &+= other.heldUnits
    recalls &+= other.recalls
    openings &+= other.openings
    openBreakers &+= other.openBreakers
  }
}
