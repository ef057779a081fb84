import Core

/// How a token is signed (RFC 7518 section 3.1, RFC 8037 section 3.1). There is no `none`.
public enum SignatureAlgorithm: String, CaseIterable, Sendable {
  /// HMAC with SHA-256.
  case hs256 = "HS256"
  /// HMAC with SHA-384.
  case hs384 = "HS384"
  /// HMAC with SHA-512.
  case hs512 = "HS512"
  /// RSASSA-PKCS1-v1_5 with SHA-256.
  case rs256 = "RS256"
  /// RSASSA-PKCS1-v1_5 with SHA-384.
  case rs384 = "RS384"
  /// RSASSA-PKCS1-v1_5 with SHA-512.
  case rs512 = "RS512"
  /// RSASSA-PSS with SHA-256, the salt as long as the hash.
  case ps256 = "PS256"
  /// RSASSA-PSS with SHA-384, the salt as long as the hash.
  case ps384 = "PS384"
  /// RSASSA-PSS with SHA-512, the salt as long as the hash.
  case ps512 = "PS512"
  /// ECDSA on P-256 with SHA-256.
  case es256 = "ES256"
  /// ECDSA on P-384 with SHA-384.
  case es384 = "ES384"
  /// ECDSA on P-521 with SHA-512.
  case es512 = "ES512"
  /// Ed25519; the other curve of the same name is not offered.
  case edDSA = "EdDSA"

  /// The algorithm that a token or key calls by these bytes, case and all; nil for any other. Allocates nothing.
  public init?(_ name: RawSpan) {
    guard name.byteCount == 5 else { return nil }
    var packed: UInt64 = 0
    for offset in 0..<5 {
      packed = packed << 8 | UInt64(unsafe name.unsafeLoad(fromByteOffset: offset, as: UInt8.self))
    }
    switch packed {
    case 0x48_5332_3536: self = .hs256
    case 0x48_5333_3834: self = .hs384
    case 0x48_5335_3132: self = .hs512
    case 0x52_5332_3536: self = .rs256
    case 0x52_5333_3834: self = .rs384
    case 0x52_5335_3132: self = .rs512
    case 0x50_5332_3536: self = .ps256
    case 0x50_5333_3834: self = .ps384
    case 0x50_5335_3132: self = .ps512
    case 0x45_5332_3536: self = .es256
    case 0x45_5333_3834: self = .es384
    case 0x45_5335_3132: self = .es512
    case 0x45_6444_5341: self = .edDSA
    default: return nil
    }
  }

  /// Whether who verifies it could sign it too (HMAC), so that it is never taken for granted.
  public var isSymmetric: Bool { family == .code }

  /// What has to be computed.
  enum Family { case code, rsa, probabilistic, curve, edwards }

  var family: Family {
    switch self {
    case .hs256, .hs384, .hs512: .code
    case .rs256, .rs384, .rs512: .rsa
    case .ps256, .ps384, .ps512: .probabilistic
    case .es256, .es384, .es512: .curve
    case .edDSA: .edwards
    }
  }

  /// The hash over what is signed; Ed25519 has its own inside.
  enum Hash { case sha256, sha384, sha512 }

  var hash: Hash {
    switch self {
    case .hs256, .rs256, .ps256, .es256: .sha256
    case .hs384, .rs384, .ps384, .es384: .sha384
    case .hs512, .rs512, .ps512, .es512, .edDSA: .sha512
    }
  }

  /// Its place among all of them.
  var place: Int {
    switch self {
    case .hs256: 0
    case .hs384: 1
    case .hs512: 2
    case .rs256: 3
    case .rs384: 4
    case .rs512: 5
    case .ps256: 6
    case .ps384: 7
    case .ps512: 8
    case .es256: 9
    case .es384: 10
    case .es512: 11
    case .edDSA: 12
    }
  }
}
