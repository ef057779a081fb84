import Core

/// The parameters of a request to the authorization server, from a query or a form.
///
/// A parameter without a value is as good as left out, and where one is there twice nobody reads any of them: others
/// might read the last where this server read the first (RFC 6749 section 3.1).
struct OAuthParameters: Sendable {
  /// The most bytes of all parameters together: an assertion fits, and what a head holds.
  static let longest = 32 << 10

  /// Whether one is there more than once.
  let areAmbiguous: Bool
  private let fields: FormFields?

  /// Reads `name=value&…`; nil where there is too much of it, where an escape is broken, or what is no UTF-8.
  init?(_ text: RawSpan) {
    do throws(FormFields.Fault) {
      fields = try FormFields(text, limit: Self.longest)
      areAmbiguous = false
    } catch {
      guard case .repeated = error else { return nil }
      (fields, areAmbiguous) = (nil, true)
    }
  }

  /// The value of a parameter; nil where it is left out or empty.
  subscript(name: String) -> String? {
    guard let value = fields?[name], !value.isEmpty else { return nil }
    return value
  }
}
