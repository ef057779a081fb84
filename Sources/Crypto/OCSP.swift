// What an authority says of a certificate that it has issued (RFC 6960): the question, and what is to be held of an answer.

import COpenSSL
import Core

/// The question for one certificate: what it is, where it is asked, and the judgement of answers. Immutable.
@safe
public final class OCSPInquiry: @unchecked Sendable {
  // `@unchecked`: certificates are only read once they are made, which OpenSSL allows on several threads.
  private let leaf: Certificate
  private let issuer: Certificate

  /// The address that the certificate names for it: `http://…`.
  public let responder: String
  /// What is asked, in DER form: for the body of a POST with the type `application/ocsp-request` (RFC 6960 appendix A.1).
  public let request: [UInt8]

  /// The longest answer that is looked at, in bytes.
  public static let longestAnswer = 65_536
  /// How far ahead of this node's clock an authority's may be, in seconds.
  private static let clockSkew: Int64 = 300

  /// The question for the certificate of `credential`. Throws where the certificate names no responder of plain HTTP, or its
  /// issuer does not follow it in its file.
  public init(_ credential: TLSCredential) throws(TLSFault) {
    ERR_clear_error()
    leaf = credential.leaf
    let handle = unsafe leaf.handle
    guard let issuer = credential.chain.first(where: { unsafe X509_check_issued($0.handle, handle) == X509_V_OK })
    else {
      throw TLSFault("the certificate's issuer does not follow it, so that nobody's word can be taken for its state")
    }
    self.issuer = issuer
    guard let responder = leaf.responders.first(where: { $0.hasPrefix("http://") }) else {
      throw TLSFault("the certificate names no OCSP responder of plain HTTP")
    }
    self.responder = responder
    guard let request = Self.request(leaf, issuer) else { throw TLSFault("OpenSSL makes no OCSP request") }
    self.request = request
  }

  private static func identity(_ leaf: Certificate, _ issuer: Certificate) -> OpaquePointer? {
    // The digest that all responders know (RFC 5019 section 2.1.1).
    unsafe OCSP_cert_to_id(EVP_sha1(), leaf.handle, issuer.handle)
  }

  private static func request(_ leaf: Certificate, _ issuer: Certificate) -> [UInt8]? {
    guard let request = unsafe OCSP_REQUEST_new() else { return nil }
    defer { unsafe OCSP_REQUEST_free(request) }
    guard let identity = unsafe identity(leaf, issuer) else { return nil }
    guard unsafe OCSP_request_add0_id(request, identity) != nil else {
      unsafe OCSP_CERTID_free(identity)
      return nil
    }
    let count = unsafe Int(i2d_OCSP_REQUEST(request, nil))
    guard count > 0 else { return nil }
    var bytes = [UInt8](repeating: 0, count: count)
    unsafe bytes.withUnsafeMutableBufferPointer { buffer in
      // As many bytes as OpenSSL has just asked for.
      var place = buffer.baseAddress
      _ = unsafe i2d_OCSP_REQUEST(request, &place)
    }
    return bytes
  }

  /// What an answer in DER form says at `now`. Throws where it is none, is not signed by the issuer or somebody that this has
  /// charged with it, is about another certificate, or not in force. Some hundred microseconds.
  public func judge(_ answer: [UInt8], at now: WallTime) throws(TLSFault) -> OCSPVerdict {
    guard answer.count <= Self.longestAnswer else { throw TLSFault("the OCSP response is too long") }
    ERR_clear_error()
    defer { ERR_clear_error() }
    let response = unsafe answer.withUnsafeBufferPointer { bytes in
      var place = bytes.baseAddress
      return unsafe d2i_OCSP_RESPONSE(nil, &place, bytes.count)
    }
    guard let response = unsafe response else { throw TLSFault("the answer is no OCSP response") }
    defer { unsafe OCSP_RESPONSE_free(response) }
    let status = unsafe OCSP_response_status(response)
    guard status == OCSP_RESPONSE_STATUS_SUCCESSFUL, let basic = unsafe OCSP_response_get1_basic(response) else {
      let text = unsafe String(cString: OCSP_response_status_str(Int(status)))
      throw TLSFault("the OCSP responder refuses: \(text)")
    }
    defer { unsafe OCSP_BASICRESP_free(basic) }
    try unsafe verify(basic)
    return try unsafe verdict(basic, answer, now)
  }

  /// Throws unless the issuer, or somebody that it has charged with it (RFC 6960 section 4.2.2.2), has signed.
  private func verify(_ basic: OpaquePointer) throws(TLSFault) {
    guard let store = unsafe X509_STORE_new(), let known = unsafe OPENSSL_sk_new_null() else {
      preconditionFailure("out of memory")
    }
    defer {
      unsafe OPENSSL_sk_free(known)
      unsafe X509_STORE_free(store)
    }
    // The issuer is trusted by itself: who has issued its certificate does not matter here.
    guard unsafe X509_STORE_add_cert(store, issuer.handle) == 1,
      unsafe X509_STORE_set_flags(store, UInt(X509_V_FLAG_PARTIAL_CHAIN)) == 1,
      unsafe OPENSSL_sk_push(known, UnsafeRawPointer(issuer.handle)) > 0,
      unsafe OCSP_basic_verify(basic, known, store, 0) == 1
    else { throw TLSFault("the OCSP response is not the issuer's") }
  }

  private func verdict(_ basic: OpaquePointer, _ answer: [UInt8], _ now: WallTime) throws(TLSFault) -> OCSPVerdict {
    guard let identity = unsafe Self.identity(leaf, issuer) else { throw TLSFault("OpenSSL names no certificate") }
    defer { unsafe OCSP_CERTID_free(identity) }
    var (status, reason): (Int32, Int32) = (0, 0)
    var (revokedAt, from, until): (Time, Time, Time) = (nil, nil, nil)
    guard unsafe OCSP_resp_find_status(basic, identity, &status, &reason, &revokedAt, &from, &until) == 1 else {
      throw TLSFault("the OCSP response is about another certificate")
    }
    let begins = unsafe Certificate.time(from)
    let ends = unsafe until.map { unsafe Certificate.time($0) }
    if begins.seconds > now.seconds + Self.clockSkew { throw TLSFault("the OCSP response is not in force yet") }
    if let ends, ends.seconds <= now.seconds { throw TLSFault("the OCSP response is not in force any more") }
    guard status == V_OCSP_CERTSTATUS_GOOD else {
      return .bad(unsafe String(cString: OCSP_cert_status_str(Int(status))))
    }
    return .good(OCSPStaple(bytes: answer, beginsAt: begins, endsAt: ends))
  }

  private typealias Time = UnsafeMutablePointer<ASN1_GENERALIZEDTIME>?
}

/// What an authority says of a certificate.
public enum OCSPVerdict: Equatable, Sendable {
  /// It is good.
  case good(OCSPStaple)
  /// It is not: `revoked`, or `unknown`.
  case bad(String)
}

/// An answer that says that a certificate is good.
public struct OCSPStaple: Equatable, Sendable {
  /// Its DER form: what servers send with the certificate.
  public let bytes: [UInt8]
  /// From when it is in force.
  public let beginsAt: WallTime
  /// Until when; nil where the authority has always newer ones.
  public let endsAt: WallTime?

  /// An answer of these parts.
  public init(bytes: [UInt8], beginsAt: WallTime, endsAt: WallTime?) {
    (self.bytes, self.beginsAt, self.endsAt) = (bytes, beginsAt, endsAt)
  }
}

extension Certificate {
  /// Where its authority is asked about it (RFC 5280 section 4.2.2.1).
  fileprivate var responders: [String] {
    guard let texts = unsafe X509_get1_ocsp(handle) else { return [] }
    defer { unsafe X509_email_free(texts) }
    return (0..<max(unsafe OPENSSL_sk_num(texts), 0)).compactMap { index in
      // The list holds texts that end in zero.
      unsafe OPENSSL_sk_value(texts, index).map { unsafe String(cString: $0.assumingMemoryBound(to: CChar.self)) }
    }
  }
}

extension TLSCredential {
  /// Whether clients are told to insist on an answer of the authority beside it (RFC 7633).
  public var mustStaple: Bool { unsafe X509_get_ext_by_NID(leaf.handle, NID_tlsfeature, -1) >= 0 }

  /// Whether both show the same certificate.
  public func isSame(as other: TLSCredential) -> Bool { unsafe X509_cmp(leaf.handle, other.leaf.handle) == 0 }

  /// The same with another answer of its authority, empty for none.
  public func stapling(_ staple: [UInt8]) -> TLSCredential { TLSCredential(self, staple: staple) }
}
