import Pipeline

/// A counter, or a place where one was.
struct CounterEntry: Sendable, BitwiseCopyable {
  var key: QuotaKey
  var expiry: Expiry
  var state: CounterState
  /// The next free place behind this one, where it is free itself; −1 for none.
  var nextFree: Int32 = -1
  var isFree = false
}

/// The counters of a shard, one behind the other. Not an array: every change of one asks first whether somebody else
/// holds it too, which costs as much as a decision's arithmetic, under a lock.
@safe
struct CounterEntries: ~Copyable {
  // The first `count` entries are initialised; freed in `deinit`, never handed out.
  private var base: UnsafeMutablePointer<CounterEntry>
  private var capacity = 8
  /// How many places there are, free ones included.
  private(set) var count = 0

  init() { unsafe base = .allocate(capacity: capacity) }

  deinit { unsafe base.deallocate() }

  subscript(place: Int) -> CounterEntry {
    @inline(__always)
    unsafeAddress {
      precondition(place >= 0 && place < count)
      return unsafe UnsafePointer(base + place)
    }
    @inline(__always)
    unsafeMutableAddress {
      precondition(place >= 0 && place < count)
      return unsafe base + place
    }
  }

  /// Adds a place at the end; amortised constant.
  mutating func append(_ entry: CounterEntry) {
    if count == capacity {
      capacity *= 2
      let larger = UnsafeMutablePointer<CounterEntry>.allocate(capacity: capacity)
      unsafe larger.moveInitialize(from: base, count: count)
      unsafe base.deallocate()
      unsafe base = larger
    }
    unsafe (base + count).initialize(to: entry)
    count += 1
  }
}
