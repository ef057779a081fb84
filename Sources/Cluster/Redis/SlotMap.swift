import Core

/// Which member of a cluster serves which slot.
struct SlotMap {
  private var owners = ContiguousArray<Int32>(repeating: -1, count: HashSlot.all.count)
  /// Whether the map has been read since it was last in doubt.
  var isFresh = false
  /// When it was last asked for.
  var askedAt = Instant(nanoseconds: .min)

  subscript(slot: Int) -> Int? {
    get {
      precondition(HashSlot.all.contains(slot))
      return owners[slot] < 0 ? nil : Int(owners[slot])
    }
    set {
      precondition(HashSlot.all.contains(slot))
      owners[slot] = newValue.map { Int32($0) } ?? -1
    }
  }

  /// Gives a range of slots to one member.
  mutating func assign(_ range: ClosedRange<Int>, to member: Int) {
    for slot in range { owners[slot] = Int32(member) }
  }

  /// Whether the member serves any slot. Looks at all of them.
  func serves(_ member: Int) -> Bool { owners.contains(Int32(member)) }

  /// What `CLUSTER SLOTS` answers: ranges and the primary of each. Nil where it is nothing of the kind; `speaker` is the
  /// host that answered.
  static func read(_ value: RedisValue, speaker: String) -> [(slots: ClosedRange<Int>, node: AddressText)]? {
    guard value.kind == .array, value.count > 0, value.count <= HashSlot.all.count else { return nil }
    var ranges: [(slots: ClosedRange<Int>, node: AddressText)] = []
    for index in 0..<value.count {
      let range = value[index]
      guard range.count >= 3, let first = range[0].integer, let last = range[1].integer, first >= 0, first <= last,
        last < HashSlot.all.count, range[2].count >= 2, let port = range[2][1].integer,
        let port = UInt16(exactly: port),
        port > 0, let node = RedisNode(host: range[2][0].text, port: port).address(by: speaker)
      else { return nil }
      ranges.append((Int(first)...Int(last), node))
    }
    return ranges
  }
}
