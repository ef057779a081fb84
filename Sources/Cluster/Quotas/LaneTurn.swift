import Core
import Pipeline

/// A batch on its way, and for whom.
final class LaneTurn {
  /// What one item of the batch is for.
  struct Entry {
    enum Purpose { case waiter, lease, settlement }
    let purpose: Purpose
    /// The waiter's place, the counter's, or the settlement's among those of the turn.
    let index: Int32
    /// Levels of the waiter's question.
    let levels: UInt8
    let place: LanePlace
  }

  /// Units of one counter that are given back or owed.
  struct Settlement {
    let level: QuotaLevel
    let units: Int64
    let mode: LaneMode
  }

  let batch: LaneBatch
  var settlements: ContiguousArray<Settlement> = []
  var entries: ContiguousArray<Entry> = []
  /// Tells replies of an earlier use apart.
  var generation: UInt32 = 0
  /// When the first question came into it.
  var oldest = Instant.never
  /// When it was sent: by the loop's clock and by the boot clock, both read before.
  var sent = Instant.never
  var sentMoment: Int64 = 0
  /// The primary that it was sent to.
  var primary = 0
  /// Whether it holds strict questions: then a replica is asked, too, and they wait for what that says.
  var isStrict = false
  /// No replica can be asked, or none has answered in time.
  var isDoubtful = false
  /// Entries that the store has admitted and no replica has confirmed yet.
  var unconfirmed: ContiguousArray<Entry> = []

  init(map: LaneMap) { batch = LaneBatch(map: map) }

  func begin(lane: Int) {
    batch.begin(lane: lane)
    entries.removeAll(keepingCapacity: true)
    settlements.removeAll(keepingCapacity: true)
    unconfirmed.removeAll(keepingCapacity: true)
    (isStrict, isDoubtful) = (false, false)
    oldest = .never
  }
}

/// A lane as one loop sees it.
struct Lane {
  enum State {
    /// Nobody has opened it under the primary's present replication id, as far as this loop knows.
    case closed
    /// It is being opened, or what was seen of it is being merged.
    case recovering
    /// Its gate has opened, and everybody tells what was admitted meanwhile.
    case settling
    case open
  }

  /// Turns that wait beyond the two under way.
  static let longestQueue = 8
  static let mostUnderWay = 2

  /// Its slot in a Redis Cluster.
  let slot: Int
  var state = State.closed
  /// Turns that are not sent yet; the last one takes more.
  var queue: ContiguousArray<Int32> = []
  var underWay = 0
  /// Until then nothing is sent: the lane is gated, or settling.
  var pausedUntil: Int64 = 0
  /// The latest time that the lane has told, in microseconds.
  var latest: Int64 = 0
  /// The epoch of the last answer, and a moment of the boot clock before its question was sent.
  var epoch: Int64 = -1
  var confirmedAt: Int64 = 0
  var isListed = false
  var marks = Watermarks()
  /// What is left to merge, and how far that has got.
  var merging: ContiguousArray<LaneWatermark> = []
  var merged = 0
  /// It was opened anew and waits for what others have to merge; this loop had seen it open before.
  var isGated = false
  var isReopened = false
}

/// What was last seen of a lane's counters, for as long as a failover could need it.
struct Watermarks {
  /// The most that are kept of one lane, twice.
  static let capacity = 16_384
  private static let rotation: Int64 = 60_000_000_000

  private var recent: [LaneWatermark.Name: LaneWatermark] = [:]
  private var former: [LaneWatermark.Name: LaneWatermark] = [:]
  private var rotated: Int64 = 0

  /// Keeps what the answer to a batch says.
  mutating func note(_ batch: LaneBatch, moment: Int64) {
    if moment - rotated >= Self.rotation || recent.count >= Self.capacity {
      former = recent
      recent.removeAll(keepingCapacity: true)
      rotated = moment
    }
    batch.forEachWatermark { recent[$0.name] = $0 }
  }

  /// All of them, each once, in an order that follows from what they are: equal runs send equal bytes.
  var all: ContiguousArray<LaneWatermark> {
    var all = ContiguousArray(former.merging(recent) { _, new in new }.values)
    all.sort { ($0.name.field.low, $0.name.field.high) < ($1.name.field.low, $1.name.field.high) }
    return all
  }
}
