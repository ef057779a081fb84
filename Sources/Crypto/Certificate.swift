import COpenSSL
import Core
import Glibc

/// One certificate (RFC 5280), as OpenSSL has read it.
@safe
final class Certificate {
  let handle: OpaquePointer

  /// Takes over OpenSSL's object.
  init(owning handle: OpaquePointer) { unsafe self.handle = handle }

  deinit { unsafe X509_free(handle) }

  /// The time that a certificate says, in whole seconds; 1970 where it says none.
  static func time(_ text: UnsafePointer<ASN1_TIME>?) -> WallTime {
    var fields = unsafe tm()
    guard unsafe ASN1_TIME_to_tm(text, &fields) == 1 else { return WallTime(microseconds: 0) }
    return WallTime(microseconds: Int64(unsafe timegm(&fields)) * 1_000_000)
  }

  /// The alternative names of one kind (`GEN_DNS`, `GEN_URI`, …), as they stand there.
  func alternatives(_ wanted: Int32) -> [String] {
    guard let names = unsafe X509_get_ext_d2i(handle, NID_subject_alt_name, nil, nil) else { return [] }
    let stack = OpaquePointer(names)
    defer { unsafe GENERAL_NAMES_free(stack) }
    var texts: [String] = []
    for index in 0..<max(unsafe OPENSSL_sk_num(stack), 0) {
      guard let name = unsafe OPENSSL_sk_value(stack, index) else { continue }
      var kind: Int32 = 0
      let value = unsafe GENERAL_NAME_get0_value(name.assumingMemoryBound(to: GENERAL_NAME.self), &kind)
      // All kinds that are asked for are strings.
      guard kind == wanted, let value = unsafe value else { continue }
      let string = unsafe value.assumingMemoryBound(to: ASN1_STRING.self)
      let bytes = unsafe UnsafeBufferPointer(
        start: ASN1_STRING_get0_data(string), count: Int(ASN1_STRING_length(string)))
      if let text = unsafe String(validating: bytes, as: UTF8.self), !text.utf8.contains(0) { texts.append(text) }
    }
    return texts
  }

  /// The host names that it is good for, lower case; the common name where there are no alternatives (as before RFC 6125).
  var hosts: [String] {
    let names = alternatives(GEN_DNS)
    if !names.isEmpty { return names.map { $0.lowercased() } }
    return commonName.map { [$0.lowercased()] } ?? []
  }

  /// The common name of the subject; nil where there is none.
  var commonName: String? {
    guard let subject = unsafe X509_get_subject_name(handle) else { return nil }
    var text = [CChar](repeating: 0, count: 256)
    let count = unsafe X509_NAME_get_text_by_NID(subject, NID_commonName, &text, Int32(text.count))
    guard count > 0 else { return nil }
    return String(validating: text[..<Int(count)].map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  /// Those that were found to lead from the peer's own certificate to the root, without these two.
  static func between(_ session: OpaquePointer) -> [Certificate] {
    guard let chain = unsafe SSL_get0_verified_chain(session) else { return [] }
    return (1..<max(unsafe OPENSSL_sk_num(chain) - 1, 1)).compactMap { index in
      guard let one = unsafe OPENSSL_sk_value(chain, index) else { return nil }
      // The list keeps its own reference.
      let handle = OpaquePointer(one)
      unsafe X509_up_ref(handle)
      return unsafe Certificate(owning: handle)
    }
  }

  /// Its bytes in DER form.
  var der: [UInt8] {
    let count = unsafe Int(i2d_X509(handle, nil))
    guard count > 0 else { return [] }
    var bytes = [UInt8](repeating: 0, count: count)
    unsafe bytes.withUnsafeMutableBufferPointer { buffer in
      // As many bytes as OpenSSL has just asked for.
      var place = buffer.baseAddress
      _ = unsafe i2d_X509(handle, &place)
    }
    return bytes
  }
}

/// A list of certificates that an authority has revoked (RFC 5280 section 5).
@safe
final class RevocationList {
  let handle: OpaquePointer

  /// Takes over OpenSSL's object.
  init(owning handle: OpaquePointer) { unsafe self.handle = handle }

  deinit { unsafe X509_CRL_free(handle) }
}

/// What stands in texts of PEM form (RFC 7468).
enum PEMText {
  /// All certificates of `text`; throws beyond `limit`.
  static func certificates(_ text: [UInt8], limit: Int) throws(TLSFault) -> [Certificate] {
    unsafe try all(text, limit) { buffer in
      unsafe PEM_read_bio_X509(buffer, nil, nil, nil).map { unsafe Certificate(owning: $0) }
    }
  }

  /// All revocation lists of `text`; throws beyond `limit`.
  static func revocationLists(_ text: [UInt8], limit: Int) throws(TLSFault) -> [RevocationList] {
    unsafe try all(text, limit) { buffer in
      unsafe PEM_read_bio_X509_CRL(buffer, nil, nil, nil).map { unsafe RevocationList(owning: $0) }
    }
  }

  private static func all<Found>(
    _ text: [UInt8], _ limit: Int, _ next: (OpaquePointer) -> Found?
  ) throws(TLSFault) -> [Found] {
    var found: [Found] = []
    ERR_clear_error()
    unsafe withBuffer(text) { buffer in
      while found.count <= limit, let one = unsafe next(buffer) { found.append(one) }
    }
    if found.count > limit { throw TLSFault("there are more than \(limit) of them") }
    // The end of the text is an error for OpenSSL: that nothing begins any more.
    let code = ERR_peek_last_error()
    guard sluice_error_library(code) == ERR_LIB_PEM, sluice_error_reason(code) == PEM_R_NO_START_LINE else {
      throw TLSFault("number \(found.count + 1) of the PEM text cannot be read", code)
    }
    ERR_clear_error()
    return found
  }

  /// The first private key of `text`, which the caller has to free; nil where there is none that needs no password.
  static func key(_ text: [UInt8]) -> OpaquePointer? {
    defer { ERR_clear_error() }
    return unsafe withBuffer(text) { buffer in
      // Without a function of ours OpenSSL would ask the terminal.
      unsafe PEM_read_bio_PrivateKey(buffer, nil, { _, _, _, _ in 0 }, nil)
    }
  }

  /// The first public key of `text`, which the caller has to free; nil where there is none.
  static func publicKey(_ text: [UInt8]) -> OpaquePointer? {
    defer { ERR_clear_error() }
    return unsafe withBuffer(text) { buffer in unsafe PEM_read_bio_PUBKEY(buffer, nil, nil, nil) }
  }

  private static func withBuffer<Result>(_ text: [UInt8], _ body: (OpaquePointer) -> Result) -> Result {
    unsafe text.withUnsafeBytes { bytes in
      // Reads where the text lies; both are gone when this returns. OpenSSL takes no null pointer, even of nothing.
      let start = unsafe bytes.baseAddress ?? UnsafeRawPointer(bitPattern: 8)
      guard let buffer = unsafe BIO_new_mem_buf(start, Int32(bytes.count)) else { preconditionFailure("out of memory") }
      defer { unsafe BIO_free(buffer) }
      return unsafe body(buffer)
    }
  }
}
