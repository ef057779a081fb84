import CLinux
import Core

/// The bytes a head is parsed from: the one place where the head parsers touch memory.
///
/// Every access is checked against `count`. Wide loads may start at any byte of the window and overshoot its end by
/// ``ByteBuffer/slack``, which the buffer guarantees to be readable; what they find there is never trusted.
@safe
struct HeadWindow: ~Escapable {
  /// For ``HeadTable/scan(_:from:limit:)`` alone, which proves the bounds of what it reads in another way.
  @unsafe let base: UnsafePointer<UInt8>
  let count: Int

  /// The first `limit` bytes of `buffer`; the buffer must hold at least one.
  @_lifetime(borrow buffer)
  init(_ buffer: borrowing ByteBuffer, limit: Int) {
    let bytes = buffer.bytes
    precondition(bytes.byteCount > 0)
    // The lifetime dependence on `buffer` keeps the pointer valid for as long as the window exists.
    unsafe base = bytes.withUnsafeBytes { unsafe $0.baseAddress!.assumingMemoryBound(to: UInt8.self) }
    count = min(bytes.byteCount, limit)
  }

  @inline(__always)
  func byte(_ offset: Int) -> UInt8 {
    precondition(UInt(bitPattern: offset) < UInt(bitPattern: count))
    return unsafe base[offset]
  }

  /// Eight bytes from `offset` on, the first lowest.
  @inline(__always)
  func word(_ offset: Int) -> UInt64 {
    precondition(UInt(bitPattern: offset) < UInt(bitPattern: count))
    return UInt64(littleEndian: unsafe UnsafeRawPointer(base + offset).loadUnaligned(as: UInt64.self))
  }

  /// Up to eight bytes from `offset` on with 0x20 OR-ed into each, zeros behind the `count`-th. Where no control bytes
  /// are, a letter in the result is that letter in either case, and a digit or `-` is itself.
  @inline(__always)
  func folded(_ offset: Int, count: Int) -> UInt64 {
    let word = word(offset) | 0x2020_2020_2020_2020
    return count < 8 ? word & ~(UInt64.max &<< UInt64(truncatingIfNeeded: 8 &* count)) : word
  }

  /// The bytes of `range` for code that is not in a hurry.
  @_lifetime(copy self)
  func span(_ range: ByteRange) -> RawSpan {
    precondition(range.end <= count)
    // Inside the window, which is inside memory that outlives what `self` depends on.
    let span = unsafe RawSpan(_unsafeStart: base + Int(range.start), byteCount: Int(range.count))
    return unsafe _overrideLifetime(span, copying: self)
  }

  /// A bit for each of 16 bytes that equals `byte`.
  @inline(__always)
  func equal16(_ offset: Int, _ byte: UInt8) -> UInt32 {
    precondition(UInt(bitPattern: offset) < UInt(bitPattern: count))
    return unsafe sluice_equal16(base + offset, byte)
  }

  /// A bit for each of 16 bytes that must not stand in a request target unseen.
  @inline(__always)
  func targetStop16(_ offset: Int) -> UInt32 {
    precondition(UInt(bitPattern: offset) < UInt(bitPattern: count))
    return unsafe sluice_target_stop16(base + offset)
  }

  /// A bit for each of 16 bytes that cannot be part of a host name.
  @inline(__always)
  func hostStop16(_ offset: Int) -> UInt32 {
    precondition(UInt(bitPattern: offset) < UInt(bitPattern: count))
    return unsafe sluice_host_stop16(base + offset)
  }

  /// Whether CR and LF stand at `offset`; whether the latter still belongs to the window is for the caller to know.
  @inline(__always)
  func isLineEnd(_ offset: Int) -> Bool { half(offset) == 0x0a0d }

  /// Two bytes from `offset` on, the first lowest.
  @inline(__always)
  func half(_ offset: Int) -> UInt16 {
    precondition(UInt(bitPattern: offset) < UInt(bitPattern: count))
    return UInt16(littleEndian: unsafe UnsafeRawPointer(base + offset).loadUnaligned(as: UInt16.self))
  }

  /// A bit for each of 16 bytes that must be looked at before it is part of a path.
  @inline(__always)
  func pathStop16(_ offset: Int) -> UInt32 {
    precondition(UInt(bitPattern: offset) < UInt(bitPattern: count))
    return unsafe sluice_path_stop16(base + offset)
  }

  /// A bit for each of 16 bytes that is `.` or `/`.
  @inline(__always)
  func dotOrSlash16(_ offset: Int) -> UInt32 {
    precondition(UInt(bitPattern: offset) < UInt(bitPattern: count))
    return unsafe sluice_dot_or_slash16(base + offset)
  }

  /// A bit for each of 32 bytes that is not printable ASCII.
  @inline(__always)
  func unprintable32(_ offset: Int) -> UInt32 {
    precondition(UInt(bitPattern: offset) < UInt(bitPattern: count))
    return unsafe sluice_unprintable32(base + offset)
  }

  /// The raw value of the known name of `count` bytes at `offset`, or 0; see ``FieldNameTable``.
  @unsafe
  @inline(__always)
  func find(_ offset: Int, count: Int, in table: UnsafeRawPointer) -> UInt8 {
    precondition(offset >= 4 && count >= 0 && offset &+ count < self.count)
    return unsafe FieldNameTable.find(base + offset, count: count, in: table)
  }

  /// A bit for each of 64 bytes that is a control byte.
  @inline(__always)
  func control64(_ offset: Int) -> UInt64 {
    precondition(UInt(bitPattern: offset) < UInt(bitPattern: count))
    return unsafe sluice_control64(base + offset)
  }
}

/// What looking for the end of a line leads to: offsets, or these negative results.
enum LineEnd {
  static let incomplete = -1
  static let beyond = -2

  static func refusal(_ fault: HTTPFault) -> Int { -3 &- Int(fault.rawValue) }

  /// The fault in a negative result other than the two above.
  static func fault(_ result: Int) -> HTTPFault { HTTPFault(rawValue: UInt8(-3 - result))! }
}

// A head holds no control bytes but the CRLFs and tabs, so one mask over them finds the ends of lines and proves the
// absence of all others.
extension HeadWindow {
  /// The offset of the first CR from `start` on that an LF follows, if no other control byte but tabs stands before it;
  /// negative as ``LineEnd`` has it for anything else, ``LineEnd/beyond`` if there was nothing to object to up to
  /// `bound` but more bytes follow.
  @inline(__always)
  func lineEnd(from start: Int, notBeyond bound: Int = .max) -> Int {
    var block = start
    while block < count {
      let stops = unprintable32(block)
      if stops != 0 {
        let at = block &+ Int(sluice_lowest(stops))
        if at < count &- 1 && at <= bound && isLineEnd(at) { return at }
        return lineEndBehindOthers(from: at, notBeyond: bound)
      }
      block &+= 32
    }
    return count > bound ? LineEnd.beyond : LineEnd.incomplete
  }

  /// The same for lines that hold tabs or bytes beyond ASCII, and for those that are refused.
  @inline(never)
  func lineEndBehindOthers(from start: Int, notBeyond bound: Int) -> Int {
    var block = start
    while block < count {
      var mask = control64(block)
      while mask != 0 {
        let at = block &+ mask.trailingZeroBitCount
        if at > bound { return count > bound ? LineEnd.beyond : LineEnd.incomplete }
        if at &+ 1 < count && isLineEnd(at) { return at }
        let result = judge(at)
        if result < 0 { return result }
        mask &= mask &- 1
      }
      block &+= 64
    }
    return count > bound ? LineEnd.beyond : LineEnd.incomplete
  }

  /// What a control byte means that is not the CR of a CRLF: 0 for a tab, which may stand in a line.
  private func judge(_ at: Int) -> Int {
    if at >= count { return LineEnd.incomplete }
    switch byte(at) {
    case 9: return 0
    case 10: return LineEnd.refusal(.bareLF)
    case 13: return at &+ 1 >= count ? LineEnd.incomplete : LineEnd.refusal(.bareCR)
    default: return LineEnd.refusal(.controlByte)
    }
  }
}
