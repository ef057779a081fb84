import Core

/// Some keys whose mixes have the same first bits, sorted by them, in one piece of memory: first all mixes, then the entries.
/// Immutable.
///
/// `@unchecked`: the memory belongs to it alone and is not changed once it has been made.
@safe
final class KeyShard: @unchecked Sendable {
  /// Where a shard lies; valid as long as the shard is.
  @safe
  struct Place: @unchecked Sendable, BitwiseCopyable {
    fileprivate let memory: UnsafeMutableRawPointer
    let count: Int

    @inline(__always)
    fileprivate func mix(_ index: Int) -> UInt64 {
      // Below `count`, as all callers see to.
      unsafe memory.load(fromByteOffset: index &* 8, as: UInt64.self)
    }

    @inline(__always)
    func entry(_ index: Int) -> IssuedKeys.Entry {
      unsafe memory.load(
        fromByteOffset: count &* 8 &+ index &* MemoryLayout<IssuedKeys.Entry>.stride, as: IssuedKeys.Entry.self)
    }

    /// The index of a mix; −1 where there is none. `bits` are those that all mixes here have in common.
    @inline(__always)
    func index(of mix: UInt64, sharing bits: Int) -> Int {
      // Mixes are spread evenly, so it lies about here: some steps off.
      var index = Int(truncatingIfNeeded: (mix &<< UInt64(bits)).multipliedFullWidth(by: UInt64(count)).high)
      while index < count && self.mix(index) < mix { index &+= 1 }
      while index > 0 && self.mix(index &- 1) >= mix { index &-= 1 }
      return index < count && self.mix(index) == mix ? index : -1
    }

    /// The entry of a mix; nil where there is none.
    @inline(__always)
    func entry(of mix: UInt64, sharing bits: Int) -> IssuedKeys.Entry? {
      let index = index(of: mix, sharing: bits)
      return index < 0 ? nil : entry(index)
    }

    /// Has an entry fetched, which lies in one line of the cache or in two.
    @inline(__always)
    func expect(entry index: Int) {
      let stride = MemoryLayout<IssuedKeys.Entry>.stride
      let start = unsafe memory + (count &* 8 &+ index &* stride)
      unsafe prefetch(start)
      unsafe prefetch(start + (stride &- 1))
    }
  }

  let place: Place

  /// These keys, sorted by their mixes.
  init(_ keys: [(mix: UInt64, entry: IssuedKeys.Entry)] = []) {
    let stride = MemoryLayout<IssuedKeys.Entry>.stride
    let memory = UnsafeMutableRawPointer.allocate(byteCount: keys.count * (8 + stride), alignment: 8)
    for (index, key) in keys.enumerated() {
      // Both parts have room for so many.
      unsafe memory.storeBytes(of: key.mix, toByteOffset: index * 8, as: UInt64.self)
      unsafe (memory + keys.count * 8 + index * stride).initializeMemory(
        as: IssuedKeys.Entry.self, repeating: key.entry, count: 1)
    }
    unsafe place = Place(memory: memory, count: keys.count)
  }

  deinit { unsafe place.memory.deallocate() }

  var count: Int { place.count }

  /// Bytes of memory, with those by which the allocator knows it.
  var byteCount: Int { count * (8 + MemoryLayout<IssuedKeys.Entry>.stride) + 64 }

  func mix(_ index: Int) -> UInt64 {
    precondition(index >= 0 && index < count)
    return place.mix(index)
  }

  func entry(_ index: Int) -> IssuedKeys.Entry {
    precondition(index >= 0 && index < count)
    return place.entry(index)
  }
}
