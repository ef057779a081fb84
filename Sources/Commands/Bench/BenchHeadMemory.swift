import Core
import Glibc
import HTTP

/// The head of the last response and what it meant.
///
/// A server that answers the same question twice within a second sends the same head but for a counter, often exactly
/// the same. Equal bytes mean an equal head, so nothing is assumed: this is a comparison, not a guess.
final class BenchHeadMemory {
  /// Heads beyond this are parsed each time.
  static let byteLimit = 1024

  private(set) var status = 0
  private(set) var framing = BodyFraming.none
  private(set) var keepsAlive = false
  private var known: [UInt8] = []

  /// Remembers a complete head, of `count` bytes at the front of `bytes`.
  func learn(_ bytes: RawSpan, count: Int, status: Int, framing: BodyFraming, keepsAlive: Bool) {
    known.removeAll(keepingCapacity: true)
    guard count <= Self.byteLimit else { return }
    for index in 0..<count { known.append(bytes[byte: index]) }
    self.status = status
    self.framing = framing
    self.keepsAlive = keepsAlive
  }

  /// The length of the known head where `bytes` begin with it; 0 where they do not.
  @inline(__always)
  func match(_ bytes: RawSpan) -> Int {
    let count = known.count
    guard count > 0, bytes.byteCount >= count else { return 0 }
    // Both sides have at least `count` bytes.
    let difference = unsafe bytes.withUnsafeBytes { left in
      unsafe known.withUnsafeBytes { right in unsafe memcmp(left.baseAddress!, right.baseAddress!, count) }
    }
    return difference == 0 ? count : 0
  }
}

extension RawSpan {
  /// The byte at `index`.
  @inline(__always)
  fileprivate subscript(byte index: Int) -> UInt8 {
    // Checked; marked unsafe only because the load is generic.
    unsafe unsafeLoad(fromByteOffset: index, as: UInt8.self)
  }
}
