import HTTP

/// What a signature covers one part of a request by (RFC 9421 section 2): its name, and in which form its value is signed.
/// What is not known here is never a component: a part that is not understood is not signed.
struct SignatureComponent: Hashable, Sendable {
  /// The form in which the value of a field is signed.
  enum Form: Hashable, Sendable {
    /// The lines as they are, joined.
    case plain
    /// As a structured field, written anew (`sf`).
    case structured
    /// Each line as a sequence of bytes (`bs`).
    case bytes
    /// One member of a dictionary (`key`).
    case member(String)
    /// One parameter of the query (`@query-param` with `name`).
    case parameter(String)
  }

  /// What the parts of a message are called that are no fields (RFC 9421 section 2.2).
  enum Derived: String {
    case method = "@method"
    case target = "@target-uri"
    case authority = "@authority"
    case scheme = "@scheme"
    case requestTarget = "@request-target"
    case path = "@path"
    case query = "@query"
    case queryParameter = "@query-param"
  }

  let name: String
  let form: Form
  /// How it is written.
  var item: StructuredItem {
    switch form {
    case .plain: StructuredItem(.string(name))
    case .structured: StructuredItem(.string(name), [StructuredParameter("sf", .boolean(true))])
    case .bytes: StructuredItem(.string(name), [StructuredParameter("bs", .boolean(true))])
    case .member(let key): StructuredItem(.string(name), [StructuredParameter("key", .string(key))])
    case .parameter(let key): StructuredItem(.string(name), [StructuredParameter("name", .string(key))])
    }
  }
  /// What it is if it is no field.
  var derived: Derived? { Derived(rawValue: name) }

  /// The component that an item stands for; nil for one that is malformed or not offered: of a response (`req`,
  /// `@status`), of trailers (`tr`), with parameters that nobody knows.
  init?(_ item: StructuredItem) {
    guard let name = item.value.string, !name.isEmpty, name.utf8.count <= 256, !name.utf8.contains(where: Self.isUpper)
    else { return nil }
    self.name = name
    guard name.hasPrefix("@") else {
      guard FieldSelectorText.isName(name), let form = Self.form(of: item.parameters) else { return nil }
      self.form = form
      return
    }
    guard let derived = Derived(rawValue: name) else { return nil }
    if derived == .queryParameter {
      guard item.parameters.count == 1, item.parameters[0].key == "name",
        let parameter = item.parameters[0].value.string
      else { return nil }
      form = .parameter(parameter)
    } else {
      guard item.parameters.isEmpty else { return nil }
      form = .plain
    }
  }

  /// The component that an option names: `content-type`, `@query-param;name="id"`.
  init?(option text: String) {
    let parts = text.split(separator: ";", maxSplits: 1, omittingEmptySubsequences: false)
    let written = "\"\(parts[0])\"" + (parts.count > 1 ? ";" + parts[1] : "")
    guard let item = try? StructuredField.item(Array(written.utf8)) else { return nil }
    self.init(item)
  }

  private static func form(of parameters: [StructuredParameter]) -> Form? {
    var form = Form.plain
    for parameter in parameters {
      switch (parameter.key, parameter.value, form) {
      case ("sf", .boolean(true), .plain): form = .structured
      case ("sf", .boolean(true), .member): break
      case ("bs", .boolean(true), .plain): form = .bytes
      case ("key", .string(let key), .plain), ("key", .string(let key), .structured): form = .member(key)
      default: return nil
      }
    }
    return form
  }

  private static func isUpper(_ byte: UInt8) -> Bool { byte >= 65 && byte <= 90 }

  /// Whether whoever signs this has signed all of what `required` names.
  func covers(_ required: SignatureComponent) -> Bool {
    guard name == required.name else { return false }
    if form == required.form { return true }
    // Both hold the whole value.
    return required.form == .plain && (form == .structured || form == .bytes)
  }

  /// Whether it covers what the content is checked against: the whole field, or one digest that is looked at.
  var coversContentDigest: Bool {
    guard name == ContentDigest.name else { return false }
    if case .member(let key) = form { return key == "sha-256" || key == "sha-512" }
    return true
  }
}

/// What names of fields are made of (RFC 9110 section 5.6.2).
enum FieldSelectorText {
  static func isName(_ name: String) -> Bool {
    name.utf8.allSatisfy { byte in
      byte >= 97 && byte <= 122 || byte >= 48 && byte <= 57 || "!#$%&'*+-.^_`|~".utf8.contains(byte)
    }
  }
}

extension StructuredLimits {
  /// What is read of fields that say how a request is signed, before anything of it is verified.
  static var signed: StructuredLimits {
    var limits = StructuredLimits()
    (limits.bytes, limits.members, limits.items, limits.parameters) = (16_384, 16, SignatureInput.mostComponents, 8)
    return limits
  }
}
