import Core

/// Some keys whose mixes have the same first bits, sorted by them, in one piece of memory: first the keys, each in a line of
/// the cache, then a byte for each. Immutable.
///
/// Mixes are spread evenly, so that one of five hundred lies some eleven places from where its own bits say. The bytes tell
/// how far off those begin that belong to a place; what is fetched from memory then is the line of the key, and no other.
///
/// `@unchecked`: the memory belongs to it alone and is not changed once it has been made.
@safe
final class KeyShard: @unchecked Sendable {
  /// A key with its mix.
  struct Key: BitwiseCopyable {
    var mix: UInt64
    var entry: IssuedKeys.Entry
  }

  /// What a key takes: a line of the cache.
  private static let stride = 64
  /// The byte of a place whose keys begin further before it than a byte can tell: they are looked for from the first one on.
  private static let farBefore = Int8.min

  /// Where a shard lies; valid as long as the shard is.
  @safe
  struct Place: @unchecked Sendable, BitwiseCopyable {
    fileprivate let memory: UnsafeMutableRawPointer
    let count: Int

    @inline(__always)
    fileprivate func mix(_ index: Int) -> UInt64 {
      // Below `count`, as all callers see to.
      unsafe memory.load(fromByteOffset: index &* KeyShard.stride, as: UInt64.self)
    }

    @inline(__always)
    fileprivate func key(_ index: Int) -> Key {
      unsafe memory.load(fromByteOffset: index &* KeyShard.stride, as: Key.self)
    }

    /// Which place a mix belongs to. `bits` are those that all mixes here have in common.
    @inline(__always)
    fileprivate func place(of mix: UInt64, sharing bits: Int) -> Int {
      Int(truncatingIfNeeded: (mix &<< UInt64(bits)).multipliedFullWidth(by: UInt64(count)).high)
    }

    /// Where to begin to look for a mix; has what lies there fetched from memory, without waiting for it.
    @inline(__always)
    func start(of mix: UInt64, sharing bits: Int) -> Int {
      guard count > 0 else { return 0 }
      let place = place(of: mix, sharing: bits)
      // A place is below `count`, for which there are bytes behind the keys.
      let offset = unsafe memory.load(fromByteOffset: count &* KeyShard.stride &+ place, as: Int8.self)
      let start = offset == KeyShard.farBefore ? 0 : place &+ Int(offset)
      unsafe prefetch(memory + start &* KeyShard.stride)
      unsafe prefetch(memory + (start &+ 1) &* KeyShard.stride)
      return start
    }

    /// The entry of a mix, which is looked for from its start on; nil where there is none.
    @inline(__always)
    func entry(of mix: UInt64, from start: Int) -> IssuedKeys.Entry? {
      var index = start
      while index < count && self.mix(index) < mix { index &+= 1 }
      return index < count && self.mix(index) == mix ? key(index).entry : nil
    }
  }

  let place: Place
  private let allocated: UnsafeMutableRawPointer

  /// These keys, sorted by their mixes, which have so many bits in common.
  init(_ keys: [Key] = [], sharing bits: Int = 0) {
    let stride = Self.stride
    precondition(MemoryLayout<Key>.stride == stride)
    // Lines are aligned by hand: an allocator asked for that leaves holes.
    let memory = UnsafeMutableRawPointer.allocate(byteCount: keys.count * (stride + 1) + stride, alignment: 16)
    let lines = unsafe memory.alignedUp(toMultipleOf: stride)
    let place = unsafe Place(memory: lines, count: keys.count)
    var start = 0
    for (index, key) in keys.enumerated() {
      while start < keys.count && place.place(of: keys[start].mix, sharing: bits) < index { start += 1 }
      let offset = start - index
      // Both parts have room for so many.
      unsafe (lines + index * stride).initializeMemory(as: Key.self, repeating: key, count: 1)
      unsafe lines.storeBytes(
        of: offset <= Int(Self.farBefore) ? Self.farBefore : Int8(clamping: offset),
        toByteOffset: keys.count * stride + index, as: Int8.self)
    }
    self.place = place
    unsafe allocated = memory
  }

  deinit { unsafe allocated.deallocate() }

  var count: Int { place.count }

  /// Bytes of memory, with those by which the allocator knows it.
  var byteCount: Int { count * (Self.stride + 1) + Self.stride + 64 }

  /// The key at an index.
  subscript(index: Int) -> Key {
    precondition(index >= 0 && index < count)
    return place.key(index)
  }

  /// All keys, in order.
  var keys: [Key] { (0..<count).map { self[$0] } }
}
