// The old part of a node's revocations: ten million of them in less than seventy megabytes, and a name that is not among
// them is known in one look at memory.
//
// First a blocked Bloom filter of ten bits for each (Putze, Sanders and Singler 2007): all bits of a mark lie in one line
// of the cache, and one mark in a hundred passes it that is not there. Behind it the marks themselves, sorted: twenty bits
// say in which of a million buckets one is, the other forty are kept in five bytes; a bucket has ten of them. What ends
// at about the same time shares a segment, which is left out when all of it is over. Rejected: a cuckoo filter, which is a
// third of the size and wrong once in eight thousand names; a Set, which takes 150 MB.

import Core
import Glibc

/// Marks of revocations, sorted and packed. Immutable; made whole.
final class RevocationBase: Sendable {
  /// The most segments: each has an index of 1.5 MB.
  static let segmentLimit = 4

  let segments: [RevocationSegment]
  let count: Int
  private let filter: MarkFilter

  /// The marks of what can be packed in `source`, which is asked three times. What is over by `now` is left out. Takes some
  /// 100 ns a mark, and no memory but its own and 4 MB.
  init(_ source: some RevocationSource, now: UInt32) {
    func forEach(_ body: (RevocationMark, UInt32) -> Void) {
      source.forEach { if $0.isCompact && $0.expires > now { body($0.mark, $0.expires) } }
    }
    var counts: [UInt32: Int] = [:]
    var last: (raw: UInt32, window: UInt32) = (0, 0)
    func window(_ expires: UInt32) -> UInt32 {
      if expires != last.raw { last = (expires, RevocationWindow.end(of: expires, now: now)) }
      return last.window
    }
    forEach { _, expires in counts[window(expires), default: 0] += 1 }
    let ends = RevocationWindow.merged(counts, limit: Self.segmentLimit)
    var total: [UInt32: Int] = [:]
    for (window, count) in counts { total[ends[window] ?? window, default: 0] += count }
    let filter = MarkFilter(count: total.values.reduce(0, +))
    var builders = total.map { RevocationSegment.Builder(expires: $0.key, count: $0.value) }
      .sorted { $0.expires < $1.expires }
    var places: [UInt32: Int] = [:]
    for (window, end) in ends { places[window] = builders.firstIndex { $0.expires == end } }
    var recent: (window: UInt32, place: Int) = (0, 0)
    func place(_ expires: UInt32) -> Int {
      let window = window(expires)
      if window != recent.window { recent = (window, places[window] ?? 0) }
      return recent.place
    }
    forEach { mark, expires in builders[place(expires)].count(mark) }
    for index in builders.indices { builders[index].beginPlacing() }
    forEach { mark, expires in
      builders[place(expires)].put(mark)
      filter.insert(mark)
    }
    segments = builders.map { $0.finish() }
    self.filter = filter
    count = segments.reduce(0) { $0 + $1.count }
  }

  /// The second at which a mark is over; 0 where it is not here.
  @inline(__always)
  func find(_ mark: RevocationMark) -> UInt32 { filter.mayHold(mark) ? search(mark) : 0 }

  @inline(never)
  private func search(_ mark: RevocationMark) -> UInt32 {
    var expires: UInt32 = 0
    for segment in segments where segment.expires > expires && segment.holds(mark) { expires = segment.expires }
    return expires
  }

  /// Hands out every mark and when it is over, segment by segment in ascending order.
  func forEach(_ body: (RevocationMark, UInt32) -> Void) {
    for segment in segments { segment.forEach { body($0, segment.expires) } }
  }

  /// Bytes of memory.
  var byteCount: Int { filter.byteCount + segments.reduce(0) { $0 + $1.byteCount } }
}

/// By when revocations are taken together: windows of six hours for what ends within a day, of four days within sixteen,
/// of 64 days beyond. An end is moved to its window's: never earlier, and moving it again changes nothing.
enum RevocationWindow {
  private static let hour: UInt32 = 3600

  static func end(of expires: UInt32, now: UInt32) -> UInt32 {
    let rest = expires - min(now, expires)
    if rest <= 24 * hour { return rounded(expires, to: 6 * hour) }
    if rest <= 384 * hour { return rounded(expires, to: 96 * hour) }
    return rounded(expires, to: 1536 * hour)
  }

  private static func rounded(_ expires: UInt32, to step: UInt32) -> UInt32 {
    let (sum, overflow) = expires.addingReportingOverflow(step - 1)
    return overflow ? Revocation.never : sum / step * step
  }

  /// Where each window's members go so that there are at most `limit`: the smallest joins the next later one.
  static func merged(_ counts: [UInt32: Int], limit: Int) -> [UInt32: UInt32] {
    var groups = counts.keys.sorted().map { (end: $0, members: [$0], count: counts[$0] ?? 0) }
    while groups.count > limit {
      let smallest = groups.indices.dropLast().min { groups[$0].count < groups[$1].count } ?? 0
      groups[smallest + 1].members += groups[smallest].members
      groups[smallest + 1].count += groups[smallest].count
      groups.remove(at: smallest)
    }
    var ends: [UInt32: UInt32] = [:]
    for group in groups { for member in group.members { ends[member] = group.end } }
    return ends
  }
}

/// A Bloom filter of blocks of 64 bytes, each a line of the cache, on huge pages: a look misses the cache once and its
/// address's translation never. Filled by whoever makes it, immutable afterwards.
///
/// `@unchecked`: the memory belongs to it alone and is not changed once it is shared.
@safe
final class MarkFilter: @unchecked Sendable {
  private static let bitsPerMark = 10
  private static let probes = 6

  private let pages: ZeroedPages
  private let words: UnsafeMutablePointer<UInt64>
  private let blockCount: UInt64

  init(count: Int) {
    blockCount = UInt64(max(1, (count * Self.bitsPerMark + 511) / 512))
    pages = ZeroedPages(byteCount: Int(blockCount) * 64, isHuge: true)
    unsafe words = pages.start.bindMemory(to: UInt64.self, capacity: Int(blockCount) * 8)
  }

  var byteCount: Int { Int(blockCount) * 64 }

  /// The first word of a mark's block.
  @inline(__always)
  private func block(_ mark: RevocationMark) -> Int {
    // Below `blockCount`, since the other factor is below 2⁶⁴.
    Int(truncatingIfNeeded: (mark.bits << 4).multipliedFullWidth(by: blockCount).high &<< 3)
  }

  /// Six numbers of nine bits: which bits of its block belong to a mark.
  @inline(__always)
  private func pattern(_ mark: RevocationMark) -> UInt64 { mark.bits &* 0x9e37_79b9_7f4a_7c15 &>> 10 }

  func insert(_ mark: RevocationMark) {
    let block = block(mark)
    var pattern = pattern(mark)
    for _ in 0..<Self.probes {
      // 512 bits are eight words.
      unsafe words[block &+ Int(pattern >> 6 & 7)] |= 1 << (pattern & 63)
      pattern >>= 9
    }
  }

  @inline(__always)
  func mayHold(_ mark: RevocationMark) -> Bool {
    let block = block(mark)
    var pattern = pattern(mark)
    for _ in 0..<Self.probes {
      if unsafe words[block &+ Int(pattern >> 6 & 7)] >> (pattern & 63) & 1 == 0 { return false }
      pattern >>= 9
    }
    return true
  }
}
