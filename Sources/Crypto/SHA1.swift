import COpenSSL
import Core

/// SHA-1 (FIPS 180-4), for protocols that name it where nothing depends on its strength: the WebSocket handshake.
public enum SHA1 {
  /// The 20 bytes of the digest of `bytes`. Fetches the algorithm each time, about a microsecond.
  public static func digest(of bytes: RawSpan) -> [UInt8] {
    var digest = [UInt8](repeating: 0, count: 20)
    let isDone = unsafe bytes.withUnsafeBytes { input in
      // 20 bytes are exactly what SHA-1 writes.
      unsafe digest.withUnsafeMutableBytes { output in
        unsafe EVP_Digest(
          input.baseAddress, input.count, output.baseAddress?.assumingMemoryBound(to: UInt8.self), nil, EVP_sha1(), nil)
      }
    }
    precondition(isDone == 1, "OpenSSL could not compute SHA-1")
    return digest
  }
}
