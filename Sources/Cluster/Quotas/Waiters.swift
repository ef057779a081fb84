import Core
import Pipeline

/// A question that is with the store.
struct Waiter {
  var ticket: UInt64
  /// The question as the store is asked, with its answers; see ``LeasePlan``.
  var question: LimitQuestion
  /// When it was asked, by the loop's clock.
  var since: Instant
  /// Parts that are not answered yet: levels of one lane are one part.
  var pending = 0
  /// Whether nothing is to be taken.
  var isPeek: Bool
  /// Levels that were taken from what the node holds, and those that the store has debited.
  var reserved: UInt8 = 0
  var debited: UInt8 = 0
  /// Levels that nobody could say anything about, and of those the ones that may have been debited all the same.
  var failed: UInt8 = 0
  var assumed: UInt8 = 0
  /// Of those the ones whose connection was lost.
  var doubtful: UInt8 = 0
  /// Levels that can be leased: the store is told so of all of them, always.
  var leasable: UInt8 = 0
  var isDenied = false
  var isStale = false
  /// For each debited level what a credit must name.
  var grants = InlineArray<8, LaneGrant>(repeating: LaneGrant(moment: 0, epoch: 0))
  var nextFree: Int32 = -1
}

/// All questions that are with the store: places that are used again.
struct Waiters {
  /// The most that wait at the same time; beyond, nobody waits.
  static let capacity = 16_384

  private var places: ContiguousArray<Waiter> = []
  private var firstFree: Int32 = -1
  private(set) var count = 0

  @inline(__always)
  subscript(place: Int32) -> Waiter {
    _read { yield places[Int(place)] }
    _modify { yield &places[Int(place)] }
  }

  /// Keeps a waiter; nil where there are too many.
  mutating func add(_ waiter: Waiter) -> Int32? {
    if firstFree >= 0 {
      let place = firstFree
      firstFree = places[Int(place)].nextFree
      places[Int(place)] = waiter
      count += 1
      return place
    }
    guard places.count < Self.capacity else { return nil }
    places.append(waiter)
    count += 1
    return Int32(places.count - 1)
  }

  mutating func remove(_ place: Int32) {
    places[Int(place)].nextFree = firstFree
    firstFree = place
    count -= 1
  }
}
