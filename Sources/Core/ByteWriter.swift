import CLinux
import Glibc

/// Writes small pieces one behind the other into memory that was reserved for them all. Every piece is checked against the
/// limit; where lengths are literals the checks cost nothing, since the compiler does the sum.
@safe
public struct ByteWriter {
  @usableFromInline let base: UnsafeMutableRawPointer
  @usableFromInline let limit: Int
  /// How many bytes have been written.
  @usableFromInline var count = 0

  @inlinable
  @inline(__always)
  init(_ memory: UnsafeMutableRawBufferPointer) {
    // Empty memory needs no address, since nothing can be written to it.
    unsafe base = memory.baseAddress ?? UnsafeMutableRawPointer(bitPattern: 1)!
    limit = memory.count
  }

  /// Makes sure of room for `size` bytes, and returns where they go.
  @inlinable
  @inline(__always)
  mutating func place(_ size: Int) -> UnsafeMutableRawPointer {
    precondition(size >= 0 && size <= limit &- count)
    defer { count &+= size }
    return unsafe base + count
  }

  /// A literal of two characters or more.
  @inlinable
  @inline(__always)
  public mutating func literal(_ text: StaticString) {
    precondition(text.hasPointerRepresentation)
    let size = text.utf8CodeUnitCount
    unsafe memcpy(place(size), text.utf8Start, size)
  }

  /// One byte.
  @inlinable
  @inline(__always)
  public mutating func byte(_ value: UInt8) { unsafe place(1).storeBytes(of: value, as: UInt8.self) }

  /// The sixteen lower-case hexadecimal digits of a number.
  @inlinable
  @inline(__always)
  public mutating func hexadecimal(_ value: UInt64) {
    unsafe sluice_hexadecimal16(value, place(16).assumingMemoryBound(to: UInt8.self))
  }

  /// The 32 lower-case hexadecimal digits of two numbers.
  @inlinable
  @inline(__always)
  public mutating func hexadecimal(_ high: UInt64, _ low: UInt64) {
    unsafe sluice_hexadecimal32(high, low, place(32).assumingMemoryBound(to: UInt8.self))
  }

  /// The two lower-case hexadecimal digits of a byte.
  @inlinable
  @inline(__always)
  public mutating func hexadecimal(_ value: UInt8) {
    let (high, low) = (value >> 4, value & 15)
    byte(high < 10 ? 48 &+ high : 87 &+ high)
    byte(low < 10 ? 48 &+ low : 87 &+ low)
  }
}

/// The 32 lower-case hexadecimal digits of a 128-bit number, made once and written often.
public struct HexadecimalText: BitwiseCopyable, Sendable {
  @usableFromInline var front = SIMD16<UInt8>()
  @usableFromInline var back = SIMD16<UInt8>()

  /// No digits yet: zero bytes.
  @inlinable
  @inline(__always)
  public init() {}

  /// The digits of `high` and then those of `low`.
  @inlinable
  @inline(__always)
  public init(_ high: UInt64, _ low: UInt64) {
    unsafe withUnsafeMutableBytes(of: &self) {
      // The value is 32 bytes, and nothing else.
      unsafe sluice_hexadecimal32(high, low, $0.baseAddress!.assumingMemoryBound(to: UInt8.self))
    }
  }
}

extension ByteWriter {
  /// The digits of a number that were made before.
  @inlinable
  @inline(__always)
  public mutating func text(_ text: HexadecimalText) { unsafe place(32).storeBytes(of: text, as: HexadecimalText.self) }
}
