import HTTP

/// One signature of a request, and what it says of itself (RFC 9421 sections 2.3 and 4).
struct SignatureInput: Sendable {
  /// Signatures of one request that are looked at; what one costs, each costs.
  static let most = 4
  /// Components of one signature.
  static let mostComponents = 32
  /// Bytes of a signature: those of RSA with 16384 bits are 2048.
  private static let longestSignature = 2_048

  /// What it covers, with its own parameters: the last line of what is signed.
  let covered: StructuredInnerList
  let components: [SignatureComponent]
  let signature: [UInt8]
  let keyID: String
  /// Seconds since 1970.
  let created: Int64
  private(set) var expires: Int64?
  private(set) var algorithm: String?
  private(set) var nonce: String?
  private(set) var tag: String?

  /// Why the fields of a request say nothing that can be verified.
  struct Fault: Error {}

  /// Reads the signatures that `inputs` (the field Signature-Input) and `signatures` (the field Signature) hold; with a
  /// `label` only the one of that name, with a `tag` only those that are for that. At least one, at most ``most``.
  ///
  /// Throws where one of both is malformed, holds a label twice or one that the other lacks, and for what is not offered.
  static func read(_ inputs: [UInt8], _ signatures: [UInt8], label: String?, tag: String?) throws(Fault)
    -> [SignatureInput]
  {
    guard let inputs = try? StructuredField.unambiguousDictionary(inputs, limits: .signed),
      let signatures = try? StructuredField.unambiguousDictionary(signatures, limits: .signed),
      inputs.members.count == signatures.members.count
    else { throw Fault() }
    var found: [SignatureInput] = []
    for (name, member) in inputs.members {
      guard case .list(let list) = member, case .item(let item)? = signatures[name], let bytes = item.value.bytes,
        !bytes.isEmpty, bytes.count <= longestSignature
      else { throw Fault() }
      if let label, label != name { continue }
      let input = try SignatureInput(list, bytes)
      if found.count < most, tag == nil || input.tag == tag { found.append(input) }
    }
    if found.isEmpty { throw Fault() }
    return found
  }

  private init(_ covered: StructuredInnerList, _ signature: [UInt8]) throws(Fault) {
    (self.covered, self.signature) = (covered, signature)
    var components: [SignatureComponent] = []
    var seen: Set<SignatureComponent> = []
    for item in covered.items {
      guard let component = SignatureComponent(item), seen.insert(component).inserted else { throw Fault() }
      components.append(component)
    }
    self.components = components
    var created: Int64?
    var keyID: String?
    for parameter in covered.parameters {
      switch (parameter.key, parameter.value) {
      case ("created", .integer(let value)): created = value
      case ("expires", .integer(let value)): expires = value
      case ("keyid", .string(let value)): keyID = value
      case ("alg", .string(let value)): algorithm = value
      case ("nonce", .string(let value)): nonce = value
      case ("tag", .string(let value)): tag = value
      // It would restrict what the signature is good for, and nobody here knows how.
      default: throw Fault()
      }
    }
    guard let created, let keyID, created >= 0 else { throw Fault() }
    (self.created, self.keyID) = (created, keyID)
  }

  /// Whether it covers all of `required`.
  func covers(_ required: SignatureComponent) -> Bool { components.contains { $0.covers(required) } }

  /// Whether it covers what the content is checked against.
  var coversContent: Bool { components.contains(where: \.coversContentDigest) }
}
