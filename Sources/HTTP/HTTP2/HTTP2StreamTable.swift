/// The open streams of a connection by their identifiers, which are mostly consecutive: open addressing without a hash.
struct HTTP2StreamTable: ~Copyable {
  /// A power of two at least twice the count, or none at all.
  private var slots: ContiguousArray<HTTP2Stream?> = []
  private(set) var count = 0
  /// How many of them do not stand where their identifiers say: mostly none, and then nothing moves up behind one that goes.
  private var displaced = 0

  var footprint: Int { slots.capacity * MemoryLayout<HTTP2Stream?>.stride }

  @inline(__always)
  private func home(_ id: UInt32) -> Int { Int(id >> 1) & (slots.count &- 1) }

  /// The stream with that identifier.
  @inline(__always)
  subscript(id: UInt32) -> HTTP2Stream? {
    if count == 0 { return nil }
    var slot = home(id)
    while let stream = slots[slot] {
      if stream.id == id { return stream }
      slot = (slot &+ 1) & (slots.count &- 1)
    }
    return nil
  }

  /// Puts a stream in, which must not be there.
  mutating func insert(_ stream: HTTP2Stream) {
    if (count &+ 1) &* 2 > slots.count { grow() }
    place(stream)
    count &+= 1
  }

  private mutating func place(_ stream: HTTP2Stream) {
    var slot = home(stream.id)
    if slots[slot] != nil { displaced &+= 1 }
    while slots[slot] != nil { slot = (slot &+ 1) & (slots.count &- 1) }
    slots[slot] = stream
  }

  @inline(never)
  private mutating func grow() {
    let old = slots
    displaced = 0
    slots = ContiguousArray(repeating: nil, count: max(8, old.count * 2))
    for case let stream? in old { place(stream) }
  }

  /// Takes the stream with that identifier out, if it is there.
  mutating func remove(_ id: UInt32) {
    if count == 0 { return }
    var slot = home(id)
    while let stream = slots[slot], stream.id != id { slot = (slot &+ 1) & (slots.count &- 1) }
    if slots[slot] == nil { return }
    count &-= 1
    if slot != home(id) { displaced &-= 1 }
    if displaced == 0 {
      slots[slot] = nil
      return
    }
    // What follows moves up where its way from home leads over the free slot.
    var free = slot
    var next = (slot &+ 1) & (slots.count &- 1)
    while let stream = slots[next] {
      let distance = (next &- home(stream.id)) & (slots.count &- 1)
      if distance >= (next &- free) & (slots.count &- 1) {
        if free == home(stream.id) { displaced &-= 1 }
        slots[free] = stream
        free = next
      }
      next = (next &+ 1) & (slots.count &- 1)
    }
    slots[free] = nil
  }

  /// Gives the memory of an empty table back.
  mutating func shrink() { if count == 0 { slots = [] } }

  /// Calls `body` with every stream; `body` must not change the table.
  func forEach(_ body: (HTTP2Stream) -> Void) {
    if count == 0 { return }
    for case let stream? in slots { body(stream) }
  }

  /// All streams, in no order.
  var all: [HTTP2Stream] { slots.compactMap { $0 } }
}
