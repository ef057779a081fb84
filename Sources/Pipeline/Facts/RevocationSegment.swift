import Core

/// Marks that are over at about the same time: five bytes each, and an index of a million buckets.
///
/// `@unchecked`: the memory belongs to it alone and is not changed once the builder has given it away.
@safe
final class RevocationSegment: @unchecked Sendable {
  /// Buckets whose starts are counted from one number.
  private static let groupBits = 3
  private static let remainderBytes = 5

  /// When the last of them is over.
  let expires: UInt32
  let count: Int
  /// How many bits choose the bucket: 20, more where there are more than sixteen million marks.
  private let bucketBits: Int
  // Owned: the first mark of each group of buckets, then of each bucket the number of marks before it in its group, then
  // the marks without their first bits, with slack for a load of eight bytes.
  private let groups: UnsafeMutablePointer<UInt32>
  private let offsets: UnsafeMutablePointer<UInt8>
  private let remainders: UnsafeMutableRawPointer

  private init(_ builder: borrowing Builder) {
    expires = builder.expires
    count = builder.total
    bucketBits = builder.bucketBits
    unsafe groups = builder.groups
    unsafe offsets = builder.offsets
    unsafe remainders = builder.remainders
  }

  deinit {
    unsafe groups.deallocate()
    unsafe offsets.deallocate()
    unsafe remainders.deallocate()
  }

  var byteCount: Int {
    (1 << bucketBits) + 4 << (bucketBits - Self.groupBits) + count * Self.remainderBytes
  }

  private var shift: UInt64 { UInt64(RevocationMark.bitCount - bucketBits) }

  /// The marks of a bucket, by their places.
  @inline(__always)
  private func range(_ bucket: Int) -> (start: Int, end: Int) {
    // `offsets` and `groups` have one more than there are buckets and groups.
    let start = unsafe Int(groups[bucket >> Self.groupBits]) &+ Int(offsets[bucket])
    let next = bucket &+ 1
    return unsafe (start, Int(groups[next >> Self.groupBits]) &+ Int(offsets[next]))
  }

  @inline(__always)
  private static func load(_ remainders: UnsafeMutableRawPointer, _ place: Int) -> UInt64 {
    // Eight bytes are there behind the last mark's five.
    let word = unsafe remainders.loadUnaligned(fromByteOffset: place &* remainderBytes, as: UInt64.self)
    return UInt64(littleEndian: word) & 0xff_ffff_ffff
  }

  func holds(_ mark: RevocationMark) -> Bool {
    let (start, end) = range(Int(mark.bits >> shift))
    let wanted = mark.bits & ((1 << shift) &- 1)
    for place in start..<end {
      let found = unsafe Self.load(remainders, place)
      if found >= wanted { return found == wanted }
    }
    return false
  }

  /// Hands out all marks in ascending order.
  func forEach(_ body: (RevocationMark) -> Void) {
    for bucket in 0..<(1 << bucketBits) {
      let (start, end) = range(bucket)
      for place in start..<end {
        let bits = unsafe UInt64(bucket) << shift | Self.load(remainders, place)
        if let mark = RevocationMark(bits: bits) { body(mark) }
      }
    }
  }

  /// Fills a segment in two passes over its marks, in any order.
  @safe
  struct Builder {
    let expires: UInt32
    let total: Int
    let bucketBits: Int
    /// How many marks each bucket has; afterwards where the next one of each goes.
    private var places: ContiguousArray<UInt32>
    fileprivate let groups: UnsafeMutablePointer<UInt32>
    fileprivate let offsets: UnsafeMutablePointer<UInt8>
    fileprivate let remainders: UnsafeMutableRawPointer

    /// For exactly `count` marks.
    init(expires: UInt32, count: Int) {
      var bits = 20
      while count >> bits >= 16 { bits += 1 }
      self.expires = expires
      total = count
      bucketBits = bits
      places = ContiguousArray(repeating: 0, count: 1 << bits)
      unsafe groups = .allocate(capacity: 1 << (bits - groupBits) + 1)
      unsafe offsets = .allocate(capacity: 1 << bits + 1)
      unsafe remainders = .allocate(byteCount: count * remainderBytes + 8, alignment: 8)
    }

    private func bucket(_ mark: RevocationMark) -> Int {
      Int(mark.bits >> UInt64(RevocationMark.bitCount - bucketBits))
    }

    /// The first pass.
    mutating func count(_ mark: RevocationMark) { places[bucket(mark)] += 1 }

    /// Between the two.
    mutating func beginPlacing() {
      var next: UInt32 = 0
      var groupStart: UInt32 = 0
      for bucket in places.indices {
        if bucket & (1 << groupBits - 1) == 0 {
          groupStart = next
          unsafe groups[bucket >> groupBits] = next
        }
        // Eight buckets have 128 marks at the most in the mean, and marks are hashes: twice as many do not happen.
        precondition(next - groupStart <= 255, "marks are not spread evenly")
        unsafe offsets[bucket] = UInt8(next - groupStart)
        let count = places[bucket]
        places[bucket] = next
        next += count
      }
      precondition(next == total, "as many marks as were announced")
      unsafe groups[places.count >> groupBits] = next
      unsafe offsets[places.count] = 0
    }

    /// The second pass: puts a mark in order among those of its bucket.
    mutating func put(_ mark: RevocationMark) {
      let bucket = bucket(mark)
      let first = unsafe Int(groups[bucket >> groupBits]) + Int(offsets[bucket])
      let remainder = mark.bits & (1 << UInt64(RevocationMark.bitCount - bucketBits) - 1)
      var place = Int(places[bucket])
      precondition(place < total)
      places[bucket] += 1
      while place > first {
        let before = unsafe RevocationSegment.load(remainders, place - 1)
        if before <= remainder { break }
        store(before, place)
        place -= 1
      }
      store(remainder, place)
    }

    private func store(_ remainder: UInt64, _ place: Int) {
      // The caller's place is below `total`.
      let target = unsafe remainders + place * remainderBytes
      unsafe target.storeBytes(of: UInt32(truncatingIfNeeded: remainder).littleEndian, as: UInt32.self)
      unsafe target.storeBytes(of: UInt8(truncatingIfNeeded: remainder >> 32), toByteOffset: 4, as: UInt8.self)
    }

    /// The segment; the builder must not be used again.
    consuming func finish() -> RevocationSegment { RevocationSegment(self) }
  }
}
