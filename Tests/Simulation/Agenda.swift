import Core

/// What will happen, by time; what is due at the same time happens in the order in which it was added.
struct Agenda {
  struct Entry {
    var time: Instant
    var serial: UInt64
    /// A deadline that a handler asked for: it comes by itself and keeps nothing busy.
    var isTimer: Bool
    var action: () -> Void

    static func < (left: Entry, right: Entry) -> Bool {
      left.time != right.time ? left.time < right.time : left.serial < right.serial
    }
  }

  /// A binary heap.
  private var entries: [Entry] = []
  private var nextSerial: UInt64 = 0

  /// How many entries are not timers.
  private(set) var busyCount = 0

  var earliest: Instant { entries.first?.time ?? .never }

  mutating func add(at time: Instant, isTimer: Bool = false, _ action: @escaping () -> Void) {
    nextSerial += 1
    if !isTimer { busyCount += 1 }
    entries.append(Entry(time: time, serial: nextSerial, isTimer: isTimer, action: action))
    var child = entries.count - 1
    while child > 0 {
      let parent = (child - 1) / 2
      guard entries[child] < entries[parent] else { break }
      entries.swapAt(child, parent)
      child = parent
    }
  }

  mutating func popFirst() -> Entry? {
    guard let first = entries.first else { return nil }
    let last = entries.removeLast()
    if !first.isTimer { busyCount -= 1 }
    guard !entries.isEmpty else { return first }
    entries[0] = last
    var parent = 0
    while true {
      var child = parent * 2 + 1
      guard child < entries.count else { break }
      if child + 1 < entries.count, entries[child + 1] < entries[child] { child += 1 }
      guard entries[child] < entries[parent] else { break }
      entries.swapAt(child, parent)
      parent = child
    }
    return first
  }
}
