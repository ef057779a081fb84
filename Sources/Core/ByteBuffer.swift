import CLinux
import Glibc

/// A growable run of bytes with a cursor at each end: received at the back, consumed from the front.
///
/// It is a class so that a span of it can be lent while its owner's other fields change; it is not `Sendable` and
/// belongs to one loop. Storage always has ``slack`` readable bytes behind the last byte, so that vector scans may
/// overshoot. Appending is amortised constant; nothing shrinks by itself.
@safe
public final class ByteBuffer {
  /// Readable bytes behind the last one, for scans that take 64 at a time.
  public static let slack = 64

  // Plain properties: every room touches buffers all the time, and a second object would be a second cache line. The
  // build without exclusivity checks (release) makes them as cheap as a pointer's.
  @usableFromInline var base: UnsafeMutableRawPointer
  @usableFromInline var start = 0
  @usableFromInline var end = 0
  @usableFromInline var room: Int

  /// How many bytes fit without a new allocation.
  @inlinable
  public var capacity: Int { room }

  /// An empty buffer that holds `capacity` bytes before it grows; 0 allocates nothing but the slack.
  public init(capacity: Int = 0) {
    precondition(capacity >= 0)
    room = capacity
    unsafe base = Self.allocate(capacity)
  }

  deinit { unsafe base.deallocate() }

  private static func allocate(_ capacity: Int) -> UnsafeMutableRawPointer {
    let memory = UnsafeMutableRawPointer.allocate(byteCount: capacity + slack, alignment: 16)
    unsafe (memory + capacity).initializeMemory(as: UInt8.self, repeating: 0, count: slack)
    return unsafe memory
  }

  /// How many bytes wait to be consumed.
  public var count: Int { end &- start }

  /// Whether nothing waits to be consumed.
  public var isEmpty: Bool { end == start }

  /// The bytes that wait, valid until the buffer is next changed.
  public var bytes: RawSpan {
    @_lifetime(borrow self)
    get {
      // `start` and `end` never leave the allocation, and `self` owns it.
      let span = unsafe RawSpan(_unsafeStart: base + start, byteCount: end &- start)
      return unsafe _overrideLifetime(span, borrowing: self)
    }
  }

  /// The byte at `offset` from the first waiting one.
  public subscript(offset: Int) -> UInt8 {
    get {
      precondition(offset >= 0 && offset < count)
      return unsafe (base + start + offset).load(as: UInt8.self)
    }
    set {
      precondition(offset >= 0 && offset < count)
      unsafe (base + start + offset).storeBytes(of: newValue, as: UInt8.self)
    }
  }

  /// Drops the first `count` bytes.
  public func consume(_ count: Int) {
    precondition(count >= 0 && count <= self.count)
    start &+= count
    if start == end {
      start = 0
      end = 0
    }
  }

  /// Drops the bytes behind the first `count`.
  public func truncate(to count: Int) {
    precondition(count >= 0 && count <= self.count)
    end = start &+ count
  }

  /// Drops all bytes and keeps the storage.
  @inlinable
  @inline(__always)
  public func removeAll() {
    start = 0
    end = 0
  }

  /// Drops all bytes, and the storage too where it is larger than `capacity`.
  @inlinable
  @inline(__always)
  public func removeAll(keeping capacity: Int) {
    removeAll()
    if self.capacity > capacity { shrink(to: capacity) }
  }

  @usableFromInline func shrink(to capacity: Int) {
    unsafe base.deallocate()
    unsafe base = Self.allocate(capacity)
    room = capacity
  }

  /// Lets `body` write at most `limit` bytes behind the last one, piece by piece; room is asked for once.
  @inlinable
  @inline(__always)
  public func write(limit: Int, _ body: (inout ByteWriter) -> Void) {
    unsafe append(limit: limit) { memory in
      var writer = unsafe ByteWriter(memory)
      body(&writer)
      return writer.count
    }
  }

  /// Makes room for `count` more bytes: moves what waits to the front or into larger storage.
  public func reserve(_ count: Int) {
    precondition(count >= 0)
    guard room &- end < count else { return }
    let waiting = self.count
    if capacity - waiting >= count {
      unsafe memmove(base, base + start, waiting)
    } else {
      let larger = max(waiting + count, capacity * 2, 256)
      let memory = unsafe Self.allocate(larger)
      unsafe memcpy(memory, base + start, waiting)
      unsafe base.deallocate()
      unsafe base = memory
      room = larger
    }
    start = 0
    end = waiting
  }

  /// Lets `body` write at most `limit` bytes behind the last one; `body` returns how many it wrote.
  @inlinable
  @inline(__always)
  public func append(limit: Int, _ body: (UnsafeMutableRawBufferPointer) -> Int) {
    if limit < 0 || room &- end < limit { reserve(limit) }
    let written = unsafe body(UnsafeMutableRawBufferPointer(start: base + end, count: limit))
    precondition(written >= 0 && written <= limit)
    end &+= written
  }

  /// Appends one byte.
  public func append(_ byte: UInt8) {
    if room == end { reserve(1) }
    unsafe (base + end).storeBytes(of: byte, as: UInt8.self)
    end &+= 1
  }

  /// Appends a copy of `bytes`, which must not lie in this buffer.
  @inlinable
  @inline(__always)
  public func append(_ bytes: RawSpan) {
    let count = bytes.byteCount
    if count == 0 { return }
    if room &- end < count { reserve(count) }
    let target = unsafe base + end
    unsafe bytes.withUnsafeBytes { source in
      if let address = source.baseAddress { unsafe memcpy(target, address, count) }
    }
    end &+= count
  }

  /// Appends the text of a literal of two characters or more.
  @inlinable
  @inline(__always)
  public func append(_ text: StaticString) {
    precondition(text.hasPointerRepresentation)
    let count = text.utf8CodeUnitCount
    if room &- end < count { reserve(count) }
    unsafe memcpy(base + end, text.utf8Start, count)
    end &+= count
  }

  /// Appends the elements of an array.
  public func append(_ bytes: [UInt8]) { unsafe append(bytes.span.bytes) }

  /// Appends a string as UTF-8.
  public func append(utf8 text: String) {
    var text = text
    text.withUTF8 { unsafe append(RawSpan(_unsafeElements: $0)) }
  }

  /// Appends a number in decimal.
  public func append(decimal value: Int64) {
    if value < 0 { append(UInt8(ascii: "-")) }
    append(decimal: value.magnitude)
  }

  /// Appends a number in decimal.
  public func append(decimal value: UInt64) {
    if value >= DecimalDigits.bound {
      append(decimal: value / DecimalDigits.bound)
      if room &- end < 8 { reserve(8) }
      let digits = DecimalDigits.eight(value % DecimalDigits.bound)
      unsafe (base + end).storeBytes(of: digits.littleEndian, as: UInt64.self)
      end &+= 8
      return
    }
    if room &- end < 8 { reserve(8) }
    let (digits, count) = DecimalDigits.significant(value)
    unsafe (base + end).storeBytes(of: digits.littleEndian, as: UInt64.self)
    end &+= count
  }

  /// Appends a number in lower-case hexadecimal, padded with zeros to `minimumDigits`, 1 to 16.
  @inline(__always)
  public func append(hexadecimal value: UInt64, minimumDigits: Int = 1) {
    if room &- end < 16 { reserve(16) }
    unsafe sluice_hexadecimal16(value, (base + end).assumingMemoryBound(to: UInt8.self))
    let needed = max((64 &- value.leadingZeroBitCount &+ 3) / 4, minimumDigits)
    if needed < 16 { unsafe memmove(base + end, base + (end &+ 16 &- needed), needed) }
    end &+= needed
  }

  /// Appends the 32 hexadecimal digits of a 128-bit number.
  public func append(hexadecimal high: UInt64, _ low: UInt64) {
    if room &- end < 32 { reserve(32) }
    let target = unsafe (base + end).assumingMemoryBound(to: UInt8.self)
    unsafe sluice_hexadecimal16(high, target)
    unsafe sluice_hexadecimal16(low, target + 16)
    end &+= 32
  }
}

extension RawSpan {
  /// The elements of a contiguous array of bytes.
  @_lifetime(borrow bytes)
  public init(_ bytes: borrowing [UInt8]) { self = unsafe bytes.span.bytes }
}
