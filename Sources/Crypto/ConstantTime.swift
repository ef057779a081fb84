import COpenSSL
import Core

/// Comparisons of secrets.
public enum ConstantTime {
  /// Whether both hold the same bytes, in a time that depends on their lengths only.
  public static func equal(_ left: RawSpan, _ right: RawSpan) -> Bool {
    guard left.byteCount == right.byteCount else { return false }
    if left.byteCount == 0 { return true }
    return unsafe left.withUnsafeBytes { first in
      unsafe right.withUnsafeBytes { second in
        // Both spans are `first.count` bytes long and outlive the call.
        unsafe CRYPTO_memcmp(first.baseAddress, second.baseAddress, first.count) == 0
      }
    }
  }
}

/// Random bytes fit for keys, from OpenSSL's generator.
public enum SecureRandom {
  /// `count` bytes; stops the process where the system has no randomness, since no secret may come from less.
  public static func bytes(_ count: Int) -> [UInt8] {
    precondition(count >= 0 && count <= 1 << 20)
    var bytes = [UInt8](repeating: 0, count: count)
    let isFilled = unsafe bytes.withUnsafeMutableBufferPointer { buffer in
      // The buffer is `count` bytes long.
      unsafe RAND_bytes(buffer.baseAddress, Int32(count)) == 1
    }
    precondition(isFilled || count == 0, "no randomness")
    return bytes
  }
}
