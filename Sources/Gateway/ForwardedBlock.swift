import Core
import Glibc
import HTTP

/// The field lines that tell an upstream where a request came from, for the caller that was seen last.
///
/// A keep-alive connection sends them unchanged with every request, and formatting them costs as much as parsing the
/// request: so the last block is kept and used again while address and host are the same.
final class ForwardedBlock {
  private let lines = ByteBuffer(capacity: 256)
  private let authority = ByteBuffer(capacity: 64)
  private var address = IPAddress(high: 0, low: 0)
  private var isSecure = false

  /// Appends the lines for a request from `address` to `host`.
  @inline(__always)
  func append(_ address: IPAddress, _ host: RawSpan, isSecure: Bool, to buffer: ByteBuffer) {
    let (known, lines) = (authority, lines)
    if address != self.address || isSecure != self.isSecure || lines.isEmpty || !host.equals(known.bytes) {
      remember(address, host, isSecure: isSecure)
    }
    buffer.append(lines.bytes)
  }

  private func remember(_ address: IPAddress, _ host: RawSpan, isSecure: Bool) {
    self.address = address
    self.isSecure = isSecure
    authority.removeAll()
    authority.append(host)
    write()
  }

  private func write() {
    let host = authority
    lines.removeAll()
    lines.append("X-Forwarded-For: ")
    address.append(to: lines)
    if isSecure { lines.append("\r\nX-Forwarded-Proto: https") } else { lines.append("\r\nX-Forwarded-Proto: http") }
    if !host.isEmpty {
      lines.append("\r\nX-Forwarded-Host: ")
      lines.append(host.bytes)
    }
    lines.append("\r\n")
    Self.writeForwarded(address, host.bytes, isSecure, into: lines)
  }

  /// RFC 7239: an IPv6 address is quoted since it holds colons, and so is the host, which may.
  static func writeForwarded(_ address: IPAddress, _ host: RawSpan, _ isSecure: Bool, into buffer: ByteBuffer) {
    buffer.append("Forwarded: for=")
    if address.isV4 {
      address.append(to: buffer)
    } else {
      buffer.append("\"[")
      address.append(to: buffer)
      buffer.append("]\"")
    }
    if isSecure { buffer.append(";proto=https") } else { buffer.append(";proto=http") }
    if !host.isEmpty {
      buffer.append(";host=\"")
      buffer.append(host)
      buffer.append(UInt8(ascii: "\""))
    }
    buffer.append("\r\n")
  }
}

extension RawSpan {
  /// Whether both hold the same bytes; fast where they are eight to sixteen.
  @inline(__always)
  func equals(_ other: RawSpan) -> Bool {
    guard byteCount == other.byteCount else { return false }
    guard byteCount >= 8, byteCount <= 16 else { return equalsAtLength(other) }
    return word(0) == other.word(0) && word(byteCount &- 8) == other.word(byteCount &- 8)
  }

  @inline(__always)
  private func word(_ offset: Int) -> UInt64 {
    unsafe unsafeLoadUnaligned(fromUncheckedByteOffset: offset, as: UInt64.self)
  }

  @inline(never)
  private func equalsAtLength(_ other: RawSpan) -> Bool {
    unsafe withUnsafeBytes { left in
      unsafe other.withUnsafeBytes { right in
        // Both have `byteCount` bytes; memcmp does not look at null pointers of nothing.
        unsafe left.count == 0 || memcmp(left.baseAddress!, right.baseAddress!, left.count) == 0
      }
    }
  }
}
