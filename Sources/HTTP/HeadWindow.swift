import CLinux
import Core

/// The bytes a head is parsed from: the one place where the head parsers touch memory.
///
/// Every access is checked against `count`. Wide loads may start at any byte of the window and overshoot its end by
/// ``ByteBuffer/slack``, which the buffer guarantees to be readable; what they find there is never trusted.
@safe
struct HeadWindow: ~Escapable {
  private let base: UnsafePointer<UInt8>
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

  /// A bit for each of 64 bytes that is a control byte.
  @inline(__always)
  func control64(_ offset: Int) -> UInt64 {
    precondition(UInt(bitPattern: offset) < UInt(bitPattern: count))
    return unsafe sluice_control64(base + offset)
  }
}

/// Walks from line end to line end. A head holds no control bytes but the CRLFs and tabs, so one mask over them finds
/// the lines and proves the absence of all others.
struct LineCursor {
  /// Offset of the byte that the mask's lowest bit stands for.
  private var block: Int
  /// Control bytes not yet visited.
  private var mask: UInt64

  /// What ``next(_:notBeyond:)`` returns beside offsets; faults are ``refusal(_:)``.
  static let incomplete = -1
  static let beyond = -2

  static func refusal(_ fault: HTTPFault) -> Int { -3 &- Int(fault.rawValue) }

  /// The fault in a negative result other than the two above.
  static func fault(_ result: Int) -> HTTPFault { HTTPFault(rawValue: UInt8(-3 - result))! }

  /// A walk from `offset`, which lies in the window.
  @inline(__always)
  init(_ window: borrowing HeadWindow, at offset: Int) {
    block = offset
    mask = window.control64(offset)
  }

  /// The offset of the next CR that an LF follows, and steps over both; negative for anything else.
  @inline(__always)
  mutating func next(_ window: borrowing HeadWindow, notBeyond bound: Int) -> Int {
    while true {
      while mask == 0 {
        block &+= 64
        if block >= window.count { return window.count > bound ? Self.beyond : Self.incomplete }
        mask = window.control64(block)
      }
      let at = block &+ mask.trailingZeroBitCount
      if at > bound { return window.count > bound ? Self.beyond : Self.incomplete }
      if at &+ 1 < window.count && window.word(at) & 0xffff == 0x0a0d {
        mask &= mask &- 1
        if mask == 0 {
          block &+= 64
          mask = window.control64(block)
        }
        mask &= mask &- 1
        return at
      }
      let result = judge(window, at)
      if result < 0 { return result }
      mask &= mask &- 1
    }
  }

  /// What a control byte means that is not the CR of a CRLF: 0 for a tab, which may stand in a line.
  @inline(never)
  private func judge(_ window: borrowing HeadWindow, _ at: Int) -> Int {
    if at >= window.count { return Self.incomplete }
    switch window.byte(at) {
    case 9: return 0
    case 10: return Self.refusal(.bareLF)
    case 13: return at &+ 1 >= window.count ? Self.incomplete : Self.refusal(.bareCR)
    default: return Self.refusal(.controlByte)
    }
  }
}
