import Core

/// What a slab holds: plain storage that starts empty and is reused many times.
protocol SlabSlot {
  /// A slot that nobody has used yet.
  init()
}

/// A fixed number of reusable slots at fixed addresses, named by a small index.
///
/// The whole range is reserved at once and touched only as far as it is used: an untouched slot costs address space,
/// no memory. Taking and giving back are constant time and prefer the slot used last, whose lines are still cached.
@safe
struct Slab<Slot: SlabSlot>: ~Copyable {
  private let base: UnsafeMutablePointer<Slot>
  /// How many slots can be in use at once.
  let capacity: Int32
  private var touched: Int32 = 0
  private var free = OwnedArray<Int32>()

  /// A slab of `capacity` slots.
  init(capacity: Int) {
    precondition(capacity > 0 && capacity < Int(Int32.max))
    self.capacity = Int32(capacity)
    unsafe base = .allocate(capacity: capacity)
  }

  deinit {
    unsafe base.deinitialize(count: Int(touched))
    unsafe base.deallocate()
  }

  /// How many slots are in use.
  var count: Int { Int(touched) - free.count }

  /// Takes a slot as its last user left it, or nil where all are taken.
  @inline(__always)
  mutating func take() -> Int32? {
    if let index = free.popLast() { return index }
    guard touched < capacity else { return nil }
    unsafe (base + Int(touched)).initialize(to: Slot())
    touched += 1
    return touched - 1
  }

  /// Gives a slot back.
  mutating func giveBack(_ index: Int32) {
    precondition(index >= 0 && index < touched)
    free.append(index)
  }

  /// Slots that were ever in use: the indexes a sweep has to visit.
  var touchedIndexes: Range<Int32> { 0..<touched }

  subscript(index: Int32) -> Slot {
    // `touched` slots are initialised, and the slab owns them until it is destroyed.
    unsafeAddress {
      precondition(UInt32(bitPattern: index) < UInt32(bitPattern: touched))
      return unsafe UnsafePointer(base + Int(index))
    }
    unsafeMutableAddress {
      precondition(UInt32(bitPattern: index) < UInt32(bitPattern: touched))
      return unsafe base + Int(index)
    }
  }
}

/// What an event refers to: a slot, and the generation that makes an event for its former user recognisable.
struct Token {
  enum Kind: UInt64 {
    case listener = 0
    case client = 1
    case server = 2
    /// A connection to the store that nodes share.
    case store = 3
    /// A connection that is more than a descriptor: the transport knows whose it is.
    case transport = 4
  }

  let rawValue: UInt64

  init(rawValue: UInt64) { self.rawValue = rawValue }

  init(_ kind: Kind, _ index: Int32, generation: UInt32) {
    rawValue = kind.rawValue << 61 | UInt64(generation & 0x1fff_ffff) << 32 | UInt64(UInt32(bitPattern: index))
  }

  /// What a connection to the store is known by: which of the loop's clients it belongs to, its number there, and how often
  /// that number has been connected. The store's clients compare whole tokens.
  static func store(client: Int, link: Int, generation: UInt32) -> Token {
    precondition((0..<128).contains(client) && (0..<1 << 24).contains(link))
    return Token(.store, Int32(client << 24 | link), generation: generation)
  }

  var kind: Kind? { Kind(rawValue: rawValue >> 61) }
  func isOf(_ kind: Kind) -> Bool { rawValue >> 61 == kind.rawValue }
  var index: Int32 { Int32(truncatingIfNeeded: rawValue) }

  /// Whether the event is meant for a slot's present user.
  func matches(generation: UInt32) -> Bool {
    UInt32(truncatingIfNeeded: rawValue >> 32) & 0x1fff_ffff == generation & 0x1fff_ffff
  }
}
