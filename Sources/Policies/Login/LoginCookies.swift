import Core
import HTTP
import Pipeline

/// The cookies of a `oidc-login` policy: the session, in several parts where it is long, and one for each login under way.
/// None of them ever reaches the upstream.
struct LoginCookies: Sendable {
  /// Bytes of one cookie's value: with name and attributes it stays below the 4,096 that browsers keep (RFC 6265 section 6.1).
  static let partBytes = 3_800
  /// Cookies of a session.
  static let mostParts = 4
  /// Logins under way in one browser.
  static let mostStates = 4
  /// Cookies of logins that are looked at.
  private static let mostSeen = 16
  /// Between the name and what is called by it.
  private static let stateMark = ".login."

  private let name: [UInt8]
  private let nameText: String
  private let attributes: String

  /// Cookies that are called by `name`; `isSecure` unless they may be sent in the clear.
  init(name: String, isSecure: Bool) {
    (self.name, nameText) = (Array(name.utf8), name)
    attributes = "; Path=/; HttpOnly; SameSite=Lax\(isSecure ? "; Secure" : "")"
  }

  /// Where a value stands in a request.
  struct Place {
    let field: Int
    let range: Range<Int>
  }

  /// What a request has.
  struct Finding {
    /// The parts of the session, by their numbers.
    fileprivate(set) var parts = [Place?](repeating: nil, count: mostParts)
    /// Whether a part is there twice: somebody may have slipped one in.
    fileprivate(set) var isAmbiguous = false
    /// The logins under way, and where they are sealed.
    fileprivate(set) var states: [(suffix: String, place: Place)] = []
    /// Whether there is anything of a session.
    var hasSession: Bool { isAmbiguous || parts.contains { $0 != nil } }
  }

  // MARK: Reading

  /// Finds the cookies of a request.
  func find(in request: RequestHead) -> Finding {
    var finding = Finding()
    var next = request.firstIndex(of: .cookie)
    while let index = next {
      next = request.nextIndex(of: .cookie, after: index)
      let value = request.value(of: index)
      CookieField.forEachPair(value) { pair in
        guard let (rest, start) = ours(value, pair) else { return }
        let place = Place(field: index, range: start..<pair.upperBound)
        if rest.hasPrefix(Self.stateMark) {
          let suffix = String(rest.dropFirst(Self.stateMark.utf8.count))
          guard finding.states.count < Self.mostSeen, LoginState.isSuffix(suffix) else { return }
          finding.states.append((suffix, place))
        } else if let part = Self.part(rest) {
          if finding.parts[part] != nil { finding.isAmbiguous = true }
          finding.parts[part] = place
        }
      }
    }
    return finding
  }

  /// The session's text, of however many parts; nil where there is none that could be one.
  func sessionText(_ finding: Finding, _ request: RequestHead) -> [UInt8]? {
    guard !finding.isAmbiguous, let first = finding.parts[0] else { return nil }
    var text = request.value(of: first.field).extracting(first.range).array
    // The first part begins with how many there are, so that one which was left over means nothing.
    guard let digit = text.first, digit > 0x30, Int(digit - 0x30) <= Self.mostParts else { return nil }
    text.removeFirst()
    for number in 1..<max(1, Int(digit - 0x30)) {
      guard let place = finding.parts[number] else { return nil }
      text += request.value(of: place.field).extracting(place.range).array
    }
    return text
  }

  /// The value of one cookie.
  func value(at place: Place, _ request: RequestHead) -> [UInt8] {
    request.value(of: place.field).extracting(place.range).array
  }

  /// What stands behind our name in the name of a cookie, and where its value begins; nil for a cookie of others.
  private func ours(_ value: RawSpan, _ pair: Range<Int>) -> (String, Int)? {
    guard isOurs(value, pair) else { return nil }
    var end = pair.lowerBound + name.count
    while end < pair.upperBound, value[byte: end] != UInt8(ascii: "=") { end += 1 }
    guard end < pair.upperBound else { return nil }
    let rest = value.extracting(pair.lowerBound + name.count..<end).array
    return (String(decoding: rest, as: UTF8.self), end + 1)
  }

  private func isOurs(_ value: RawSpan, _ pair: Range<Int>) -> Bool {
    guard pair.count > name.count else { return false }
    for offset in name.indices where value[byte: pair.lowerBound + offset] != name[offset] { return false }
    let next = value[byte: pair.lowerBound + name.count]
    return next == UInt8(ascii: "=") || next == UInt8(ascii: ".") || CookieField.isBlank(next)
  }

  private static func part(_ rest: String) -> Int? {
    if rest.isEmpty { return 0 }
    guard rest.hasPrefix("."), let part = Int(rest.dropFirst()), (1..<mostParts).contains(part) else { return nil }
    return part
  }

  /// Takes our cookies out of what is sent on.
  func strip(_ request: RequestHead, _ exchange: inout Exchange) {
    CookieField.strip(request, &exchange) { isOurs($0, 0..<$0.byteCount) }
  }

  // MARK: Writing

  /// Sets the session for so many seconds; false, and nothing is set, where it is too long. Parts of before that are not
  /// needed any more go.
  func setSession(_ text: String, seconds: Int64, _ finding: Finding, _ exchange: inout Exchange) -> Bool {
    let bytes = Array(text.utf8)
    let count = (bytes.count + Self.partBytes - 1) / Self.partBytes
    guard (1...Self.mostParts).contains(count) else { return false }
    for part in 0..<Self.mostParts {
      if part < count {
        let end = min(bytes.count, (part + 1) * Self.partBytes)
        let value = String(decoding: bytes[part * Self.partBytes..<end], as: UTF8.self)
        set(Self.suffix(part), part == 0 ? "\(count)\(value)" : value, seconds, &exchange)
      } else if finding.parts[part] != nil {
        set(Self.suffix(part), "", 0, &exchange)
      }
    }
    return true
  }

  /// Ends the session in the browser, as far as the request shows one.
  func clearSession(_ finding: Finding, _ exchange: inout Exchange) {
    for part in 0..<Self.mostParts where finding.parts[part] != nil { set(Self.suffix(part), "", 0, &exchange) }
  }

  /// Sets the cookie of a login under way.
  func setState(_ suffix: String, _ text: String, _ exchange: inout Exchange) {
    set(Self.stateMark + suffix, text, LoginState.lifeSeconds, &exchange)
  }

  /// Forgets a login.
  func clearState(_ suffix: String, _ exchange: inout Exchange) { set(Self.stateMark + suffix, "", 0, &exchange) }

  private static func suffix(_ part: Int) -> String { part == 0 ? "" : ".\(part)" }

  private func set(_ suffix: String, _ value: String, _ seconds: Int64, _ exchange: inout Exchange) {
    exchange.responseFields.append(
      utf8: "Set-Cookie: \(nameText)\(suffix)=\(value)\(attributes); Max-Age=\(seconds)\r\n")
  }
}
