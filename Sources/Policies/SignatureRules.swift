import Core
import HTTP
import Pipeline

/// What must hold of a signature before it is worth being verified: what it covers, how old it is, what it is for.
struct SignatureRules: Sendable {
  private enum Nonce: String, CaseIterable { case required, optional }

  /// Signatures of which labels are looked at; nil for all.
  let label: String?
  /// What they must be for; nil for anything.
  let tag: String?
  private let needsNonce: Bool
  private let maxAge: Int64
  private let skew: Int64
  /// What must be covered; nil for the whole target and all content.
  private let required: [SignatureComponent]?

  init(_ options: inout OptionReader) {
    let names = options.stringList(
      "components",
      "What a signature must cover: names of fields, and what RFC 9421 names with @. By default @method, @target-uri (or "
        + "@authority, @path and, where there is one, @query), and content-digest where there is content.")
    maxAge = Self.seconds(
      options.duration(
        "maxAge", default: .seconds(300), in: .seconds(1)...(.seconds(86_400)), "How old a signature may be."))
    skew = Self.seconds(
      options.duration(
        "clockSkew", default: .seconds(30), in: .zero...(.seconds(300)),
        "How far clocks of signers may be from this node's."))
    needsNonce =
      options.choice(
        "nonce", default: Nonce.optional,
        "Whether each signature must have a nonce, by which two requests that are alike differ.") == .required
    tag = options.optionalString("tag", "What signatures must say that they are for; others are not looked at.")
    label = options.optionalString(
      "label", "Which signature of a request counts; by default the first good one of the first four.")
    var required: [SignatureComponent] = []
    for (index, name) in names.enumerated() {
      if let component = SignatureComponent(option: name) {
        required.append(component)
      } else {
        options.fail(
          "\"\(name)\" is nothing that can be signed", at: "components", element: index,
          fix: "write it like \"content-type\", \"@method\" or \"@query-param;name=\\\"id\\\"\"")
      }
    }
    self.required = options.has("components") ? required : nil
    if options.has("components"), !required.contains(where: \.coversContentDigest) {
      options.warn(
        "whoever has such a signature may change the content", at: "components", fix: "add \"content-digest\"")
    }
  }

  private static func seconds(_ duration: Duration) -> Int64 {
    duration.components.seconds + (duration.components.attoseconds > 0 ? 1 : 0)
  }

  /// How long a signature may be good at most: so long it is remembered.
  var lifetimeSeconds: Int64 { maxAge + 2 * skew }

  /// What the uses of signatures are counted under: those that are remembered for other times are others.
  var purpose: String { "signature \(lifetimeSeconds)" }

  /// What to sign, as the value of `Accept-Signature` has it (RFC 9421 section 5.1).
  var wanted: String {
    let names = required ?? Self.standard
    let list = StructuredInnerList(
      names.map(\.item),
      [StructuredParameter("created", .boolean(true)), StructuredParameter("keyid", .boolean(true))]
        + (needsNonce ? [StructuredParameter("nonce", .boolean(true))] : [])
        + (tag.map { [StructuredParameter("tag", .string($0))] } ?? []))
    return String(decoding: list.text, as: UTF8.self)
  }

  private static let standard = ["@method", "@target-uri", "content-digest"].compactMap {
    SignatureComponent(option: $0)
  }

  /// What stands against a signature whatever its bytes are; nil for nothing.
  func problem(with input: SignatureInput, _ request: RequestHead, at time: WallTime) -> Problem? {
    let now = time.seconds
    guard input.created <= now + skew, input.created + maxAge + skew > now else {
      return ProblemCatalogue.signatureExpired
    }
    if let expires = input.expires, expires + skew <= now || expires < input.created {
      return ProblemCatalogue.signatureExpired
    }
    if needsNonce, input.nonce?.isEmpty != false { return ProblemCatalogue.signatureIncomplete }
    return covers(input, request) ? nil : ProblemCatalogue.signatureIncomplete
  }

  private func covers(_ input: SignatureInput, _ request: RequestHead) -> Bool {
    guard let required else {
      return coversTarget(input, request) && (!request.hasBody || input.coversContent)
    }
    return required.allSatisfy { component in
      if component.name == ContentDigest.name, component.form == .plain {
        return !request.hasBody || input.coversContent
      }
      return input.covers(component)
    }
  }

  private func coversTarget(_ input: SignatureInput, _ request: RequestHead) -> Bool {
    var names = Set<SignatureComponent.Derived>()
    for component in input.components { if let derived = component.derived { names.insert(derived) } }
    guard names.contains(.method) else { return false }
    if names.contains(.target) { return true }
    guard names.contains(.authority) else { return false }
    if names.contains(.requestTarget) { return true }
    return names.contains(.path) && (names.contains(.query) || !request.hasQuery)
  }
}

extension RequestHead {
  /// Whether there is a question mark in its target.
  var hasQuery: Bool { bytes(target).array.contains(UInt8(ascii: "?")) }
}
