import COpenSSL
import Core
import Glibc

/// The keys that session tickets are sealed with (RFC 8446 section 4.6.1, RFC 5077). Tickets hold all there is to know of
/// a session, so that nothing is kept, and any node that has the keys resumes it. Immutable.
public final class TLSTicketKeys: Sendable {
  /// Bytes that a key is made from.
  public static let seedBytes = 80

  struct Key: Equatable {
    let name: [UInt8]
    let cipher: [UInt8]
    let code: [UInt8]
  }

  /// The first seals; all open.
  let keys: [Key]

  /// Keys from seeds of ``seedBytes`` bytes each: the first seals new tickets, the others open those of before and, where
  /// clocks differ, of after. At least one.
  public init(seeds: [[UInt8]]) {
    precondition(!seeds.isEmpty)
    keys = seeds.map { seed in
      precondition(seed.count == Self.seedBytes)
      return Key(name: Array(seed[..<16]), cipher: Array(seed[16..<48]), code: Array(seed[48...]))
    }
  }

  /// Prepares OpenSSL's contexts to seal a ticket, or to open the one whose key is called `name`. Returns what OpenSSL wants
  /// to hear: 1 done, 2 done and the ticket should be replaced, 0 no such key, -1 failure.
  func prepare(
    _ name: UnsafeMutablePointer<UInt8>, _ iv: UnsafeMutablePointer<UInt8>, _ cipher: OpaquePointer?,
    _ code: OpaquePointer?, seals: Bool
  ) -> Int32 {
    var key = keys[0]
    if seals {
      guard unsafe RAND_bytes(iv, 16) == 1 else { return -1 }
      for index in 0..<16 { unsafe name[index] = key.name[index] }
    } else {
      let found = keys.first { key in (0..<16).allSatisfy { unsafe key.name[$0] == name[$0] } }
      guard let found else { return 0 }
      key = found
    }
    guard unsafe EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), nil, key.cipher, iv, seals ? 1 : 0) == 1,
      unsafe setCode(code, key.code)
    else { return -1 }
    // Clients use a ticket once, so that nobody can tell that two connections are one's (RFC 8446 appendix C.4).
    return seals ? 1 : 2
  }

  private func setCode(_ context: OpaquePointer?, _ key: [UInt8]) -> Bool {
    var (key, digest) = (key, Array("SHA256".utf8CString))
    // OpenSSL copies both before it returns.
    return unsafe key.withUnsafeMutableBytes { key in
      unsafe digest.withUnsafeMutableBufferPointer { digest in
        var parameters = unsafe [
          OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key.baseAddress, key.count),
          OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest.baseAddress, 0),
          OSSL_PARAM_construct_end(),
        ]
        return unsafe EVP_MAC_CTX_set_params(context, &parameters) == 1
      }
    }
  }
}
