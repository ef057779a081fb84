import Core
import HTTP
import Pipeline

/// Where a request has its token: in `Authorization: Bearer` (RFC 6750 section 2.1) or `DPoP` (RFC 9449 section 7.1), in a field of its own, or in a cookie.
/// Never in the query, which ends up in logs (RFC 9700 section 4.3.2).
struct TokenPlace: Sendable {
  /// What a request has there.
  enum Finding {
    /// The token is a part of this field's value, or all of it.
    case token(field: Int, Range<Int>)
    case none
    /// More than one.
    case ambiguous
  }

  private let field: FieldSelector?
  private let cookie: [UInt8]

  init(_ options: inout OptionReader) {
    field = options.optionalValue(
      "header", FieldSelector.format, "The field that holds nothing but the token; by default Authorization: Bearer."
    ) { FieldSelector($0) }
    cookie = Array((options.optionalString("cookie", "The cookie that holds the token.") ?? "").utf8)
    if field != nil, !cookie.isEmpty {
      options.fail("a token is in a field or in a cookie", at: "cookie", fix: "remove one of both")
    }
    if cookie.contains(where: { $0 <= 32 || $0 >= 127 || $0 == UInt8(ascii: "=") || $0 == UInt8(ascii: ";") }) {
      options.fail("this is no name of a cookie", at: "cookie", fix: "use letters, digits, \"-\", \"_\", \".\"")
    }
  }

  /// Finds the token.
  func find(in request: RequestHead) -> Finding {
    if !cookie.isEmpty { return findCookie(request) }
    if let field {
      guard let index = field.firstIndex(in: request) else { return .none }
      if field.nextIndex(in: request, after: index) != nil { return .ambiguous }
      return .token(field: index, 0..<request.value(of: index).byteCount)
    }
    guard let index = request.firstIndex(of: .authorization) else { return .none }
    // RFC 9110 section 11.6.2: there is one at most.
    if request.nextIndex(of: .authorization, after: index) != nil { return .ambiguous }
    let value = request.value(of: index)
    if value.isProof { return .token(field: index, value.tokenStart(behind: 4)..<value.byteCount) }
    return value.isBearer ? .token(field: index, value.tokenStart..<value.byteCount) : .none
  }

  /// Whether a token that was found in `field` says by its scheme that it is bound to a key; nil where places have no schemes.
  func saysBound(_ field: Int, of request: RequestHead) -> Bool? {
    cookie.isEmpty && self.field == nil ? request.value(of: field).isProof : nil
  }

  /// Takes whatever could be a token of this place out of what is sent on. Where it was is found all the same.
  func strip(_ request: RequestHead, _ exchange: inout Exchange) {
    if !cookie.isEmpty {
      CookieField.strip(request, &exchange) { Self.value(of: cookie, in: $0) != nil }
    } else if let field {
      field.dropAll(in: request)
    } else {
      var next = request.firstIndex(of: .authorization)
      while let index = next {
        next = request.nextIndex(of: .authorization, after: index)
        let value = request.value(of: index)
        if value.isBearer || value.isProof { request.drop(index) }
      }
    }
  }

  private func findCookie(_ request: RequestHead) -> Finding {
    var found = Finding.none
    var next = request.firstIndex(of: .cookie)
    while let index = next {
      next = request.nextIndex(of: .cookie, after: index)
      let value = request.value(of: index)
      CookieField.forEachPair(value) { pair in
        guard let range = Self.value(of: cookie, in: value.extracting(pair)) else { return }
        if case .none = found {
          found = .token(field: index, pair.lowerBound + range.lowerBound..<pair.lowerBound + range.upperBound)
        } else {
          found = .ambiguous
        }
      }
    }
    return found
  }

  /// Where in a pair the value lies of the cookie called `name`; nil for another.
  private static func value(of name: [UInt8], in pair: RawSpan) -> Range<Int>? {
    CookieField.valueStart(of: name, in: pair).map { $0..<pair.byteCount }
  }
}

extension RawSpan {
  /// Whether it is a field value of the scheme Bearer (RFC 6750 section 2.1).
  var isBearer: Bool {
    guard byteCount > 7, CookieField.isBlank(self[byte: 6]) else { return false }
    return self[byte: 0] | 32 == 98 && self[byte: 1] | 32 == 101 && self[byte: 2] | 32 == 97
      && self[byte: 3] | 32 == 114 && self[byte: 4] | 32 == 101 && self[byte: 5] | 32 == 114
  }

  /// Whether it is a field value of the scheme DPoP (RFC 9449 section 7.1).
  fileprivate var isProof: Bool {
    guard byteCount > 5, CookieField.isBlank(self[byte: 4]) else { return false }
    return self[byte: 0] | 32 == 100 && self[byte: 1] | 32 == 112 && self[byte: 2] | 32 == 111
      && self[byte: 3] | 32 == 112
  }

  /// Where the token behind the scheme Bearer begins.
  var tokenStart: Int { tokenStart(behind: 6) }

  /// Where the token behind a scheme of so many letters begins.
  fileprivate func tokenStart(behind scheme: Int) -> Int {
    var start = scheme + 1
    while start < byteCount && CookieField.isBlank(self[byte: start]) { start += 1 }
    return start
  }
}
